//! What the owner of a socket sets: its timeout, its message limit, and those of sockets made from
//! now on.

use pyo3::{prelude::*, types::PyType};

use super::{
    object::PySocket,
    settings::{self, Settings, default_timeout, set_default_timeout, timeout_of},
    tls,
};
use crate::once::interned;

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
        set_default_timeout(py, timeout_of(timeout)?);
        Ok(())
    }

    /// Returns the timeout of new sockets.
    #[staticmethod]
    fn getdefaulttimeout(py: Python<'_>) -> Option<f64> {
        default_timeout(py)
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
        settings::set_default_message_limit(py, limit);
    }

    /// Sets the `ssl_version` of sockets that are made without one from now on.
    #[classmethod]
    fn set_ssl_version(cls: &Bound<'_, PyType>, version: &Bound<'_, PyAny>) -> PyResult<()> {
        tls::set_usual_version(cls.py(), version)
    }

    /// Returns what `set_ssl_version` was given; None at first.
    #[classmethod]
    fn get_ssl_version(cls: &Bound<'_, PyType>) -> Option<i64> {
        tls::usual_version(cls.py())
    }
}
