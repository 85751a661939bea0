//! A `bytes` object that is received into: the memory of long ones is not copied.
//!
//! Unsafe: the object before anybody else has it, its memory not initialised.
#![allow(unsafe_code)]

use std::{ffi::c_int, io, mem::MaybeUninit, slice};

use asyncoro::AsyncSocket;
use pyo3::{ffi, prelude::*, types::PyBytes};

use crate::call::py;

unsafe extern "C" {
    /// Of Python's C API; pyo3 has it for itself alone.
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> c_int;
}

/// See the module's page.
struct Fresh {
    /// What went wrong if there was no memory, which is no room.
    object: PyResult<Py<PyBytes>>,
    room: usize,
}

/// Receives at most so many bytes into an object of their own.
pub(crate) async fn recv(socket: &AsyncSocket, room: usize) -> io::Result<PyResult<Py<PyBytes>>> {
    let (fresh, count) = socket.recv_uninit(|| Fresh::new(py(), room)).await?;
    // SAFETY: so says the verb.
    Ok(unsafe { fresh.finish(py(), count) })
}

impl Fresh {
    /// With room for so many bytes.
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

    /// The object, as long as what has come.
    ///
    /// # Safety
    /// The first `count` bytes are initialised.
    unsafe fn finish(self, py: Python<'_>, count: usize) -> PyResult<Py<PyBytes>> {
        let mut object = self.object?.into_ptr();
        // SAFETY: nobody else has the object, which is a new one after this; after a failure there
        // is none, and an exception.
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
        // SAFETY: the object has so much memory, and nobody else has the object.
        unsafe {
            let start = ffi::PyBytes_AsString(object.as_ptr()).cast::<MaybeUninit<u8>>();
            slice::from_raw_parts_mut(start, self.room)
        }
    }
}
