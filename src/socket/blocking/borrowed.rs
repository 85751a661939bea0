//! Blocking sockets whose descriptor has another owner.
//!
//! Unsafe: the caller keeps the descriptor open for as long as the socket uses it.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{OwnedFd, RawFd},
};

use super::BlockingSocket;
#[cfg(doc)]
use crate::socket::AsyncSocket;
use crate::sys::Sys;

impl BlockingSocket {
    /// Converts a socket whose descriptor has another owner, like [`AsyncSocket::borrow_raw`].
    ///
    /// # Safety
    /// `fd` is open, and stays open until the socket is closed or its last handle dropped, until
    /// each verb that a close has ended in another thread has returned, and until nothing lent by
    /// `as_fd` or [`BlockingSocket::options`] is used any more. A drop that continues in a thread
    /// uses a duplicate.
    ///
    /// # Errors
    /// `ENOTSOCK` if the descriptor is no socket.
    pub unsafe fn borrow_raw(fd: RawFd) -> io::Result<BlockingSocket> {
        // SAFETY: the caller upholds the contract of `Sys::borrow`.
        Ok(BlockingSocket::from_parts(unsafe { Sys::borrow(fd)? }.into()))
    }

    /// Passes the ownership of the descriptor to the caller, like [`AsyncSocket::disown`].
    ///
    /// # Safety
    /// The descriptor stays open as long as [`BlockingSocket::borrow_raw`] demands.
    pub unsafe fn disown(&self) -> Option<OwnedFd> {
        // SAFETY: the caller keeps the descriptor open.
        self.with_sys(|sys| Ok(unsafe { sys.disown() })).ok().flatten()
    }
}
