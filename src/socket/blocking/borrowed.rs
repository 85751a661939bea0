//! Blocking sockets whose descriptor somebody else owns.
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
    /// Converts a socket whose descriptor somebody else owns, as [`AsyncSocket::borrow_raw`].
    ///
    /// # Safety
    /// `fd` is open and stays open until the socket is closed, or its last handle dropped, until
    /// each verb that the close has ended in another thread has returned, and until nothing that
    /// `as_fd` or [`BlockingSocket::options`] has lent is used any more. A drop that goes on in a
    /// thread does so with a duplicate.
    ///
    /// # Errors
    /// `ENOTSOCK` if the descriptor is no socket.
    pub unsafe fn borrow_raw(fd: RawFd) -> io::Result<BlockingSocket> {
        // SAFETY: the caller's.
        Ok(BlockingSocket::from_parts(unsafe { Sys::borrow(fd)? }.into()))
    }

    /// Gives the descriptor to a new owner, as [`AsyncSocket::disown`].
    ///
    /// # Safety
    /// The descriptor stays open as [`BlockingSocket::borrow_raw`] says.
    pub unsafe fn disown(&self) -> Option<OwnedFd> {
        // SAFETY: the caller's.
        self.with_sys(|sys| Ok(unsafe { sys.disown() })).ok().flatten()
    }
}
