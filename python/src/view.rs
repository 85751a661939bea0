//! Holds the bytes of a Python object for as long as a call needs them.
//!
//! Unsafe: the buffer protocol. The view keeps the object alive and its bytes in place; while it
//! lives a bytearray cannot be resized, but its bytes may change under us, as they may for
//! send(2) itself: they are only ever passed to the system or copied.
#![allow(unsafe_code)]

use std::{mem::MaybeUninit, slice};

use pyo3::{
    exceptions::{PyBufferError, PyTypeError},
    ffi,
    prelude::*,
    types::{PyByteArray, PyBytes},
};

/// The bytes of an object, held until the drop.
pub(crate) enum View {
    Bytes(Py<PyBytes>),
    Buffer(Box<ffi::Py_buffer>),
}

/// The bytes that a call will send. Those of a `bytearray` are not held before it has to wait.
pub(crate) enum Data {
    ByteArray(Py<PyByteArray>),
    View(View),
}

impl Data {
    /// Refers to the bytes of an object; TypeError if it has none, also for a `str`.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Data> {
        match object.cast_exact::<PyByteArray>() {
            Ok(bytes) => Ok(Data::ByteArray(bytes.clone().unbind())),
            Err(_) => View::of(object).map(Data::View),
        }
    }

    /// Calls `work` with the bytes. No Python code may run meanwhile.
    pub(crate) fn lend<R>(&self, py: Python<'_>, work: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            // SAFETY: with no Python code running it neither changes nor moves.
            Data::ByteArray(bytes) => work(unsafe { bytes.bind(py).as_bytes() }),
            Data::View(view) => work(view.bytes()),
        }
    }

    /// Holds the bytes from now on.
    pub(crate) fn hold(self, py: Python<'_>) -> PyResult<View> {
        match self {
            Data::ByteArray(bytes) => View::of(bytes.bind(py)),
            Data::View(view) => Ok(view),
        }
    }
}

// SAFETY: the memory stays where it is until the drop, which takes the GIL.
unsafe impl Send for View {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for View {}

impl View {
    /// Holds the bytes of an object that has contiguous ones; TypeError for others, also `str`.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<View> {
        match object.cast_exact::<PyBytes>() {
            Ok(bytes) => Ok(View::Bytes(bytes.clone().unbind())),
            Err(_) => View::get(object, ffi::PyBUF_SIMPLE),
        }
    }

    /// Holds the bytes of an object that lets them be written; TypeError for others, as `socket`.
    pub(crate) fn writable(object: &Bound<'_, PyAny>) -> PyResult<View> {
        View::get(object, ffi::PyBUF_WRITABLE).map_err(|error| {
            if !error.is_instance_of::<PyBufferError>(object.py()) {
                return error;
            }
            let kind = object.get_type().name().map_or_else(|_| "it".into(), |it| it.to_string());
            let text = format!("a read-write bytes-like object is required, not '{kind}'");
            PyTypeError::new_err(text)
        })
    }

    fn get(object: &Bound<'_, PyAny>, flags: i32) -> PyResult<View> {
        let mut buffer = Box::new(MaybeUninit::<ffi::Py_buffer>::zeroed());
        // SAFETY: the object is alive; the buffer is filled unless there is an error.
        let buffer = unsafe {
            if ffi::PyObject_GetBuffer(object.as_ptr(), buffer.as_mut_ptr(), flags) != 0 {
                return Err(PyErr::fetch(object.py()));
            }
            Box::from_raw(Box::into_raw(buffer).cast::<ffi::Py_buffer>())
        };
        Ok(View::Buffer(buffer))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            // SAFETY: the object is alive, and its bytes never move.
            View::Bytes(bytes) => unsafe {
                let start = ffi::PyBytes_AS_STRING(bytes.as_ptr()).cast::<u8>();
                slice::from_raw_parts(start, ffi::PyBytes_Size(bytes.as_ptr()) as usize)
            },
            View::Buffer(buffer) if buffer.len == 0 => &[],
            // SAFETY: the view has `len` contiguous bytes, which stay in place.
            View::Buffer(buffer) => unsafe {
                slice::from_raw_parts(buffer.buf.cast::<u8>(), buffer.len as usize)
            },
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Copies as much of `bytes` into it as fits, and returns the count; it must be writable.
    pub(crate) fn fill(&self, bytes: &[u8]) -> usize {
        let View::Buffer(buffer) = self else { return 0 };
        let count = bytes.len().min(buffer.len as usize);
        // SAFETY: the view is a writable one with at least that many bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.buf.cast::<u8>(), count) };
        count
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let View::Buffer(buffer) = self {
            // SAFETY: it was filled, and is released once, with the GIL held.
            Python::attach(|_| unsafe { ffi::PyBuffer_Release(&raw mut **buffer) });
        }
    }
}
