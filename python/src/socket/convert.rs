//! Converts what verbs are given, and the crate's values and errors; for both modes.

use std::io;

use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

use crate::{
    call::Outcome,
    error::{is_cut, raised, timed_out},
    exiting,
    gil::py,
    view::View,
};

/// The longest buffer of a datagram, whatever a program asks for.
pub(super) const LONGEST_DATAGRAM: usize = 64 << 20;

pub(super) fn number(py: Python<'_>, count: usize) -> Outcome {
    Ok(count.into_pyobject(py)?.into_any().unbind())
}

pub(super) fn bytes(py: Python<'_>, bytes: &[u8]) -> Outcome {
    Ok(PyBytes::new(py, bytes).into_any().unbind())
}

/// Returns whether bytes came before the stream ended, or a timeout was over; the socket has them.
pub(super) fn has_rest(error: &io::Error) -> bool {
    is_cut(error) || timed_out(error).is_some_and(|done| done.done > 0)
}

/// Gives the error of what would have to wait its number.
pub(super) fn numbered<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => would_block(),
        _ => error,
    })
}

/// Returns the error of what does not wait.
pub(super) fn would_block() -> io::Error {
    io::Error::from_raw_os_error(AGAIN)
}

/// EAGAIN, as Linux has it.
const AGAIN: i32 = 11;

/// Converts the result of a verb to that of a call.
pub(super) fn outcome<T>(
    result: io::Result<T>,
    value: impl FnOnce(Python<'_>, T) -> Outcome,
) -> Outcome {
    match result {
        Ok(it) => value(py(), it),
        Err(error) => Err(raised(py(), &error)),
    }
}

pub(super) fn none(py: Python<'_>, (): ()) -> Outcome {
    Ok(py.None())
}

/// Waits in a verb of a blocking socket, without the GIL.
pub(super) fn wait<T: Send>(
    py: Python<'_>,
    verb: impl FnOnce() -> io::Result<T> + Send,
) -> PyResult<T> {
    exiting::detach(py, verb).map_err(|error| raised(py, &error))
}

/// Checks a number of bytes to receive.
pub(super) fn size(count: isize, verb: &str) -> PyResult<usize> {
    usize::try_from(count)
        .map_err(|_| PyValueError::new_err(format!("negative buffersize in {verb}")))
}

/// Returns how many bytes to receive into a buffer; 0 asks for all of it.
pub(super) fn room(into: &View, max: usize) -> PyResult<usize> {
    if max > into.len() {
        return Err(PyValueError::new_err("buffer too small for requested bytes"));
    }
    Ok(if max == 0 { into.len() } else { max })
}
