//! Makes the marker of calls that CPython 3.10 and 3.11 await fastest: an awaitable that is its own
//! iterator, and whose `am_send` returns a value without an exception around it.
//!
//! A result that is there is returned at once, without the scheduler. Newer CPythons no longer call
//! `am_send` of objects that are not coroutines; there a generator is cheaper (`call.rs`).
//!
//! Unsafe: a type made by hand, and the pointers that its slots receive.
#![allow(unsafe_code)]

use std::{ffi::c_int, ptr};

use pyo3::{ffi, prelude::*};

use crate::call::{self, Sent};

pub(crate) fn make(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let slots = [
        slot(ffi::Py_am_await, itself as unsafe extern "C" fn(_) -> _ as *mut _),
        slot(ffi::Py_am_send, send as unsafe extern "C" fn(_, _, _) -> _ as *mut _),
        slot(ffi::Py_tp_iter, itself as unsafe extern "C" fn(_) -> _ as *mut _),
        slot(ffi::Py_tp_iternext, next as unsafe extern "C" fn(_) -> _ as *mut _),
        ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() },
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"asyncoro.Call".as_ptr(),
        basicsize: size_of::<ffi::PyObject>() as c_int,
        itemsize: 0,
        flags: ffi::Py_TPFLAGS_DEFAULT as _,
        slots: slots.as_ptr().cast_mut(),
    };
    // SAFETY: the spec and its slots live for as long as the call; the name is static.
    let class = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec))? };
    Ok(class.call0()?.unbind())
}

fn slot(slot: c_int, pfunc: *mut std::ffi::c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc }
}

unsafe extern "C" fn itself(own: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes an object that is alive.
    unsafe { ffi::Py_NewRef(own) }
}

unsafe extern "C" fn send(
    own: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: the interpreter holds the GIL, and passes live objects and space for a result.
    unsafe {
        let py = Python::assume_attached();
        match call::sent(py) {
            Sent::Waits => {
                *result = ffi::Py_NewRef(own);
                ffi::PySendResult::PYGEN_NEXT
            }
            Sent::Resumed => {
                *result = ffi::Py_NewRef(value);
                ffi::PySendResult::PYGEN_RETURN
            }
            Sent::Done(Ok(value)) => {
                *result = value.into_ptr();
                ffi::PySendResult::PYGEN_RETURN
            }
            Sent::Done(Err(error)) => {
                PyErr::from_value(error.into_bound(py).into_any()).restore(py);
                *result = ptr::null_mut();
                ffi::PySendResult::PYGEN_ERROR
            }
        }
    }
}

unsafe extern "C" fn next(own: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let mut result = ptr::null_mut();
    // SAFETY: the pointers are valid, as in a call by the interpreter.
    unsafe {
        match send(own, ffi::Py_None(), &mut result) {
            ffi::PySendResult::PYGEN_RETURN => {
                let py = Python::assume_attached();
                let value = Bound::from_owned_ptr(py, result);
                pyo3::exceptions::PyStopIteration::new_err((value.unbind(),)).restore(py);
                ptr::null_mut()
            }
            _ => result,
        }
    }
}
