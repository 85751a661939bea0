//! A connection as its server sees it: what the package's servers (`asyncoro/_serve.py`) know of it
//! without its handler.

use std::net::Shutdown;

use pyo3::prelude::*;

use super::object::PySocket;
use crate::{error::raised, gil::Gil};

/// A socket that is looked at, and not kept.
#[pyclass(frozen, module = "asyncoro")]
pub(crate) struct Watched(Gil<asyncoro::Watched>);

#[pymethods]
impl Watched {
    /// Returns whether bytes were received or sent since this was last asked.
    fn take_moved(&self, py: Python<'_>) -> bool {
        self.0.get(py).take_moved()
    }

    /// Returns whether something was received in part, or that nobody has asked for yet.
    fn has_received(&self, py: Python<'_>) -> bool {
        self.0.get(py).has_received()
    }

    /// Ends it for its handler, or with `reading` that direction alone: verbs give the end of the
    /// stream.
    fn end(&self, py: Python<'_>, reading: bool) {
        self.0.get(py).shut_down(if reading { Shutdown::Read } else { Shutdown::Both });
    }
}

#[pymethods]
impl PySocket {
    /// Returns the connection to look at; there is one who looks.
    fn _watched(&self, py: Python<'_>) -> PyResult<Watched> {
        Ok(Watched(Gil::new(self.asynchronous(py)?.watched())))
    }

    /// Returns whether its connections speak TLS.
    fn _is_secure(&self, py: Python<'_>) -> bool {
        self.inner(py).is_secure()
    }

    /// Leaves it non-blocking when it is closed, for other processes that have it.
    fn _leave_nonblocking(&self, py: Python<'_>) -> PyResult<()> {
        self.asynchronous(py)?.leave_nonblocking().map_err(|error| raised(py, &error))
    }
}
