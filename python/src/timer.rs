//! Waits for a time, and limits of other waits.

use std::{
    future::{self, Future},
    pin::Pin,
    task::Context,
    time::Duration,
};

use asyncoro::time::{self, Sleep};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{call::Outcome, gil::py};

/// Reads a number of seconds, or None for no limit; too many become the longest duration.
pub(crate) fn limit(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else { return Ok(None) };
    let seconds: f64 = timeout.extract()?;
    if seconds.is_nan() {
        return Err(PyValueError::new_err("a timeout is a number of seconds"));
    }
    Ok(Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
}

/// Reads a number of seconds as `limit` does, but takes any below 0 for no limit, as `acquire` of
/// `threading` does.
pub(crate) fn limit_from_0(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    match timeout.filter(|timeout| !timeout.is_none()) {
        Some(timeout) if timeout.extract::<f64>()? < 0.0 => Ok(None),
        timeout => limit(timeout),
    }
}

/// A timer, if there is a limit.
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    pub(crate) fn new(limit: Option<Duration>) -> Timer {
        Timer(limit.map(|limit| Box::pin(time::sleep(limit))))
    }

    /// Returns whether there is a limit.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Returns whether the time is over; else the coroutine is woken when it is.
    pub(crate) fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        self.0.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
    }
}

/// Waits for a time; with 0 until the others have run, without a limit for ever.
pub(crate) async fn pause(limit: Option<Duration>) -> Outcome {
    match limit {
        Some(Duration::ZERO) => asyncoro::coro::yield_now().await,
        Some(limit) => time::sleep(limit).await,
        None => future::pending().await,
    }
    Ok(py().None())
}
