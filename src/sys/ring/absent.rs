//! Replaces io_uring where there is none, or the crate is built without it: no value of the type
//! exists.

use std::{io, os::fd::BorrowedFd};

use super::ran::Ran;
use crate::sys::errno::Result;

/// Whether there may be such a thing.
pub(crate) const EXISTS: bool = false;

/// The type of rings that never exist.
pub(crate) enum Ring {}

impl Ring {
    pub(crate) fn open() -> io::Result<Ring> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[allow(unsafe_code, reason = "as where there is one")]
    pub(in crate::sys) unsafe fn push_recv(
        &mut self,
        _: BorrowedFd<'_>,
        _: &mut [u8],
    ) -> Option<usize> {
        match *self {}
    }

    pub(crate) fn push_send(&mut self, _: BorrowedFd<'_>, _: &[u8]) -> Option<usize> {
        match *self {}
    }

    pub(crate) fn run(&mut self) -> Ran {
        match *self {}
    }

    pub(crate) fn result(&self, _: usize) -> Option<Result<usize>> {
        match *self {}
    }

    pub(crate) fn clear(&mut self) {
        match *self {}
    }
}
