//! The failure of a connection, which the kernel tells once, to whichever call comes first.
//!
//! It is kept with the descriptor, so that everybody hears of it, in whatever direction and on
//! whichever face. What must stay true: an end of stream behind a failure is told as that failure.

use std::{io, sync::atomic::Ordering};

use rustix::io::Errno;

use super::{
    errno::{Call, Meaning, Result, meaning},
    socket::Sys,
};

impl Sys {
    /// Looks at what a receive has given: an end that is none, since the connection has failed and
    /// another call was told, is that failure.
    #[inline]
    pub(super) fn heard(&self, got: Result<usize>) -> Result<usize> {
        match got {
            Ok(0) => self.heard_nothing(),
            Ok(count) => Ok(count),
            Err(Errno::AGAIN) => Err(Errno::AGAIN),
            Err(error) => Err(self.heard_error(error)),
        }
    }

    #[cold]
    fn heard_nothing(&self) -> Result<usize> {
        self.failure().map_or(Ok(0), Err)
    }

    #[cold]
    fn heard_error(&self, error: Errno) -> Errno {
        if self.is_between_attempts(error) {
            return Errno::AGAIN;
        }
        if error == Errno::NOTCONN {
            self.failure().unwrap_or(error)
        } else {
            self.note(Call::Receive, error)
        }
    }

    /// Looks at what a send has given.
    #[inline]
    pub(super) fn told(&self, sent: Result<usize>) -> Result<usize> {
        match sent {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN) => Err(Errno::AGAIN),
            Err(error) => Err(self.note(Call::Send, error)),
        }
    }

    /// Keeps the error of a call if it has ended the connection.
    #[cold]
    pub(super) fn note(&self, call: Call, error: Errno) -> Errno {
        if self.kind.is_connected() && meaning(call, error) == Meaning::Sticky {
            let number = u16::try_from(error.raw_os_error()).unwrap_or(0);
            // The first one: what is told later follows from it.
            let _ = self.failed.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        }
        error
    }

    /// Gives the error that has ended the connection, if one has.
    pub(super) fn failure(&self) -> Option<Errno> {
        let number = self.failed.load(Ordering::Relaxed);
        (number != 0).then(|| Errno::from_raw_os_error(number.into()))
    }

    /// Takes `SO_ERROR`, and keeps it if it has ended the connection: others are told as well.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let taken = self.options().take_error()?;
        if let Some(error) = taken.as_ref().and_then(Errno::from_io_error) {
            self.note(Call::Receive, error);
        }
        Ok(taken)
    }

    /// Forgets a failure: another connection takes the place of the one that has failed.
    pub(super) fn forget_failure(&self) {
        self.failed.store(0, Ordering::Relaxed);
    }
}
