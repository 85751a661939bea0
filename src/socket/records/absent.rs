//! Replaces the TLS records where the crate is built without TLS: no value of the type exists.

use std::io::{self, IoSlice};

use rustix::io::Errno;

use crate::sys::{Direction, Sys};

/// The type of records that never exist.
pub(crate) enum Records {}

impl Records {
    pub(super) fn is_on(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_plain(&self) -> bool {
        match *self {}
    }

    pub(super) fn read(&self, _: &Sys, _: usize, _: &mut dyn FnMut(&[u8])) -> Result<usize, Errno> {
        match *self {}
    }

    pub(super) fn peek(&self, _: &Sys, _: &mut [u8]) -> Result<usize, Errno> {
        match *self {}
    }

    pub(super) fn take_ahead(&self, _: &Sys) {
        match *self {}
    }

    pub(super) fn is_readable(&self, _: &Sys) -> Result<bool, Errno> {
        match *self {}
    }

    pub(super) fn is_drained(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_cut(&self) -> bool {
        match *self {}
    }

    pub(super) fn moved(&self, _: Direction) -> u32 {
        match *self {}
    }

    pub(super) fn stop_reading(&self) {
        match *self {}
    }

    pub(super) fn has_plaintext(&self) -> bool {
        match *self {}
    }

    pub(super) fn take_plaintext(&self) -> Vec<u8> {
        match *self {}
    }

    pub(super) fn send(&self, _: &Sys, _: &[u8]) -> Result<usize, Errno> {
        match *self {}
    }

    pub(super) fn send_vectored(&self, _: &Sys, _: &[IoSlice<'_>]) -> Result<usize, Errno> {
        match *self {}
    }

    pub(super) fn is_out_of_memory(&self) -> bool {
        match *self {}
    }

    pub(super) fn has_pending(&self) -> bool {
        match *self {}
    }

    pub(super) fn push(&self, _: &Sys) -> Result<(), Errno> {
        match *self {}
    }

    pub(super) fn room_behind(&self, _: usize) -> usize {
        match *self {}
    }

    pub(super) fn promise(&self) {
        match *self {}
    }

    pub(super) fn breaks_promise(&self) -> bool {
        match *self {}
    }

    pub(super) fn close_notify(&self) {
        match *self {}
    }

    pub(super) fn settle(&self, _: &Sys) -> Result<bool, Errno> {
        match *self {}
    }

    pub(super) fn reason(&self, _: Errno) -> io::Error {
        match *self {}
    }
}
