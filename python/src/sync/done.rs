//! An awaitable that is done: what `__aexit__` gives after it has done its work.

use pyo3::prelude::*;

use crate::once::Once;

#[pyclass(frozen, module = "asyncoro._engine")]
pub(crate) struct Done;

#[pymethods]
impl Done {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Is at its end, with the value None.
    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }
}

/// Returns the one that there is.
pub(super) fn done(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static DONE: Once = Once::new();
    Ok(DONE.get_or_make(py, || Ok(Py::new(py, Done)?.into_any()))?.clone().unbind())
}
