//! The context of a coroutine (PEP 567): a copy of its creator's, in which all of it runs.
//!
//! It is left when another one is entered, not before: so a coroutine that is resumed again and
//! again enters it once. What belongs to no coroutine and runs between two, a finaliser say, thus
//! runs in the context of the last one.
//!
//! Unsafe: entering and leaving a context, for which pyo3 has no functions, and a pointer that is a
//! reference to the one that was entered.
#![allow(unsafe_code)]

use std::{cell::Cell, ptr};

use pyo3::{ffi, prelude::*};

use crate::gil::Gil;

/// A `contextvars.Context`.
pub(crate) struct Context(Py<PyAny>);

/// The context that the scheduler's thread has entered, a reference; null if it has left the last
/// one.
static ENTERED: Gil<Cell<*mut ffi::PyObject>> = Gil::new(Cell::new(ptr::null_mut()));

impl Context {
    /// Copies the current one.
    pub(crate) fn copy(py: Python<'_>) -> PyResult<Context> {
        // SAFETY: the result is a new reference, or null and an exception.
        let copy = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
        Ok(Context(copy.unbind()))
    }

    /// Makes it the current one of the scheduler's thread.
    #[inline]
    pub(crate) fn enter(&self, py: Python<'_>) {
        if ENTERED.get(py).get() != self.0.as_ptr() {
            self.change(py);
        }
    }

    /// Calls `f` in it, in any thread.
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: it is a context.
        let entered = unsafe { ffi::PyContext_Enter(self.0.as_ptr()) } == 0;
        if !entered {
            // It is the current one.
            // SAFETY: the call above has set an exception.
            unsafe { ffi::PyErr_Clear() };
        }
        let result = f();
        // SAFETY: what was entered inside of it was left there.
        if entered && unsafe { ffi::PyContext_Exit(self.0.as_ptr()) } != 0 {
            // SAFETY: the call above has set an exception.
            unsafe { ffi::PyErr_Clear() };
        }
        result
    }

    fn change(&self, py: Python<'_>) {
        leave(py);
        // SAFETY: it is a context.
        if unsafe { ffi::PyContext_Enter(self.0.as_ptr()) } == 0 {
            ENTERED.get(py).set(self.0.clone_ref(py).into_ptr());
        } else {
            // Nobody else has it, so that nobody else has entered it.
            PyErr::fetch(py).write_unraisable(py, None);
        }
    }
}

/// Leaves the context that was entered last, if there is one.
pub(crate) fn leave(py: Python<'_>) {
    let entered = ENTERED.get(py).replace(ptr::null_mut());
    // SAFETY: the pointer is a reference, or null. It outlives the call: leaving uses the context
    // after the interpreter has let go of it.
    let Some(entered) = (unsafe { Bound::from_owned_ptr_or_opt(py, entered) }) else { return };
    // SAFETY: it is the current one: what was entered inside of it was left there.
    if unsafe { ffi::PyContext_Exit(entered.as_ptr()) } != 0 {
        PyErr::fetch(py).write_unraisable(py, None);
    }
}

/// Forgets it in the child of a fork: the thread that has entered it is the parent's.
pub(crate) fn forget(py: Python<'_>) {
    ENTERED.get(py).set(ptr::null_mut());
}
