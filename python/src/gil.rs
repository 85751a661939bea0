//! Values that only a thread that holds the GIL may touch.
//!
//! Unsafe: values move between threads and are shared by them. They are reached through
//! [`Gil::get`], which wants a token of the GIL, and [`Gil::visited`], for a collector that holds
//! it. So one thread at a time reaches them, and the GIL orders what they do. That is why builds of
//! CPython without a GIL are refused. CPython is asked, too, whether a thread holds the GIL.
#![allow(unsafe_code)]

use pyo3::{PyVisit, Python, ffi};

#[cfg(Py_GIL_DISABLED)]
compile_error!("asyncoro needs a CPython with a GIL");

/// A value that is reached only with the GIL held.
pub(crate) struct Gil<T>(T);

// SAFETY: it is reached only with the GIL held, which one thread holds at a time.
unsafe impl<T> Send for Gil<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Gil<T> {}

impl<T> Gil<T> {
    pub(crate) const fn new(value: T) -> Gil<T> {
        Gil(value)
    }

    /// Borrows the value for as long as the GIL is held.
    pub(crate) fn get<'py>(&'py self, _: Python<'py>) -> &'py T {
        &self.0
    }

    /// Borrows the value for Python's garbage collector, which has no token but holds the GIL.
    pub(crate) fn visited(&self, _: &PyVisit<'_>) -> &T {
        &self.0
    }

    pub(crate) fn into_inner(self, _: Python<'_>) -> T {
        self.0
    }
}

/// Returns the GIL's token in the scheduler's thread, which holds the GIL except in waits.
///
/// # Safety
/// Call it in a future that the scheduler polls, or in what such a future calls.
pub(crate) unsafe fn held<'py>() -> Python<'py> {
    // SAFETY: `engine.rs` releases the GIL only around the scheduler's waits, during which no
    // future is polled or dropped.
    unsafe {
        debug_assert!(ffi::PyGILState_Check() != 0, "the GIL is not held");
        Python::assume_attached()
    }
}

/// Returns the GIL's token where no caller can hand it on: in what the scheduler polls, the
/// operation or future of a call, and in the drop of what only a holder of the GIL drops.
pub(crate) fn py<'py>() -> Python<'py> {
    // SAFETY: the scheduler holds the GIL except in waits, and the others hold it as such.
    unsafe { held() }
}

/// Returns whether this thread is one of Python's that has let go of the GIL for now.
pub(crate) fn is_let_go() -> bool {
    // SAFETY: both may be called by any thread, with the GIL and without.
    unsafe { !ffi::PyGILState_GetThisThreadState().is_null() && ffi::PyGILState_Check() == 0 }
}
