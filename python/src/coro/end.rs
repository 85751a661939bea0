//! How a coroutine has ended.

use pyo3::{exceptions::PyBaseException, prelude::*, types::PyTraceback};

/// How a coroutine has ended.
pub(crate) enum End {
    Value(Py<PyAny>),
    Failed(Failure),
    Terminated,
}

impl End {
    /// Returns what it has raised, if it has.
    pub(crate) fn error<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBaseException>> {
        match self {
            End::Failed(failure) => Some(failure.error(py)),
            End::Value(_) | End::Terminated => None,
        }
    }
}

/// What a coroutine has raised.
pub(crate) struct Failure {
    error: Py<PyBaseException>,
    /// The traceback up to the coroutine: each time that the exception is raised adds to its own.
    trace: Option<Py<PyTraceback>>,
}

impl Failure {
    pub(crate) fn new(py: Python<'_>, error: Py<PyBaseException>) -> Failure {
        let trace = PyErr::from_value(error.bind(py).clone().into_any()).traceback(py);
        Failure { error, trace: trace.map(Bound::unbind) }
    }

    /// Returns the exception as it is now.
    pub(super) fn raised(&self) -> &Py<PyBaseException> {
        &self.error
    }

    /// Visits what it refers to, for the garbage collector.
    pub(super) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.error)?;
        visit.call(&self.trace)
    }

    /// Returns the exception, with the traceback that it had at first.
    pub(crate) fn error<'py>(&self, py: Python<'py>) -> Bound<'py, PyBaseException> {
        let error = PyErr::from_value(self.error.bind(py).clone().into_any());
        error.set_traceback(py, self.trace.as_ref().map(|trace| trace.bind(py).clone()));
        error.into_value(py).into_bound(py)
    }
}
