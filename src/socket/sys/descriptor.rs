//! A socket's descriptor: owned, or borrowed from somebody who keeps it open.
//!
//! Unsafe: numbers become descriptors here. Whoever makes a borrowed one vouches for it; an owned
//! one is closed exactly once, by whoever takes it or by the drop.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use rustix::io::Errno;

use super::{Call, Meaning, inert, meaning, replace};

/// See the module's page.
///
/// Its number changes at most once, when a borrowed one is closed; who owns it at most once, when
/// it is disowned. Both are told to other threads by whatever tells them of the closing.
pub(super) struct Descriptor {
    number: AtomicI32,
    owned: AtomicBool,
}

impl Descriptor {
    pub(super) fn own(fd: OwnedFd) -> Descriptor {
        Descriptor { number: AtomicI32::new(fd.into_raw_fd()), owned: AtomicBool::new(true) }
    }

    /// # Safety
    /// `fd` is open, and stays so until this is buried, given away or dropped.
    pub(super) unsafe fn borrow(fd: RawFd) -> Descriptor {
        Descriptor { number: AtomicI32::new(fd), owned: AtomicBool::new(false) }
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

    /// The descriptor for good; `None` if it is borrowed.
    pub(super) fn into_owned(self) -> Option<OwnedFd> {
        // SAFETY: nobody borrows it any more, since `self` is taken.
        unsafe { self.disown() }
    }

    /// Lets go of what it stands for but keeps a number that is open and inert; `false` if no
    /// descriptor was left for that.
    pub(super) fn bury(&self) -> bool {
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
        // SAFETY: it is open for as long as this lives: owned, vouched for, or inert.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: nobody borrows it any more.
        drop(unsafe { self.disown() });
    }
}
