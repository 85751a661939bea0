//! A socket's descriptor: owned, or borrowed from an owner who keeps it open.
//!
//! A closed socket keeps the number: an inert descriptor takes its place.
//!
//! Unsafe: numbers become descriptors here, and dup3(2) (elsewhere dup2 and fcntl) replaces one
//! with another. The caller who borrows one promises that it stays open; an owned one is closed
//! exactly once, by the code that takes it or by the drop.
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

/// A descriptor's number, and whether it must be closed.
///
/// The number changes at most once, when a borrowed one is closed; the owner changes at most once,
/// when it is disowned. Other threads learn of both through the flag that tells them of the close.
pub(super) struct Descriptor {
    number: AtomicI32,
    owned: AtomicBool,
    /// Whether this crate has set `O_NONBLOCK`.
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
    /// `fd` is open, and stays open until this is retired, given away or dropped, and until nothing
    /// lent by `as_fd` is used any more.
    pub(super) unsafe fn borrow(fd: RawFd) -> Descriptor {
        Descriptor::of(fd, false)
    }

    pub(super) fn is_owned(&self) -> bool {
        self.owned.load(Ordering::Relaxed)
    }

    /// Passes the ownership to the caller and continues to borrow; `None` if it is borrowed
    /// already.
    ///
    /// # Safety
    /// The new owner keeps it open as [`Descriptor::borrow`] demands.
    pub(super) unsafe fn disown(&self) -> Option<OwnedFd> {
        let owned = self.owned.swap(false, Ordering::AcqRel);
        // SAFETY: this owned it, and the caller does from now on: the flag is taken only once.
        owned.then(|| unsafe { OwnedFd::from_raw_fd(self.as_raw_fd()) })
    }

    /// Returns the descriptor; `None` if it is borrowed.
    pub(super) fn into_owned(self) -> Option<OwnedFd> {
        self.reset_mode();
        // SAFETY: nothing borrows it any more, since `self` is consumed.
        unsafe { self.disown() }
    }

    /// Sets `O_NONBLOCK`, visible to all that share the descriptor, until this releases it.
    ///
    /// Checked each time, since another user may have reset it. A race remains between this and the
    /// call that needs it.
    pub(super) fn make_nonblocking(&self) -> rustix::io::Result<()> {
        let flags = fcntl_getfl(self)?;
        if !flags.contains(OFlags::NONBLOCK) {
            fcntl_setfl(self, flags | OFlags::NONBLOCK)?;
            self.set_nonblocking.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sets `O_NONBLOCK` for good: others that share the descriptor count on it.
    pub(super) fn leave_nonblocking(&self) -> rustix::io::Result<()> {
        self.make_nonblocking()?;
        self.set_nonblocking.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Resets `O_NONBLOCK`, if this crate has set it.
    fn reset_mode(&self) {
        if self.set_nonblocking.swap(false, Ordering::Relaxed)
            // This cannot fail on an open descriptor.
            && let Ok(flags) = fcntl_getfl(self)
        {
            let _ = fcntl_setfl(self, flags - OFlags::NONBLOCK);
        }
    }

    /// Releases the file but keeps a number that is open and inert; `false` if no descriptor was
    /// left for that.
    pub(super) fn retire(&self) -> bool {
        self.reset_mode();
        let Some(inert) = inert() else { return false };
        if self.is_owned() {
            // SAFETY: the inert number is open for ever, and this owns the other; the call closes
            // that and puts the inert one in its place, so this still owns an open descriptor.
            return again(|| unsafe { replace(inert.as_raw_fd(), self.as_raw_fd()) });
        }
        // Its owner closes it. The inert one is open for ever.
        self.number.store(inert.as_raw_fd(), Ordering::Relaxed);
        true
    }
}

/// Repeats a call that duplicates while the table of descriptors is being changed or a signal
/// interrupts it; returns whether it has succeeded.
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
        // SAFETY: an owned one is open until `self` is dropped or consumed: `retire` only puts an
        // inert one in its place. A borrowed one is kept open by the caller of `borrow` or `disown`
        // as long as this is used. The inert one of a borrowed one is open for ever.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.reset_mode();
        // SAFETY: nothing borrows it any more.
        drop(unsafe { self.disown() });
    }
}

/// Returns the descriptor that replaces those of closed sockets: no call can connect it, bind it or
/// wait on it. `None` if no descriptor is left; the next caller tries again.
fn inert() -> Option<&'static OwnedFd> {
    static INERT: Global<OwnedFd> = Global::new();
    match INERT.get() {
        Some(inert) => Some(inert),
        None => make_inert().map(|made| INERT.get_or_make(|| made)).ok(),
    }
}

/// Opens a descriptor that only names a path: socket calls return EBADF, poll(2) POLLNVAL.
fn make_inert() -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags, open};
        if let Ok(place) = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            return Ok(place);
        }
    }
    // Without O_PATH: one half of a pair whose other half is closed.
    let (half, other) = UnixStream::pair()?;
    drop(other);
    // On some systems it is no longer connected then, which makes this fail, harmlessly.
    let _ = half.shutdown(Shutdown::Both);
    Ok(half.into())
}

/// Calls dup3(2), closed on exec.
#[cfg(target_os = "linux")]
unsafe fn replace(with: RawFd, place: RawFd) -> RawFd {
    // SAFETY: the caller owns the number `place`, and `with` is open.
    unsafe { libc::dup3(with, place, libc::O_CLOEXEC) }
}

/// Calls dup2(2), then sets closed on exec, where there is no dup3.
#[cfg(not(target_os = "linux"))]
unsafe fn replace(with: RawFd, place: RawFd) -> RawFd {
    // SAFETY: the caller owns the number `place`, and `with` is open.
    unsafe {
        let place = libc::dup2(with, place);
        libc::fcntl(place, libc::F_SETFD, libc::FD_CLOEXEC);
        place
    }
}
