//! Enters frequent methods without pyo3's parsing of arguments: they are nearly always called with
//! few arguments and no names, and then there is nothing to parse.
//!
//! Such a quick entry covers a method of pyo3's, which still gets the calls with other arguments.
//!
//! Unsafe: a method's entry in its type, and the pointers that the interpreter passes to it.
#![allow(unsafe_code)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::OnceLock,
};

use pyo3::{PyClass, exceptions::PyRuntimeError, ffi, prelude::*, types::PyInt};

/// A quick entry for calls with N arguments and no names.
pub(crate) trait Quick<const N: usize> {
    type Class: PyClass;
    const NAME: &'static str;

    /// Returns the method that it covers.
    fn covered() -> &'static Covered;

    /// Makes the call; `None` if the covered method must be called.
    fn call<'py>(
        slf: &Bound<'py, Self::Class>,
        arguments: [Borrowed<'_, 'py, PyAny>; N],
    ) -> Option<PyResult<Py<PyAny>>>;
}

/// The function of a covered method, set by [`install`].
pub(crate) struct Covered(OnceLock<ffi::PyCFunctionFastWithKeywords>);

impl Covered {
    pub(crate) const fn new() -> Covered {
        Covered(OnceLock::new())
    }

    /// Calls the covered method.
    ///
    /// # Safety
    /// The arguments are those of the interpreter's call of the entry over it.
    pub(crate) unsafe fn call(
        &self,
        slf: *mut ffi::PyObject,
        row: *const *mut ffi::PyObject,
        count: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject {
        let covered = self.0.get().expect("it was covered");
        // SAFETY: the caller promises it.
        unsafe { covered(slf, row, count, names) }
    }
}

/// Defines a quick entry: `quick!(Type<N>, Class, "name", |slf, [arguments]| call)`.
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

/// Puts a quick entry over a method.
pub(crate) fn install<const N: usize, Q: Quick<N>>(py: Python<'_>) -> PyResult<()> {
    cover::<Q::Class>(py, Q::NAME, Q::covered(), enter::<N, Q>)
}

/// Puts an entry over a method of pyo3's.
pub(crate) fn cover<T: PyClass>(
    py: Python<'_>,
    name: &str,
    covers: &Covered,
    entry: ffi::PyCFunctionFastWithKeywords,
) -> PyResult<()> {
    let class = py.get_type::<T>();
    let method = class.getattr(name)?;
    // SAFETY: a method descriptor points to its entry, which lives as long as the type, and with
    // these flags has a function of this kind. Entries are never freed, and so must be leaked.
    unsafe {
        let is_method = ffi::Py_TYPE(method.as_ptr()) == &raw mut ffi::PyMethodDescr_Type;
        assert!(is_method, "methods of pyo3's are methods");
        let covered = &*(*method.as_ptr().cast::<ffi::PyMethodDescrObject>()).d_method;
        assert!(covered.ml_flags == FLAGS, "pyo3 takes arguments in a row");
        let _ = covers.0.set(covered.ml_meth.PyCFunctionFastWithKeywords);
        let entry = Box::new(ffi::PyMethodDef {
            ml_name: covered.ml_name,
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: entry },
            ml_flags: FLAGS,
            ml_doc: covered.ml_doc,
        });
        let method = ffi::PyDescr_NewMethod(class.as_type_ptr(), Box::into_raw(entry));
        class.setattr(name, Bound::from_owned_ptr_or_err(py, method)?)
    }
}

const FLAGS: i32 = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;

unsafe extern "C" fn enter<const N: usize, Q: Quick<N>>(
    slf: *mut ffi::PyObject,
    row: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    if count == N as ffi::Py_ssize_t && names.is_null() {
        // SAFETY: the interpreter calls it with the GIL held, an object of the class, which the
        // descriptor has checked, and an array of that many objects.
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
    // SAFETY: the arguments are those of the interpreter's call.
    unsafe { Q::covered().call(slf, row, count, names) }
}

/// Turns a panic, which must not unwind into the interpreter, into an error.
pub(crate) fn guarded<T>(work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(PyRuntimeError::new_err("asyncoro has panicked")))
}

/// Converts a result for the interpreter; an error becomes null, with the exception set.
pub(crate) fn returned<T>(py: Python<'_>, result: PyResult<Py<T>>) -> *mut ffi::PyObject {
    match result {
        Ok(value) => value.into_ptr(),
        Err(error) => {
            error.restore(py);
            ptr::null_mut()
        }
    }
}

/// Reads an `int`; `None` if it is too large, and for -1, which marks a failure.
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
