//! Duplicates of descriptors that Python's objects have.
//!
//! Unsafe: a number is taken for a descriptor, for one call of the system's, which refuses a number
//! that is none.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd, RawFd},
};

/// EBADF, as Linux has it.
const BADF: i32 = 9;

/// Duplicates a descriptor; the duplicate is closed on exec.
pub(super) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(BADF));
    }
    // SAFETY: it is not negative, and borrowed for fcntl(2) alone, which fails if it is not open.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}
