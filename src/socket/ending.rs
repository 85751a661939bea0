//! The kinds of a socket's end, and the longest time for it.

use std::{io, time::Duration};

/// The operation that an end is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The socket is being closed.
    Close,
    /// The socket, or its descriptor, stays in use.
    Keep,
}

/// How long a closing or dropped socket waits until its peer has all that was sent.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);

/// Returns the error for a peer that has not acknowledged all within that time.
pub(crate) fn not_acknowledged() -> io::Error {
    let text = "the peer has not acknowledged all that was sent within 5 s, and may not get it";
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// Most bytes that one look at a closing socket discards: session tickets, and bytes that crossed
/// the close.
pub(crate) const MOST_DISCARDED: usize = 256 << 10;
