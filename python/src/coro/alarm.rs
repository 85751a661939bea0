//! Throws an exception into a coroutine after some seconds, unless it is cancelled.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    task::{Poll, Waker},
    time::Duration,
};

use asyncoro::time;
use pyo3::prelude::*;

use super::object::Coro;
use crate::{
    engine,
    gil::{self, Gil},
    timer::limit,
};

/// A running alarm; `cancel` stops it, and takes back an exception that was not raised yet.
#[pyclass(frozen, module = "asyncoro")]
pub(crate) struct Alarm {
    coro: Py<Coro>,
    error: Py<PyAny>,
    state: Gil<State>,
}

#[derive(Default)]
struct State {
    cancelled: Cell<bool>,
    /// Wakes the coroutine that waits for the time.
    waker: Cell<Option<Waker>>,
}

/// Throws `error` into `coro` after `seconds`.
#[pyfunction]
pub(crate) fn alarm(
    py: Python<'_>,
    coro: Py<Coro>,
    seconds: &Bound<'_, PyAny>,
    error: Py<PyAny>,
) -> PyResult<Py<Alarm>> {
    let limit = limit(Some(seconds))?.unwrap_or_default();
    let alarm = Py::new(py, Alarm { coro, error, state: Gil::new(State::default()) })?;
    engine::spawn(py, ring(alarm.clone_ref(py), limit))?;
    Ok(alarm)
}

async fn ring(alarm: Py<Alarm>, limit: Duration) {
    asyncoro::coro::current().set_daemon(true);
    let mut time = pin!(time::sleep(limit));
    let due = poll_fn(|cx| {
        let state = alarm.get().state.get(gil::py());
        if state.cancelled.get() {
            return Poll::Ready(false);
        }
        state.waker.set(Some(cx.waker().clone()));
        time.as_mut().poll(cx).map(|()| true)
    });
    if due.await {
        let py = gil::py();
        alarm.get().coro.get().throw_into(py, alarm.get().error.bind(py).clone());
    }
}

#[pymethods]
impl Alarm {
    fn cancel(&self, py: Python<'_>) {
        let state = self.state.get(py);
        state.cancelled.set(true);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        self.coro.get().withdraw(py, &self.error);
    }
}
