//! How far an attempt has come, and how much one attempt may do.

use std::io;

/// How far a step has come.
pub(crate) enum Progress<T> {
    /// It is over.
    Done(io::Result<T>),
    /// It goes on when its direction is ready.
    Wait,
    /// It can go on at once, but has had its [`Share`]: it does when others have had their turn.
    Again,
}

/// What one step may do at most before it lets others have their turn.
pub(crate) struct Share {
    bytes: usize,
    calls: u32,
}

impl Share {
    /// Bytes of a step, and so of one system call: a peer that keeps up can keep a call going for
    /// as long as there is room to put what it sends.
    pub(crate) const BYTES: usize = 256 << 10;

    /// System calls of a step, for who sends byte by byte.
    const CALLS: u32 = 64;

    pub(crate) fn new() -> Share {
        Share { bytes: Share::BYTES, calls: Share::CALLS }
    }

    /// Counts a call that has moved so many bytes; whether another one may follow.
    pub(crate) fn goes_on(&mut self, moved: usize) -> bool {
        self.bytes = self.bytes.saturating_sub(moved);
        self.calls -= 1;
        self.bytes > 0 && self.calls > 0
    }
}

impl<T> Progress<T> {
    /// Makes the same progress with another value.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Progress<U> {
        match self {
            Progress::Done(result) => Progress::Done(result.map(f)),
            Progress::Wait => Progress::Wait,
            Progress::Again => Progress::Again,
        }
    }
}
