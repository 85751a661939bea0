//! `call_soon` without pyo3's parsing of arguments: futures and tasks call it for each step.
//!
//! Unsafe: a method's entry in its type, and the pointers that the interpreter passes to it.
#![allow(unsafe_code)]

use pyo3::{ffi, prelude::*, types::PyTuple};

use super::{handle::Args, object::Loop};
use crate::quick::{cover, guarded, returned};

/// Puts the entry over the method, which stays for what it does not know.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    cover::<Loop>(py, "call_soon", &COVERED, call_soon)
}

static COVERED: crate::quick::Covered = crate::quick::Covered::new();

unsafe extern "C" fn call_soon(
    slf: *mut ffi::PyObject,
    row: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter holds the GIL, and passes an object of the class, which the
    // descriptor has checked, that many objects, and those with the names.
    unsafe {
        let py = Python::assume_attached();
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        if count == 0 || named > 1 || (named == 1 && !is_context(py, names)) {
            return COVERED.call(slf, row, count, names);
        }
        let result = guarded(|| {
            let slf = Borrowed::from_ptr(py, slf).cast_unchecked::<Loop>();
            slf.get().check_closed(py)?;
            let object = |place: isize| Borrowed::from_ptr(py, *row.offset(place)).to_owned();
            let context = (named == 1).then(|| object(count));
            let args = match count {
                1 => Args::None,
                2 => Args::One(object(1).unbind()),
                _ => Args::More(PyTuple::new(py, (1..count).map(object))?.unbind()),
            };
            let context = context.filter(|it| !it.is_none()).map(Bound::unbind);
            Loop::enqueue(&slf, object(0).unbind(), args, context).map(Bound::unbind)
        });
        returned(py, result)
    }
}

/// Returns whether the one name is `context`.
unsafe fn is_context(py: Python<'_>, names: *mut ffi::PyObject) -> bool {
    let context = crate::once::interned!(py, "context");
    // SAFETY: it is a tuple with one string.
    unsafe {
        let name = ffi::PyTuple_GET_ITEM(names, 0);
        name == context.as_ptr() || Borrowed::from_ptr(py, name).eq(context).unwrap_or(false)
    }
}
