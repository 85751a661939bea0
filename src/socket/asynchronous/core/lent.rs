//! Lends the descriptor of a socket.
//!
//! Unsafe: it is lent out of a cell, for as long as a handle is borrowed.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use super::Core;

impl Core {
    /// Returns the descriptor; once the socket is closed, an inert one.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        let state = self.state.borrow();
        let link = state.link.as_ref().expect("a handle's socket is not taken apart");
        // SAFETY: an owned descriptor is open until `self` is dropped: `close` only puts an inert
        // one in its place, and `take_parts` moves it out only when the last handle, from which
        // this borrow comes, is consumed. A borrowed one is kept open by the caller of `borrow_raw`
        // or `disown` for as long as this is used.
        unsafe { BorrowedFd::borrow_raw(link.sys().fd().as_raw_fd()) }
    }
}
