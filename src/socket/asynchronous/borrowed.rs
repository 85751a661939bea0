//! Sockets whose descriptor has another owner.
//!
//! Unsafe: the caller keeps the descriptor open for as long as the socket uses it.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{OwnedFd, RawFd},
};

use super::AsyncSocket;
use crate::sys::Sys;

impl AsyncSocket {
    /// Converts a socket whose descriptor has another owner, for example an object of another
    /// language, who keeps it open. This socket never closes the descriptor.
    ///
    /// ```
    /// use std::{net::UdpSocket, os::fd::AsRawFd};
    /// use asyncoro::AsyncSocket;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let owner = UdpSocket::bind("127.0.0.1:0")?;
    /// // SAFETY: `owner` is dropped after it.
    /// let socket = unsafe { AsyncSocket::borrow_raw(owner.as_raw_fd())? };
    /// assert_eq!(socket.local_addr()?.to_string(), owner.local_addr()?.to_string());
    /// # drop(socket);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Safety
    /// `fd` is open, and stays open until the socket is closed, or is dropped and has nothing left
    /// to send or, over TLS, to be acknowledged, and until nothing lent by `as_fd` or
    /// [`AsyncSocket::options`] is used any more.
    ///
    /// # Errors
    /// `ENOTSOCK` if the descriptor is no socket.
    pub unsafe fn borrow_raw(fd: RawFd) -> io::Result<AsyncSocket> {
        // SAFETY: the caller upholds the contract of `Sys::borrow`.
        Ok(AsyncSocket::from_parts(unsafe { Sys::borrow(fd)? }.into()))
    }

    /// Passes the ownership of the descriptor to the caller; the socket continues to borrow it.
    /// `None` if it is borrowed already, or closed.
    ///
    /// # Safety
    /// The descriptor stays open as long as [`AsyncSocket::borrow_raw`] demands.
    pub unsafe fn disown(&self) -> Option<OwnedFd> {
        // SAFETY: the caller keeps the descriptor open.
        self.core.with_sys(|sys| Ok(unsafe { sys.disown() })).ok().flatten()
    }
}
