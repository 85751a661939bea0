//! `first`: starts several calls, and ends with the first of them that ends.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pyo3::{exceptions::PyValueError, prelude::*, types::PyTuple};

use super::{current::among_others, memory::make, outcome::Outcome, waiting::Waiting};
use crate::gil::py;

/// Waits for the first of several calls that ends, and gives its place and its value. The others
/// are given up: they have done nothing.
#[pyfunction]
#[pyo3(signature = (*calls))]
pub(crate) fn first(calls: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    if calls.is_empty() {
        return Err(PyValueError::new_err("first needs a call"));
    }
    let token = calls.py();
    let calls: Vec<_> = calls.iter().map(Bound::unbind).collect();
    make(token, "asyncoro.first", None, move |starting| {
        let begun = calls.into_iter().map(|call| Waiting::begin(py(), call));
        match begun.collect::<PyResult<Vec<_>>>() {
            Ok(calls) => starting.poll(First { calls }),
            Err(error) => starting.done(Err(error)),
        }
    })
}

struct First {
    calls: Vec<Waiting>,
}

impl Future for First {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let py = py();
        // In their order, and no further than to the first that is done: what another one has
        // received would be lost.
        for (place, call) in self.calls.iter().enumerate() {
            if let Some(given) = among_others(|| call.poll(py, cx)) {
                let value = match given {
                    Ok(value) => value,
                    Err(error) => {
                        let error = error.into_bound(py).into_any();
                        return Poll::Ready(Err(PyErr::from_value(error)));
                    }
                };
                return Poll::Ready(
                    (place, value).into_pyobject(py).map(|it| it.into_any().unbind()),
                );
            }
        }
        Poll::Pending
    }
}
