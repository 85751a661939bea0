//! Makes objects of what is received: `bytes` that are received into, so that long data is not
//! copied, and `bytearray`s that take the place of long data piece by piece, so that both together
//! need little more memory than one.
//!
//! Unsafe: the uninitialised memory of an object that nobody else has yet.
#![allow(unsafe_code)]

use std::{ffi::c_int, io, mem::MaybeUninit, slice};

use asyncoro::{AsyncSocket, bytes::Bytes};
use pyo3::{
    ffi,
    prelude::*,
    types::{PyByteArray, PyBytes},
};

use crate::{exiting, gil::py};

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

/// Fills at most `room` bytes of a new object, by a call that is given its memory and returns how
/// many it has filled; `None` if that does.
///
/// # Safety
/// The call fills as many as it returns.
pub(crate) unsafe fn fill(
    py: Python<'_>,
    room: usize,
    call: impl FnOnce(*mut u8) -> Option<io::Result<usize>>,
) -> Option<io::Result<PyResult<Py<PyBytes>>>> {
    let mut fresh = Fresh::new(py, room);
    if let Err(error) = &fresh.object {
        return Some(Ok(Err(error.clone_ref(py))));
    }
    let count = call(fresh.as_mut().as_mut_ptr().cast())?;
    // SAFETY: the caller promises it.
    Some(count.map(|count| unsafe { fresh.finish(py, count) }))
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

/// From this many bytes on, a `bytearray` takes their place piece by piece.
const LONG: usize = 1 << 20;

/// How many bytes a piece has: as many as a huge page.
const PIECE: usize = 2 << 20;

/// Makes a `bytearray` of what was received. The GIL is kept.
pub(crate) fn bytearray(py: Python<'_>, got: Bytes) -> PyResult<Py<PyAny>> {
    if got.len() < LONG {
        return Ok(PyByteArray::new(py, &got).into_any().unbind());
    }
    let mut fresh = FreshArray::new(py, got.len())?;
    fresh.fill_from(got);
    Ok(fresh.object.into_any())
}

/// Makes a `bytearray` of what was received, without the GIL while much is moved.
pub(crate) fn bytearray_detached(py: Python<'_>, got: Bytes) -> PyResult<Py<PyAny>> {
    if got.len() < LONG {
        return bytearray(py, got);
    }
    let mut fresh = FreshArray::new(py, got.len())?;
    exiting::detach(py, || fresh.fill_from(got));
    Ok(fresh.object.into_any())
}

/// A `bytearray` that nobody else has, whose memory may be uninitialised.
struct FreshArray {
    object: Py<PyByteArray>,
    start: *mut u8,
    len: usize,
}

// SAFETY: the memory stays where it is: nobody else has the object, and so nobody resizes it.
unsafe impl Send for FreshArray {}

impl FreshArray {
    fn new(py: Python<'_>, len: usize) -> PyResult<FreshArray> {
        // SAFETY: without bytes to copy, their memory is left as it is.
        unsafe {
            let object =
                ffi::PyByteArray_FromStringAndSize(std::ptr::null(), len as ffi::Py_ssize_t);
            let object = Bound::from_owned_ptr_or_err(py, object)?;
            let start = ffi::PyByteArray_AsString(object.as_ptr()).cast();
            Ok(FreshArray { object: object.cast_into_unchecked().unbind(), start, len })
        }
    }

    /// Moves bytes into it, the last piece first, and gives the memory of each back: shrinking a
    /// long allocation returns its pages to the system.
    fn fill_from(&mut self, got: Bytes) {
        assert!(got.len() == self.len, "it was made for them");
        if !got.is_unique() {
            // Part of what is received already: its memory stays, and a vector would be a copy.
            // SAFETY: the object has `len` bytes of memory, and nobody else has it.
            unsafe { got.as_ptr().copy_to_nonoverlapping(self.start, self.len) };
            return;
        }
        let mut got = Vec::from(got);
        while !got.is_empty() {
            let from = got.len().saturating_sub(PIECE);
            let piece = &got[from..];
            // SAFETY: as above; the piece ends within `len`.
            unsafe { piece.as_ptr().copy_to_nonoverlapping(self.start.add(from), piece.len()) };
            got.truncate(from);
            got.shrink_to_fit();
        }
    }
}
