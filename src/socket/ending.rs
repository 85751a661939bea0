//! How a socket ends: what an end is part of, and how long it may take.

use std::{io, time::Duration};

/// What an end is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The socket is being closed.
    Close,
    /// The socket goes on, or its descriptor does.
    Keep,
}

/// How long the end of a socket waits until its peer has all that was sent; as long as a dropped
/// one lingers.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);

/// For a peer that has not taken in that time what was sent to it.
pub(crate) fn not_acknowledged() -> io::Error {
    let text = "the peer has not acknowledged all that was sent within 5 s, and may not get it";
    io::Error::new(io::ErrorKind::TimedOut, text)
}
