//! Hides a coroutine from Python's garbage collector while it runs, since the scheduler holds it
//! then, and shows it again once it has ended, since its value may refer back to it.
//!
//! Unsafe: the collector's list.
#![allow(unsafe_code)]

use pyo3::{ffi, prelude::*};

use super::object::Coro;

/// Takes a new coroutine off the list.
pub(crate) fn untrack(coro: &Py<Coro>) {
    // SAFETY: its type supports collection; taking off what is not listed does nothing.
    unsafe { ffi::PyObject_GC_UnTrack(coro.as_ptr().cast()) };
}

/// Puts a coroutine that has ended back on the list.
pub(crate) fn track(coro: &Py<Coro>) {
    // SAFETY: as above; it is put back only if it is not there.
    unsafe {
        if ffi::PyObject_GC_IsTracked(coro.as_ptr()) == 0 {
            ffi::PyObject_GC_Track(coro.as_ptr().cast());
        }
    }
}
