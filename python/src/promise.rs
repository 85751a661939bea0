//! Promises: what a coroutine waits for and another thread brings, a function's value for instance.

use std::{
    cell::RefCell,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use pyo3::{
    exceptions::{PyBaseException, PyValueError},
    prelude::*,
};

use crate::{
    call::{self, Given, Outcome},
    exiting,
    gil::{self, Gil},
};

/// What a call waits for, until another thread sets it.
#[pyclass(frozen, name = "Promise", module = "asyncoro")]
pub(crate) struct Promise {
    state: Gil<RefCell<State>>,
}

enum State {
    /// It was not set; the waker is that of who waits.
    Open(Option<Waker>),
    Set(Given),
    /// Its value was given, or nobody waits for it any more.
    Over,
}

/// The verbs that wait for one.
const NAMES: [&str; 6] = [
    "AsyncThreadPool.async_task",
    "AsyncThreadPool.join",
    "AsyncThreadPool.terminate",
    "AsyncDBCursor.execute",
    "AsyncDBCursor.executemany",
    "AsyncDBCursor.callproc",
];

/// Makes a call of the verb `name` of `of`. When it is started, it makes a promise, calls `begin`
/// with that, and waits for what it is set to.
#[pyfunction]
pub(crate) fn promised(
    py: Python<'_>,
    name: &str,
    of: &Bound<'_, PyAny>,
    begin: Py<PyAny>,
) -> PyResult<Py<PyAny>> {
    let name = NAMES.iter().find(|known| **known == name);
    let name = name.ok_or_else(|| PyValueError::new_err("no such verb"))?;
    call::make(py, name, Some(of), move |starting| {
        let py = gil::py();
        let state = Gil::new(RefCell::new(State::Open(None)));
        let promise = Py::new(py, Promise { state });
        let begun = promise.and_then(|promise| {
            begin.call1(py, (promise.clone_ref(py),))?;
            Ok(Awaited(promise))
        });
        drop(begin);
        match begun {
            Ok(awaited) => starting.poll(awaited),
            Err(error) => starting.done(Err(error)),
        }
    })
}

impl Promise {
    /// Sets it; returns whether somebody waits for it.
    fn keep(&self, py: Python<'_>, given: Given) -> bool {
        let old = {
            let state = &mut *self.state.get(py).borrow_mut();
            match state {
                State::Open(waker) => {
                    let waker = waker.take();
                    *state = State::Set(given);
                    Ok(waker)
                }
                State::Set(_) | State::Over => Err(given),
            }
        };
        match old {
            Ok(waker) => {
                if let Some(waker) = waker {
                    waker.wake();
                }
                true
            }
            Err(_) => false,
        }
    }
}

#[pymethods]
impl Promise {
    /// Returns whether somebody waits for it, or will.
    fn is_wanted(&self, py: Python<'_>) -> bool {
        matches!(*self.state.get(py).borrow(), State::Open(_))
    }

    /// Sets the value; returns whether somebody waits for it.
    fn set(&self, py: Python<'_>, value: Py<PyAny>) -> bool {
        exiting::guard();
        self.keep(py, Ok(value))
    }

    /// Sets the exception; returns whether somebody waits for it.
    fn fail(&self, py: Python<'_>, error: Py<PyBaseException>) -> bool {
        exiting::guard();
        self.keep(py, Err(error))
    }
}

/// The wait of a coroutine for a promise.
struct Awaited(Py<Promise>);

impl Future for Awaited {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let (py, waker) = (gil::py(), cx.waker().clone());
        let old = {
            let state = &mut *self.0.get().state.get(py).borrow_mut();
            let next =
                if let State::Open(_) = state { State::Open(Some(waker)) } else { State::Over };
            mem::replace(state, next)
        };
        match old {
            State::Set(Ok(value)) => Poll::Ready(Ok(value)),
            State::Set(Err(error)) => {
                Poll::Ready(Err(PyErr::from_value(error.into_bound(py).into_any())))
            }
            State::Open(_) | State::Over => Poll::Pending,
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        drop(self.0.get().state.get(gil::py()).replace(State::Over));
    }
}
