//! When Python's garbage collector looks at a coroutine: not while it lives, since the scheduler
//! holds it then, but once it has ended, for its value may hold it in turn.
//!
//! Unsafe: the collector's list.
#![allow(unsafe_code)]

use pyo3::{ffi, prelude::*};

use crate::coro::Coro;

/// Takes a new coroutine off the list.
pub(crate) fn untrack(coro: &Py<Coro>) {
    // SAFETY: its type is one of the collector's; taking off what is not there is nothing.
    unsafe { ffi::PyObject_GC_UnTrack(coro.as_ptr().cast()) };
}

/// Puts a coroutine that has ended back.
pub(crate) fn track(coro: &Py<Coro>) {
    // SAFETY: as above; it is put back only if it is not there.
    unsafe {
        if ffi::PyObject_GC_IsTracked(coro.as_ptr()) == 0 {
            ffi::PyObject_GC_Track(coro.as_ptr().cast());
        }
    }
}
