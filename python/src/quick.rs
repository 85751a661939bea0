//! The methods that come with every request, entered without what pyo3 does for all: they are
//! called with few arguments and no names nearly always, and then nothing has to be sorted, or
//! counted.
//!
//! Such a method is one of pyo3's before and after: what it does not take as it is, and whatever is
//! called outside of a coroutine, goes to the method that it covers.
//!
//! Unsafe: a method's entry in its type, and what the interpreter hands to it.
#![allow(unsafe_code)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::OnceLock,
};

use pyo3::{PyClass, exceptions::PyRuntimeError, ffi, prelude::*, types::PyInt};

use crate::call;

/// A method that takes N arguments without names.
pub(crate) trait Quick<const N: usize> {
    type Class: PyClass;
    const NAME: &'static str;

    /// The method that it covers.
    fn covered() -> &'static Covered;

    /// `None` if the covered method is to be called.
    fn call<'py>(
        slf: &Bound<'py, Self::Class>,
        arguments: [Borrowed<'_, 'py, PyAny>; N],
    ) -> Option<PyResult<Py<PyAny>>>;
}

/// See [`Quick::covered`].
pub(crate) struct Covered(OnceLock<ffi::PyCFunctionFastWithKeywords>);

impl Covered {
    pub(crate) const fn new() -> Covered {
        Covered(OnceLock::new())
    }
}

/// The type of a short way: `quick!(Type<N>, Class, "name", |slf, [arguments]| call)`.
macro_rules! quick {
    ($type:ident<$count:literal>, $class:ty, $name:literal,
        |$slf:ident, $arguments:pat_param| $call:expr) => {
        struct $type;

        impl $crate::quick::Quick<$count> for $type {
            type Class = $class;
            const NAME: &'static str = $name;

            fn covered() -> &'static $crate::quick::Covered {
                static COVERED: $crate::quick::Covered = $crate::quick::Covered::new();
                &COVERED
            }

            fn call<'py>(
                $slf: &Bound<'py, $class>,
                $arguments: [Borrowed<'_, 'py, PyAny>; $count],
            ) -> Option<PyResult<Py<PyAny>>> {
                Some($call)
            }
        }
    };
}
pub(crate) use quick;

/// Has a method entered quickly.
pub(crate) fn install<const N: usize, Q: Quick<N>>(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Q::Class>();
    let method = class.getattr(Q::NAME)?;
    // SAFETY: a method descriptor points to its entry, which lives as long as the type, and with
    // these flags has a function of this kind. Entries are never freed, and so must be leaked.
    unsafe {
        let is_method = ffi::Py_TYPE(method.as_ptr()) == &raw mut ffi::PyMethodDescr_Type;
        assert!(is_method, "methods of pyo3's are methods");
        let covered = &*(*method.as_ptr().cast::<ffi::PyMethodDescrObject>()).d_method;
        assert!(covered.ml_flags == FLAGS, "pyo3 takes arguments in a row");
        let _ = Q::covered().0.set(covered.ml_meth.PyCFunctionFastWithKeywords);
        let entry = Box::new(ffi::PyMethodDef {
            ml_name: covered.ml_name,
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: enter::<N, Q> },
            ml_flags: FLAGS,
            ml_doc: covered.ml_doc,
        });
        let method = ffi::PyDescr_NewMethod(class.as_type_ptr(), Box::into_raw(entry));
        class.setattr(Q::NAME, Bound::from_owned_ptr_or_err(py, method)?)
    }
}

const FLAGS: i32 = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;

unsafe extern "C" fn enter<const N: usize, Q: Quick<N>>(
    slf: *mut ffi::PyObject,
    row: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    if count == N as ffi::Py_ssize_t && names.is_null() && call::is_inside() {
        // SAFETY: the interpreter calls it with the GIL, an object of the class, which the
        // descriptor has seen to, and a row of that many objects.
        let (py, result) = unsafe {
            let py = Python::assume_attached();
            let slf = Borrowed::from_ptr(py, slf).cast_unchecked::<Q::Class>();
            let arguments = std::array::from_fn(|place| Borrowed::from_ptr(py, *row.add(place)));
            (py, guarded(|| Q::call(&slf, arguments).transpose()))
        };
        if let Some(result) = result.transpose() {
            return returned(py, result);
        }
    }
    let covered = Q::covered().0.get().expect("it was covered");
    // SAFETY: as the interpreter's own call.
    unsafe { covered(slf, row, count, names) }
}

/// Does what must not unwind into the interpreter.
pub(crate) fn guarded<T>(work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(PyRuntimeError::new_err("asyncoro has panicked")))
}

/// A result as the interpreter takes it.
pub(crate) fn returned<T>(py: Python<'_>, result: PyResult<Py<T>>) -> *mut ffi::PyObject {
    match result {
        Ok(value) => value.into_ptr(),
        Err(error) => {
            error.restore(py);
            ptr::null_mut()
        }
    }
}

/// The value of an `int` that is not too large.
pub(crate) fn number(object: Borrowed<'_, '_, PyAny>) -> Option<isize> {
    object.cast_exact::<PyInt>().ok()?;
    // SAFETY: it is an int; a failure sets an exception, which is taken away again.
    let value = unsafe { ffi::PyLong_AsSsize_t(object.as_ptr()) };
    if value == -1 {
        drop(PyErr::take(object.py()));
        return None;
    }
    Some(value)
}
