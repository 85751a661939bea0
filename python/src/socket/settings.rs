//! The settings of a socket, and of those that are made from now on: timeout, message limit.

use std::{cell::Cell, time::Duration};

use pyo3::{
    exceptions::{PyOverflowError, PyValueError},
    prelude::*,
};

use crate::gil::Gil;

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
    pub(super) const fn usual(blocking: bool) -> Settings {
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

/// Sets the timeout of sockets made from now on.
pub(super) fn set_default_timeout(py: Python<'_>, timeout: Option<f64>) {
    DEFAULTS.get(py).0.set(timeout);
}

/// Returns it, if it was set.
pub(super) fn default_timeout(py: Python<'_>) -> Option<f64> {
    DEFAULTS.get(py).0.get()
}

/// Sets the longest message of sockets made from now on.
pub(super) fn set_default_message_limit(py: Python<'_>, limit: usize) {
    DEFAULTS.get(py).1.set(limit);
}

/// Returns the timeout of a new socket of that mode.
pub(super) fn usual_timeout(py: Python<'_>, blocking: bool) -> Option<f64> {
    default_timeout(py).or(Settings::usual(blocking).timeout)
}

/// Returns the timeout of the regular socket under one with this timeout.
pub(super) fn of_regular(timeout: Option<f64>, blocking: bool) -> Option<f64> {
    if blocking { timeout.filter(|seconds| *seconds > 0.0) } else { Some(0.0) }
}

/// Converts a timeout to the crate's.
pub(super) fn duration(timeout: Option<f64>) -> Option<Duration> {
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
