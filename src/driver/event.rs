//! What both backends and those who ask them speak of: tokens, directions, events.

use std::time::Duration;

/// What a source is registered under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

/// Directions that a registration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Reading only.
    Read,
    /// Reading and writing.
    Both,
}

/// What is ready, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready(u8);

impl Ready {
    /// A read may go on.
    pub(crate) const READ: Ready = Ready(1);
    /// A write may go on.
    pub(crate) const WRITE: Ready = Ready(2);
    /// The peer has hung up, or there is an error: a short read no longer means "drained".
    pub(crate) const HANGUP: Ready = Ready(4);
    /// There is, or was, urgent data: the same.
    pub(crate) const URGENT: Ready = Ready(8);

    /// Whether any bit of `other` is in this set.
    pub(crate) fn any(self, other: Ready) -> bool {
        self.0 & other.0 != 0
    }

    /// This set and `other` together.
    #[must_use]
    pub(crate) fn and(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

/// One source and what is ready there.
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

/// Events taken from the kernel at once.
pub(super) const EVENTS: usize = 256;

/// The token of the doorbell; no source has it.
#[cfg(target_os = "linux")]
pub(super) const BELL: Token = Token(u64::MAX - 1);
