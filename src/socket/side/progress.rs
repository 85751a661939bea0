//! The result of one attempt, and the most that one attempt may do.

use std::io;

/// The result of a step.
pub(crate) enum Progress<T> {
    /// The operation is done.
    Done(io::Result<T>),
    /// The operation continues when its direction is ready.
    Wait,
    /// The operation can continue at once, but has used its [`Share`]: others come first.
    Again,
}

/// The most that one step may do before others come first.
pub(crate) struct Share {
    bytes: usize,
    calls: u32,
}

impl Share {
    /// Bytes of a step, and so of one system call: without a limit, a fast peer could keep one call
    /// busy for as long as the buffer has room.
    pub(crate) const BYTES: usize = 256 << 10;

    /// System calls of a step, in case each moves only a few bytes.
    const CALLS: u32 = 64;

    pub(crate) fn new() -> Share {
        Share { bytes: Share::BYTES, calls: Share::CALLS }
    }

    /// Counts a call that moved so many bytes, and tells whether another call may follow.
    pub(crate) fn goes_on(&mut self, moved: usize) -> bool {
        self.bytes = self.bytes.saturating_sub(moved);
        self.calls -= 1;
        self.bytes > 0 && self.calls > 0
    }
}

impl<T> Progress<T> {
    /// Converts the value of a finished operation.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Progress<U> {
        match self {
            Progress::Done(result) => Progress::Done(result.map(f)),
            Progress::Wait => Progress::Wait,
            Progress::Again => Progress::Again,
        }
    }
}
