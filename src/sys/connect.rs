//! Attempts to connect: begins them, checks them, ends them.
//!
//! The address of an attempt is not stored here, but by the caller.

use std::{sync::atomic::Ordering, time::Duration};

use rustix::{io::Errno, net};
use socket2::{Domain, SockRef};

use super::{
    address::with_address,
    calls::again,
    errno::{Call, Result},
    kind::{Direction, domain},
    socket::Sys,
};
use crate::addr::Address;

impl Sys {
    /// Tells whether the socket listens.
    pub(crate) fn is_listening(&self) -> bool {
        is_listening(&self.options())
    }

    /// Returns the family of the socket's addresses, if the system tells.
    pub(crate) fn domain(&self) -> Option<Domain> {
        domain(&self.options()).ok()
    }

    /// Calls connect(2) for a new attempt, which [`Sys::is_connected_to`] then follows. No other
    /// attempt of this crate may be under way.
    ///
    /// Fails with `EISCONN` on a connected stream. The kernel returns Ok if an attempt that other
    /// code has begun, to any address, has succeeded meanwhile.
    pub(crate) fn connect(&self, to: &Address) -> Result<()> {
        let begun = self.connect_anew(to);
        self.dissolved.is_now.store(false, Ordering::Release);
        begun
    }

    fn connect_anew(&self, to: &Address) -> Result<()> {
        self.fd.make_nonblocking()?;
        if self.kind.is_tcp() && self.peer_addr().is_ok_and(|peer| peer != *to) {
            return Err(Errno::ISCONN);
        }
        let mut begun = self.connect_raw(to);
        if begun == Err(Errno::ALREADY) {
            // An attempt begun by other code, whose address is unknown.
            self.dissolve()?;
            begun = self.connect_raw(to);
        } else if begun == Err(Errno::CONNABORTED) && self.kind.is_tcp() {
            // The error of an earlier failed attempt, which is reported once.
            begun = self.connect_raw(to);
        }
        if matches!(begun, Ok(()) | Err(Errno::INPROGRESS)) {
            self.forget_failure();
        }
        begun
    }

    fn connect_raw(&self, to: &Address) -> Result<()> {
        again(|| with_address(to, |to| net::connect(&self.fd, &to))?)
    }

    /// Ends an attempt to connect, or the connection that it has made: the socket is then not
    /// connected, and keeps all its options. The caller calls [`Sys::connect`] next.
    pub(crate) fn dissolve(&self) -> Result<()> {
        self.dissolved.once.store(true, Ordering::Relaxed);
        self.dissolved.is_now.store(true, Ordering::Release);
        if let Err(error) = again(|| net::connect_unspec(&self.fd)) {
            self.dissolved.is_now.store(false, Ordering::Release);
            return Err(error);
        }
        // Linux has noted that the attempt was ended.
        let _ = self.options().take_error();
        self.forget_failure();
        Ok(())
    }

    /// Tells whether a call failed with this error only because it came between two attempts of
    /// another thread: the second one is about to begin, is under way, or has succeeded.
    #[cold]
    pub(super) fn is_between_attempts(&self, error: Errno) -> bool {
        // Linux reports an attempt that was dissolved as a reset.
        if !matches!(error, Errno::NOTCONN | Errno::CONNRESET)
            || !self.dissolved.once.load(Ordering::Relaxed)
        {
            return false;
        }
        self.dissolved.is_now.load(Ordering::Acquire)
            || !self.is_listening()
                && (net::getpeername(&self.fd).is_ok()
                    || self.wait(Direction::Write, Some(Duration::ZERO)) == Ok(Some(false)))
    }

    /// Tells whether the connection that was begun exists; `false` while it is being made.
    ///
    /// An error that other code has taken off the socket is still returned here.
    pub(crate) fn is_connected_to(&self, to: &Address) -> Result<bool> {
        let outcome = self.outcome(to);
        outcome.map_err(|error| {
            let first = self.failure().filter(|_| error == Errno::CONNABORTED);
            self.note(Call::Connect, first.unwrap_or(error))
        })
    }

    /// Asks connect(2), where it tells: it returns the state of the attempt, and takes a reported
    /// error off the socket, so that the next attempt begins clean.
    fn outcome(&self, to: &Address) -> Result<bool> {
        if !(cfg!(target_os = "linux") && self.kind.is_tcp()) {
            return self.outcome_by_options();
        }
        self.fd.make_nonblocking()?;
        match self.connect_raw(to) {
            Ok(()) | Err(Errno::ISCONN) => Ok(true),
            Err(Errno::ALREADY | Errno::INPROGRESS) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn outcome_by_options(&self) -> Result<bool> {
        if let Some(error) = self.options().take_error().ok().flatten() {
            return Err(Errno::from_io_error(&error).unwrap_or(Errno::CONNABORTED));
        }
        match net::getpeername(&self.fd) {
            Ok(_) => Ok(true),
            Err(Errno::NOTCONN) => match self.wait(Direction::Write, Some(Duration::ZERO))? {
                // The attempt is over, and other code has taken its error.
                Some(true) => Err(Errno::CONNABORTED),
                _ => Ok(false),
            },
            Err(error) => Err(error),
        }
    }
}

#[cfg(not(target_vendor = "apple"))]
fn is_listening(socket: &SockRef<'_>) -> bool {
    socket.is_listener().unwrap_or(false)
}

/// Returns `true`: Apple's systems do not tell.
#[cfg(target_vendor = "apple")]
fn is_listening(_: &SockRef<'_>) -> bool {
    true
}
