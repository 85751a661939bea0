//! Receives into the memory of a new `bytes` object, so that long data is not copied.
//!
//! Unsafe: the uninitialised memory of an object that nobody else has yet.
#![allow(unsafe_code)]

use std::{ffi::c_int, io, mem::MaybeUninit, slice};

use asyncoro::AsyncSocket;
use pyo3::{ffi, prelude::*, types::PyBytes};

use crate::call::py;

unsafe extern "C" {
    /// Resizes an object that has one reference; pyo3 does not export this function.
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> c_int;
}

/// A `bytes` object whose memory may be uninitialised.
struct Fresh {
    /// An error if there was no memory; `room` is 0 then.
    object: PyResult<Py<PyBytes>>,
    room: usize,
}

/// Receives at most `room` bytes into a new object.
pub(crate) async fn recv(socket: &AsyncSocket, room: usize) -> io::Result<PyResult<Py<PyBytes>>> {
    let (fresh, count) = socket.recv_uninit(|| Fresh::new(py(), room)).await?;
    // SAFETY: the verb returns how many bytes it has initialised.
    Ok(unsafe { fresh.finish(py(), count) })
}

impl Fresh {
    /// Allocates `room` bytes.
    fn new(py: Python<'_>, room: usize) -> Fresh {
        // SAFETY: without bytes to copy, their memory is left as it is.
        let object = unsafe {
            let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), room as ffi::Py_ssize_t);
            Bound::from_owned_ptr_or_err(py, object)
                .map(|object| object.cast_into_unchecked::<PyBytes>().unbind())
        };
        let room = if object.is_ok() { room } else { 0 };
        Fresh { object, room }
    }

    /// Returns the object, cut to the bytes that have come.
    ///
    /// # Safety
    /// The first `count` bytes are initialised.
    unsafe fn finish(self, py: Python<'_>, count: usize) -> PyResult<Py<PyBytes>> {
        let mut object = self.object?.into_ptr();
        // SAFETY: nobody else has the object. Resizing replaces the pointer: by that of a new
        // object, or by null with an exception.
        unsafe {
            if count < self.room {
                _PyBytes_Resize(&mut object, count as ffi::Py_ssize_t);
            }
            let object = Bound::from_owned_ptr_or_err(py, object)?;
            Ok(object.cast_into_unchecked().unbind())
        }
    }
}

impl AsMut<[MaybeUninit<u8>]> for Fresh {
    fn as_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let Ok(object) = &self.object else { return &mut [] };
        // SAFETY: the object has `room` bytes of memory, and nobody else has it.
        unsafe {
            let start = ffi::PyBytes_AsString(object.as_ptr()).cast::<MaybeUninit<u8>>();
            slice::from_raw_parts_mut(start, self.room)
        }
    }
}
