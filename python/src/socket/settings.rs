//! The settings of a socket, and of those that are made from now on: timeout, message limit.

use std::{cell::Cell, time::Duration};

use pyo3::{
    exceptions::{PyOverflowError, PyValueError},
    prelude::*,
};

use super::{Face, Inner, PySocket};
use crate::{gil::Gil, once::interned};

#[derive(Clone, Copy, PartialEq)]
pub(super) struct Settings {
    /// Seconds, as they were set; None and 0 are no limit.
    pub(super) timeout: Option<f64>,
    /// The timeout of the asynchronous mode, while the socket is blocking.
    pub(super) kept_timeout: Option<f64>,
    pub(super) message_limit: usize,
}

/// The longest message, in bytes, that a header can announce.
const LONGEST: usize = u32::MAX as usize;

/// The longest timeout, in seconds: CPython counts nanoseconds in 63 bits.
const LONGEST_TIMEOUT: f64 = (i64::MAX / 1_000_000_000) as f64;

impl Settings {
    /// Returns the settings of most sockets.
    const fn usual(blocking: bool) -> Settings {
        let timeout = if blocking { None } else { Some(0.0) };
        Settings { timeout, kept_timeout: Some(0.0), message_limit: LONGEST }
    }

    /// Returns the settings of a new socket.
    pub(super) fn of_new(py: Python<'_>, blocking: bool) -> Settings {
        let message_limit = DEFAULTS.get(py).1.get();
        let timeout = usual_timeout(py, blocking);
        Settings { timeout, message_limit, ..Settings::usual(blocking) }
    }
}

/// The timeout and message limit of new sockets.
static DEFAULTS: Gil<(Cell<Option<f64>>, Cell<usize>)> =
    Gil::new((Cell::new(None), Cell::new(LONGEST)));

/// Returns the timeout of a new socket of that mode.
pub(super) fn usual_timeout(py: Python<'_>, blocking: bool) -> Option<f64> {
    DEFAULTS.get(py).0.get().or(Settings::usual(blocking).timeout)
}

/// Converts a timeout to the crate's.
fn duration(timeout: Option<f64>) -> Option<Duration> {
    let seconds = timeout.filter(|seconds| *seconds > 0.0)?;
    // Never rounded to none: what is left until a deadline may be less than a nanosecond.
    Duration::try_from_secs_f64(seconds).ok().map(|time| time.max(Duration::from_nanos(1)))
}

/// Reads a timeout that a program passed.
pub(super) fn timeout_of(timeout: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    if timeout.is_none() {
        return Ok(None);
    }
    let seconds: f64 = timeout.extract()?;
    if seconds.is_nan() || seconds < 0.0 {
        return Err(PyValueError::new_err("Timeout value out of range"));
    }
    if seconds > LONGEST_TIMEOUT {
        let text = "timestamp too large to convert to C PyTime_t";
        return Err(PyOverflowError::new_err(text));
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

    /// Sets them, with an effect from the next verb on.
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

    /// Stores all of them before the face is gone, which tells the usual ones.
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
    /// Sets the seconds that an operation may wait without progress; None or, on an asynchronous
    /// socket, 0 is no limit. 0 makes a blocking socket an asynchronous one.
    #[pyo3(text_signature = "($self, timeout, /)")]
    fn settimeout(slf: &Bound<'_, Self>, timeout: &Bound<'_, PyAny>) -> PyResult<()> {
        PySocket::change_timeout(slf, timeout_of(timeout)?)
    }

    /// Returns the timeout in force.
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
    #[pyo3(text_signature = "(timeout, /)")]
    fn setdefaulttimeout(py: Python<'_>, timeout: &Bound<'_, PyAny>) -> PyResult<()> {
        DEFAULTS.get(py).0.set(timeout_of(timeout)?);
        Ok(())
    }

    /// Returns the timeout of new sockets.
    #[staticmethod]
    fn getdefaulttimeout(py: Python<'_>) -> Option<f64> {
        DEFAULTS.get(py).0.get()
    }

    /// The longest message, in bytes, that `recv_msg` takes.
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
