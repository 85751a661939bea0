//! The types that both backends share with their callers: tokens, interests, events.

use std::time::Duration;

/// The number under which a source is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

/// The directions in which a source is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Reading only.
    Read,
    /// Reading and writing.
    Both,
}

/// The ready directions of a source, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready(u8);

impl Ready {
    /// Reading may succeed.
    pub(crate) const READ: Ready = Ready(1);
    /// Writing may succeed.
    pub(crate) const WRITE: Ready = Ready(2);
    /// The peer has hung up, or the socket has an error: a short read no longer means "drained".
    pub(crate) const HANGUP: Ready = Ready(4);
    /// Urgent data has come: a short read no longer means "drained" either.
    pub(crate) const URGENT: Ready = Ready(8);

    /// Tells whether any bit of `other` is in this set.
    pub(crate) fn any(self, other: Ready) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the union of this set and `other`.
    #[must_use]
    pub(crate) fn and(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

/// A source and its ready directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) token: Token,
    pub(crate) ready: Ready,
}

/// How long a backend may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Not at all.
    Zero,
    /// At most this long.
    For(Duration),
    /// Until something happens.
    Forever,
}

/// How many events one system call may return. What is received ahead for a batch of that size is
/// still in the cache when its verbs run, and so is what the kernel keeps of the connections. With
/// ten times as many, 1,000 busy connections lost more by that than they gained by the batch; with
/// 64, their answers left in such bursts that server and clients waited for each other.
pub(super) const EVENTS: usize = 24;

/// From so many events on, a system call may have left some behind: two of those that it returned
/// may have been the driver's own.
pub(crate) const FULL: usize = EVENTS - 2;

/// The token of the doorbell; never that of a source.
#[cfg(target_os = "linux")]
pub(super) const BELL: Token = Token(u64::MAX - 1);
