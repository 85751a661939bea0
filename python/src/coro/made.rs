//! Makes a `Coro` without a tuple, a dict and two more calls: the interpreter calls a slot of the
//! type with the arguments as they are. Subclasses are made by `__new__` and `__init__`.
//!
//! Unsafe: the type's slot, and the pointers that its function receives.
#![allow(unsafe_code)]

use pyo3::{ffi, prelude::*};

use super::{object::Coro, quick::install_all};
use crate::{
    arguments::Arguments,
    quick::{guarded, returned},
};

/// Sets the type's slot, and adds the quick entries of its methods.
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
            // SAFETY: they are those that the interpreter passed.
            let arguments = unsafe { Arguments::from_raw(row, flags, names) };
            let coro = Bound::new(py, Coro::bare(py))?;
            Coro::begin(&coro, arguments)?;
            Ok(coro.unbind())
        });
        returned(py, made)
    });
    made.unwrap_or_else(|| {
        // SAFETY: the interpreter is ending but makes this call; both objects live as long.
        unsafe {
            let text = c"the interpreter is ending: nothing will run a coroutine";
            ffi::PyErr_SetString(ffi::PyExc_RuntimeError, text.as_ptr());
        }
        std::ptr::null_mut()
    })
}
