//! `Coro(function, ...)` without a tuple, a dict and two more calls on the way: the interpreter
//! asks a type for a function that makes its objects from the arguments as they lie there.
//! Subclasses are made as ever, by `__new__` and `__init__`.
//!
//! Unsafe: the type's slot, and what its function is handed.
#![allow(unsafe_code)]

use pyo3::{ffi, prelude::*};

use super::{Coro, quick::install_all};
use crate::{
    arguments::Arguments,
    quick::{guarded, returned},
};

/// Gives the type its function, and the short ways into its methods.
pub(crate) fn make_fast(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Coro>();
    // SAFETY: the type is ours and complete, and nobody has used it yet. Subclasses do not inherit
    // the slot.
    unsafe { (*class.as_type_ptr()).tp_vectorcall = Some(make) };
    install_all(py)
}

unsafe extern "C" fn make(
    _class: *mut ffi::PyObject,
    row: *const *mut ffi::PyObject,
    flags: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let made = Python::try_attach(|py| {
        let made = guarded(|| {
            // SAFETY: they are as the interpreter has handed them over.
            let arguments = unsafe { Arguments::from_raw(row, flags, names) };
            let coro = Bound::new(py, Coro::bare(py))?;
            Coro::begin(&coro, arguments)?;
            Ok(coro.unbind())
        });
        returned(py, made)
    });
    made.unwrap_or_else(|| {
        // SAFETY: the interpreter, which is ending, calls it as ever; both objects live as long.
        unsafe {
            let text = c"the interpreter is ending: nothing will run a coroutine";
            ffi::PyErr_SetString(ffi::PyExc_RuntimeError, text.as_ptr());
        }
        std::ptr::null_mut()
    })
}
