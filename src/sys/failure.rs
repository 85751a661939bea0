//! The failure of a connection, which the kernel reports once, to the first call.
//!
//! It is stored with the descriptor, so that every verb returns it, in either direction and on
//! either face. Invariant: an end of stream after a failure is returned as that failure.

use std::{io, sync::atomic::Ordering};

use rustix::io::Errno;

use super::{
    errno::{Call, Meaning, Result, meaning},
    socket::{MOVED, RECEIVED, Sys},
};

impl Sys {
    /// Checks the result of a receive: an end of stream after a failure that another call was told
    /// becomes that failure.
    #[inline]
    pub(super) fn heard(&self, got: Result<usize>) -> Result<usize> {
        match got {
            Ok(0) => self.heard_nothing(),
            Ok(count) => {
                self.note_received();
                Ok(count)
            }
            Err(Errno::AGAIN) => Err(Errno::AGAIN),
            Err(error) => Err(self.heard_error(error)),
        }
    }

    /// Notes, for [`Sys::take_moved`], that bytes were received.
    #[inline]
    pub(super) fn note_received(&self) {
        self.moved.store(MOVED | RECEIVED, Ordering::Relaxed);
    }

    /// Notes, for [`Sys::take_moved`], that bytes were sent.
    #[inline]
    fn note_sent(&self) {
        self.moved.store(MOVED, Ordering::Relaxed);
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

    /// Checks the result of a send.
    #[inline]
    pub(crate) fn told(&self, sent: Result<usize>) -> Result<usize> {
        match sent {
            Ok(count) => {
                self.note_sent();
                Ok(count)
            }
            Err(Errno::AGAIN) => Err(Errno::AGAIN),
            Err(error) => Err(self.note(Call::Send, error)),
        }
    }

    /// Stores the error of a call if it has ended the connection.
    #[cold]
    pub(super) fn note(&self, call: Call, error: Errno) -> Errno {
        if self.kind.is_connected() && meaning(call, error) == Meaning::Sticky {
            let number = u16::try_from(error.raw_os_error()).unwrap_or(0);
            // The first one is kept: later ones follow from it.
            let _ = self.failed.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        }
        error
    }

    /// Returns the error that has ended the connection, if one has.
    pub(super) fn failure(&self) -> Option<Errno> {
        let number = self.failed.load(Ordering::Relaxed);
        (number != 0).then(|| Errno::from_raw_os_error(number.into()))
    }

    /// Takes `SO_ERROR`; stores it for other calls if it has ended the connection.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        let taken = self.options().take_error()?;
        if let Some(error) = taken.as_ref().and_then(Errno::from_io_error) {
            self.note(Call::Receive, error);
        }
        Ok(taken)
    }

    /// Clears a failure: a new connection replaces the failed one.
    pub(super) fn forget_failure(&self) {
        self.failed.store(0, Ordering::Relaxed);
    }
}
