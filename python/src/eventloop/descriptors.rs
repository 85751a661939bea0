//! The methods for readers and writers.

use std::os::fd::RawFd;

use pyo3::{exceptions::PyValueError, prelude::*, types::PyTuple};

use super::{handle::Args, object::Loop, watch::Direction};
use crate::{error::raised, once::interned};

#[pymethods]
impl Loop {
    #[pyo3(signature = (fd, callback, *args))]
    fn _add_reader<'py>(
        slf: &Bound<'py, Self>,
        fd: &Bound<'py, PyAny>,
        callback: Py<PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Loop::add(slf, fd, Direction::Read, callback, args)
    }

    #[pyo3(signature = (fd, callback, *args))]
    fn _add_writer<'py>(
        slf: &Bound<'py, Self>,
        fd: &Bound<'py, PyAny>,
        callback: Py<PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Loop::add(slf, fd, Direction::Write, callback, args)
    }

    fn _remove_reader(slf: &Bound<'_, Self>, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        Loop::remove(slf, fd, Direction::Read)
    }

    fn _remove_writer(slf: &Bound<'_, Self>, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        Loop::remove(slf, fd, Direction::Write)
    }

    /// Returns the descriptors that have a reader or a writer.
    fn _watched(&self, py: Python<'_>) -> Vec<RawFd> {
        self.inner(py).watches.all()
    }

    /// Returns the handles of the reader and the writer of a descriptor.
    fn _handles(&self, py: Python<'_>, fd: RawFd) -> (Option<Py<PyAny>>, Option<Py<PyAny>>) {
        self.inner(py).watches.handles(py, fd)
    }
}

impl Loop {
    /// Adds a reader or writer.
    fn add<'py>(
        slf: &Bound<'py, Loop>,
        fd: &Bound<'py, PyAny>,
        direction: Direction,
        callback: Py<PyAny>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        slf.get().check_closed(py)?;
        let fd = descriptor(fd)?;
        let handle = Loop::handle(slf, callback, Args::of(args), None)?;
        let old = inner
            .watches
            .set(py, fd, direction, handle.clone().unbind())
            .map_err(|error| raised(py, &error))?;
        if let Some(old) = old {
            old.call_method0(py, interned!(py, "cancel"))?;
        }
        Ok(handle)
    }

    /// Removes a reader or writer; returns whether there was one.
    fn remove(
        slf: &Bound<'_, Loop>,
        fd: &Bound<'_, PyAny>,
        direction: Direction,
    ) -> PyResult<bool> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        if inner.is_closed.get() {
            return Ok(false);
        }
        let old = inner.watches.unset(py, descriptor(fd)?, direction);
        let Some(old) = old else { return Ok(false) };
        old.call_method0(py, interned!(py, "cancel"))?;
        Ok(true)
    }
}

/// Returns the number of a file object, as `selectors` does.
fn descriptor(object: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    let py = object.py();
    let number = object.extract::<RawFd>().or_else(|_| {
        object.call_method0(interned!(py, "fileno")).and_then(|fd| fd.extract::<RawFd>())
    });
    match number {
        Ok(fd) if fd >= 0 => Ok(fd),
        Ok(fd) => Err(PyValueError::new_err(format!("Invalid file descriptor: {fd}"))),
        Err(_) => {
            let text = format!("Invalid file object: {}", object.repr()?);
            Err(PyValueError::new_err(text))
        }
    }
}
