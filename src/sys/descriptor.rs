//! A socket's descriptor: owned, or borrowed from somebody who keeps it open.
//!
//! A closed one keeps its number: an inert descriptor takes its place.
//!
//! Unsafe: numbers become descriptors here, and dup3(2) (elsewhere dup2 and fcntl) puts one in the
//! place of another. Whoever makes a borrowed one vouches for it; an owned
//! one is closed exactly once, by whoever takes it or by the drop.
#![allow(unsafe_code)]

use std::{
    io,
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

use super::errno::{Call, Meaning, meaning};
use crate::fork::Global;

/// Keeps a descriptor's number, and whether it has to be closed.
///
/// Its number changes at most once, when a borrowed one is closed; who owns it at most once, when
/// it is disowned. Both are told to other threads by whatever tells them of the closing.
pub(super) struct Descriptor {
    number: AtomicI32,
    owned: AtomicBool,
    /// Whether `O_NONBLOCK` was set in here, and not by whoever made the descriptor.
    set_nonblocking: AtomicBool,
}

impl Descriptor {
    pub(super) fn own(fd: OwnedFd) -> Descriptor {
        Descriptor::of(fd.into_raw_fd(), true)
    }

    fn of(fd: RawFd, owned: bool) -> Descriptor {
        Descriptor {
            number: AtomicI32::new(fd),
            owned: AtomicBool::new(owned),
            set_nonblocking: AtomicBool::new(false),
        }
    }

    /// # Safety
    /// `fd` is open, and stays so until this is retired, given away or dropped, and until nothing
    /// that `as_fd` has lent is used any more.
    pub(super) unsafe fn borrow(fd: RawFd) -> Descriptor {
        Descriptor::of(fd, false)
    }

    pub(super) fn is_owned(&self) -> bool {
        self.owned.load(Ordering::Relaxed)
    }

    /// Gives the descriptor to a new owner and goes on borrowing it; `None` if it is borrowed
    /// already.
    ///
    /// # Safety
    /// The new owner keeps it open as [`Descriptor::borrow`] says.
    pub(super) unsafe fn disown(&self) -> Option<OwnedFd> {
        let owned = self.owned.swap(false, Ordering::AcqRel);
        // SAFETY: it was ours, and is the caller's from here on: the flag is taken only once.
        owned.then(|| unsafe { OwnedFd::from_raw_fd(self.as_raw_fd()) })
    }

    /// Gives the descriptor for good; `None` if it is borrowed.
    pub(super) fn into_owned(self) -> Option<OwnedFd> {
        self.reset_mode();
        // SAFETY: nobody borrows it any more, since `self` is taken.
        unsafe { self.disown() }
    }

    /// Sets `O_NONBLOCK`, which whoever shares the descriptor sees, until this lets go of it.
    ///
    /// Asked each time: another one who shares it may have taken it back. What is left is the
    /// moment between this and the call that needs it.
    pub(super) fn make_nonblocking(&self) -> rustix::io::Result<()> {
        let flags = fcntl_getfl(self)?;
        if !flags.contains(OFlags::NONBLOCK) {
            fcntl_setfl(self, flags | OFlags::NONBLOCK)?;
            self.set_nonblocking.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes `O_NONBLOCK` back, if it was set in here.
    fn reset_mode(&self) {
        if self.set_nonblocking.swap(false, Ordering::Relaxed)
            // It cannot fail on a descriptor that is open.
            && let Ok(flags) = fcntl_getfl(self)
        {
            let _ = fcntl_setfl(self, flags - OFlags::NONBLOCK);
        }
    }

    /// Lets go of what it stands for but keeps a number that is open and inert; `false` if no
    /// descriptor was left for that.
    pub(super) fn retire(&self) -> bool {
        self.reset_mode();
        let Some(inert) = inert() else { return false };
        if self.is_owned() {
            // SAFETY: both numbers are open and ours; the call closes what this one stood for and
            // puts the inert one in its place, so this still owns an open descriptor.
            return again(|| unsafe { replace(inert.as_raw_fd(), self.as_raw_fd()) });
        }
        // Its owner closes it. The inert one is open for ever.
        self.number.store(inert.as_raw_fd(), Ordering::Relaxed);
        true
    }
}

/// Makes a call that duplicates again while the table of descriptors is being changed, or a signal
/// comes; whether it has succeeded.
fn again(mut duplicate: impl FnMut() -> RawFd) -> bool {
    loop {
        if duplicate() >= 0 {
            return true;
        }
        let error = Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::BADF);
        if meaning(Call::Duplicate, error) != Meaning::Again {
            return false;
        }
    }
}

impl AsRawFd for Descriptor {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.number.load(Ordering::Relaxed)
    }
}

impl AsFd for Descriptor {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: owned, it is open until `self` is dropped or consumed: `retire` only puts an
        // inert one in its place. Borrowed, the caller of `borrow` or `disown` keeps it open for as
        // long as this is used. The inert one of a borrowed one is open for ever.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.reset_mode();
        // SAFETY: nobody borrows it any more.
        drop(unsafe { self.disown() });
    }
}

/// Gives the descriptor that all closed sockets stand for: nothing that a call can connect, bind or
/// wait on. `None` if no descriptor is left; the next to ask tries again.
fn inert() -> Option<&'static OwnedFd> {
    static INERT: Global<OwnedFd> = Global::new();
    match INERT.get() {
        Some(inert) => Some(inert),
        None => make_inert().map(|made| INERT.get_or_make(|| made)).ok(),
    }
}

/// A descriptor that only names a place: each call of a socket says EBADF, poll(2) POLLNVAL.
fn make_inert() -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags, open};
        if let Ok(place) = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            return Ok(place);
        }
    }
    // Where there is none: one half of a pair, connected for ever to nobody.
    let (half, other) = UnixStream::pair()?;
    drop(other);
    // On some systems it is no longer connected then, and cannot be shut down, nor needs it.
    let _ = half.shutdown(Shutdown::Both);
    Ok(half.into())
}

/// dup3(2), closed on exec.
#[cfg(target_os = "linux")]
unsafe fn replace(with: RawFd, place: RawFd) -> RawFd {
    // SAFETY: the caller's.
    unsafe { libc::dup3(with, place, libc::O_CLOEXEC) }
}

/// dup2(2), then closed on exec, where there is no dup3.
#[cfg(not(target_os = "linux"))]
unsafe fn replace(with: RawFd, place: RawFd) -> RawFd {
    // SAFETY: the caller's.
    unsafe {
        let place = libc::dup2(with, place);
        libc::fcntl(place, libc::F_SETFD, libc::FD_CLOEXEC);
        place
    }
}
