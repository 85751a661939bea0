//! Makes Python objects once, at their first use.
//!
//! Without a lock: pyo3's `PyOnceLock` and `intern!` release the GIL while they hold one of their
//! own, and a fork by another thread at that moment leaves it locked in the child for ever. Here
//! threads that race may each make the object, and the one that is stored first stays.

use std::cell::OnceCell;

use pyo3::prelude::*;

use crate::gil::Gil;

/// An object that is made at its first use.
pub(crate) struct Once<T = PyAny>(Gil<OnceCell<Py<T>>>);

impl<T> Once<T> {
    pub(crate) const fn new() -> Once<T> {
        Once(Gil::new(OnceCell::new()))
    }

    /// Returns the object if it was made.
    pub(crate) fn get<'py>(&'py self, py: Python<'py>) -> Option<&'py Bound<'py, T>> {
        self.0.get(py).get().map(|object| object.bind(py))
    }

    /// Returns the object, made by `make` if there is none; that may let another thread run.
    pub(crate) fn get_or_make<'py>(
        &'py self,
        py: Python<'py>,
        make: impl FnOnce() -> PyResult<Py<T>>,
    ) -> PyResult<&'py Bound<'py, T>> {
        if let Some(object) = self.get(py) {
            return Ok(object);
        }
        self.set(py, make()?);
        Ok(self.get(py).expect("it was set"))
    }

    /// Stores `object` unless there is one already.
    pub(crate) fn set(&self, py: Python<'_>, object: Py<T>) {
        // A surplus one is dropped outside of the cell, which the drop may read again.
        let too_many = self.0.get(py).set(object);
        drop(too_many);
    }
}

impl Once {
    /// Returns the attribute `name` of a module, which is imported if need be.
    pub(crate) fn import<'py>(
        &'py self,
        py: Python<'py>,
        module: &str,
        name: &str,
    ) -> PyResult<&'py Bound<'py, PyAny>> {
        self.get_or_make(py, || Ok(py.import(module)?.getattr(name)?.unbind()))
    }
}

/// Makes a Python string of a name once: `interned!(py, "close")`.
macro_rules! interned {
    ($py:expr, $name:literal) => {{
        static NAME: $crate::once::Once<::pyo3::types::PyString> = $crate::once::Once::new();
        $crate::once::name(&NAME, $py, $name)
    }};
}

pub(crate) use interned;

/// Returns the string of `interned!`.
pub(crate) fn name<'py>(
    once: &'py Once<pyo3::types::PyString>,
    py: Python<'py>,
    name: &str,
) -> &'py Bound<'py, pyo3::types::PyString> {
    let made = || Ok(pyo3::types::PyString::intern(py, name).unbind());
    once.get_or_make(py, made).expect("making it does not fail")
}
