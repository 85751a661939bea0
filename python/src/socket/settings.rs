//! What a program sets on a socket, and on those that are made from now on: timeout, message limit.

use std::{cell::Cell, time::Duration};

use pyo3::{exceptions::PyValueError, prelude::*};

use super::{Face, Inner, PySocket};
use crate::{gil::Gil, once::interned};

/// What is set on a socket.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Settings {
    /// Seconds, as they were set; None and 0 for as long as it takes.
    pub(super) timeout: Option<f64>,
    /// That of the asynchronous mode, while it is a blocking one.
    pub(super) kept_timeout: Option<f64>,
    pub(super) message_limit: usize,
}

/// Bytes of the longest message that a header can tell of.
const LONGEST: usize = u32::MAX as usize;

impl Settings {
    /// Those of most sockets.
    const fn usual(blocking: bool) -> Settings {
        let timeout = if blocking { None } else { Some(0.0) };
        Settings { timeout, kept_timeout: Some(0.0), message_limit: LONGEST }
    }

    /// Those of a new socket.
    pub(super) fn of_new(py: Python<'_>, blocking: bool) -> Settings {
        let message_limit = DEFAULTS.get(py).1.get();
        let timeout = usual_timeout(py, blocking);
        Settings { timeout, message_limit, ..Settings::usual(blocking) }
    }
}

/// What new sockets get: timeout and message limit.
static DEFAULTS: Gil<(Cell<Option<f64>>, Cell<usize>)> =
    Gil::new((Cell::new(None), Cell::new(LONGEST)));

/// The timeout of a new socket of that mode.
pub(super) fn usual_timeout(py: Python<'_>, blocking: bool) -> Option<f64> {
    DEFAULTS.get(py).0.get().or(Settings::usual(blocking).timeout)
}

/// A timeout as the crate takes it.
fn duration(timeout: Option<f64>) -> Option<Duration> {
    let seconds = timeout.filter(|seconds| *seconds > 0.0)?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A timeout as a program gives it.
pub(super) fn timeout_of(timeout: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    if timeout.is_none() {
        return Ok(None);
    }
    let seconds: f64 = timeout.extract()?;
    if seconds.is_nan() || seconds < 0.0 {
        return Err(PyValueError::new_err("Timeout value out of range"));
    }
    Ok(Some(seconds))
}

impl Inner {
    pub(super) fn settings(&self) -> Settings {
        let kept = self.settings.take();
        let settings = kept.as_deref().copied();
        self.settings.set(kept);
        settings.unwrap_or(Settings::usual(self.is_blocking()))
    }

    /// Sets them, which has an effect from the next verb on.
    pub(super) fn set(&self, settings: Settings) {
        let is_usual = settings == Settings::usual(self.is_blocking());
        self.settings.set((!is_usual).then(|| Box::new(settings)));
        let (timeout, limit) = (duration(settings.timeout), settings.message_limit);
        match &*self.face.borrow() {
            Face::Asynchronous(socket) => {
                socket.set_timeout(timeout);
                socket.set_message_limit(limit);
            }
            Face::Blocking(socket) => {
                socket.set_timeout(timeout);
                socket.set_message_limit(limit);
            }
            Face::Closed => {}
        }
    }

    /// Before the face is gone, which tells what is usual.
    pub(super) fn keep_all(&self) {
        self.settings.set(Some(Box::new(self.settings())));
    }
}

impl PySocket {
    pub(super) fn change_timeout(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<()> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        let was_blocking = inner.is_blocking();
        if was_blocking && timeout == Some(0.0) {
            PySocket::set_mode(slf, false)?;
        }
        inner.set(Settings { timeout, ..inner.settings() });
        if inner.is_blocking()
            && let Some(regular) = inner.known_regular(py)
        {
            regular.call_method1(py, interned!(py, "settimeout"), (timeout,))?;
        }
        Ok(())
    }
}

#[pymethods]
impl PySocket {
    /// Seconds that an operation may wait without progress; None or, of an asynchronous socket, 0:
    /// as long as it takes. 0 makes a blocking socket an asynchronous one.
    fn settimeout(slf: &Bound<'_, Self>, timeout: &Bound<'_, PyAny>) -> PyResult<()> {
        PySocket::change_timeout(slf, timeout_of(timeout)?)
    }

    /// The timeout in force.
    fn gettimeout(&self, py: Python<'_>) -> Option<f64> {
        self.inner(py).settings().timeout
    }

    /// The timeout in force.
    #[getter]
    fn timeout(&self, py: Python<'_>) -> Option<f64> {
        self.gettimeout(py)
    }

    /// Sets the timeout of sockets made from now on.
    #[staticmethod]
    fn setdefaulttimeout(py: Python<'_>, timeout: &Bound<'_, PyAny>) -> PyResult<()> {
        DEFAULTS.get(py).0.set(timeout_of(timeout)?);
        Ok(())
    }

    /// The timeout of new sockets.
    #[staticmethod]
    fn getdefaulttimeout(py: Python<'_>) -> Option<f64> {
        DEFAULTS.get(py).0.get()
    }

    /// Bytes of the longest message that `recv_msg` takes.
    #[getter]
    fn get_message_limit(&self, py: Python<'_>) -> usize {
        self.inner(py).settings().message_limit
    }

    #[setter]
    fn set_message_limit(&self, py: Python<'_>, limit: usize) {
        let inner = self.inner(py);
        inner.set(Settings { message_limit: limit, ..inner.settings() });
    }

    /// Sets the longest message of sockets made from now on.
    #[staticmethod]
    fn set_default_message_limit(py: Python<'_>, limit: usize) {
        DEFAULTS.get(py).1.set(limit);
    }
}
