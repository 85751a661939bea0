//! The timeouts of verbs.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use asyncoro::time;
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::timer;

/// When a verb has to end.
#[derive(Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

/// Reads a timeout in seconds; 0 and None are no timeout.
pub(super) fn limit(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    if let Some(timeout) = timeout.filter(|timeout| !timeout.is_none())
        && timeout.extract::<f64>()? < 0.0
    {
        return Err(PyValueError::new_err("a timeout cannot be negative"));
    }
    Ok(timer::limit(timeout)?.filter(|limit| !limit.is_zero()))
}

impl Deadline {
    /// Counts from now on.
    pub(super) fn after(limit: Option<Duration>) -> Deadline {
        Deadline(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    /// Returns the value of a future; `None` if the deadline comes first.
    pub(super) async fn bound<F: Future>(self, future: F) -> Option<F::Output> {
        match self.0 {
            Some(deadline) => time::deadline(deadline, future).await.ok(),
            None => Some(future.await),
        }
    }

    pub(super) fn is_over(self) -> bool {
        self.0.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
