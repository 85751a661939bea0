//! What a coroutine waits for without a socket: a time, a message, the end of another one.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use asyncoro::time::{self, Sleep};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    call::{Outcome, py},
    coro::{Coro, Wait},
};

/// A number of seconds, or None for no limit. What the clock cannot say is as good as never.
pub(crate) fn limit(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Duration>> {
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else { return Ok(None) };
    let seconds: f64 = timeout.extract()?;
    if seconds.is_nan() {
        return Err(PyValueError::new_err("a timeout is a number of seconds"));
    }
    Ok(Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
}

/// A timer, if there is a limit.
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    fn new(limit: Option<Duration>) -> Timer {
        Timer(limit.map(|limit| Box::pin(time::sleep(limit))))
    }

    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        self.0.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
    }
}

/// `sleep`: until `resume`, or for a time.
pub(crate) struct Suspended {
    coro: Py<Coro>,
    timer: Timer,
    /// Whether the time was over before it began.
    instant: bool,
    alarm: Option<Py<PyAny>>,
}

impl Suspended {
    pub(crate) fn new(coro: Py<Coro>, limit: Option<Duration>, alarm: Py<PyAny>) -> Suspended {
        let instant = limit.is_some_and(|limit| limit.is_zero());
        let timer = Timer::new(limit.filter(|_| !instant));
        coro.get().state(py()).wait.set(Wait::Resume);
        Suspended { coro, timer, instant, alarm: Some(alarm) }
    }
}

impl Future for Suspended {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let own = &mut *self;
        let state = own.coro.get().state(py());
        if let Some(given) = state.given.take() {
            state.wait.set(Wait::Nothing);
            return Poll::Ready(Ok(given));
        }
        if std::mem::replace(&mut own.instant, false) {
            // The others have a turn even so.
            own.timer = Timer::new(Some(Duration::ZERO));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if own.timer.is_due(cx) {
            state.wait.set(Wait::Nothing);
            return Poll::Ready(Ok(own.alarm.take().expect("it is polled until it is ready")));
        }
        Poll::Pending
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        let state = self.coro.get().state(py());
        state.wait.set(Wait::Nothing);
        drop(state.given.take());
    }
}

/// `receive`: until there is a message, or for a time.
pub(crate) struct Receiving {
    coro: Py<Coro>,
    limit: Option<Duration>,
    timer: Option<Timer>,
    alarm: Option<Py<PyAny>>,
}

impl Receiving {
    pub(crate) fn new(coro: Py<Coro>, limit: Option<Duration>, alarm: Py<PyAny>) -> Receiving {
        Receiving { coro, limit, timer: None, alarm: Some(alarm) }
    }
}

impl Future for Receiving {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let own = &mut *self;
        let state = own.coro.get().state(py());
        let message = state.mail.borrow_mut().pop_front();
        if let Some(message) = message {
            state.wait.set(Wait::Nothing);
            return Poll::Ready(Ok(message));
        }
        let limit = own.limit;
        let timer = own.timer.get_or_insert_with(|| Timer::new(limit));
        if limit.is_some_and(|limit| limit.is_zero()) || timer.is_due(cx) {
            state.wait.set(Wait::Nothing);
            return Poll::Ready(Ok(own.alarm.take().expect("it is polled until it is ready")));
        }
        state.wait.set(Wait::Message);
        Poll::Pending
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.coro.get().state(py()).wait.set(Wait::Nothing);
    }
}

/// `finish`: until another coroutine has ended, or for a time.
pub(crate) struct Ending {
    coro: Py<Coro>,
    timer: Timer,
    raises: bool,
}

impl Ending {
    /// `raises`: what the coroutine has raised, instead of giving a MonitorStatus.
    pub(crate) fn new(coro: Py<Coro>, limit: Option<Duration>, raises: bool) -> Ending {
        Ending { coro, timer: Timer::new(limit), raises }
    }
}

impl Future for Ending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let own = &mut *self;
        let py = py();
        let get = if own.raises { Coro::raised } else { Coro::outcome };
        if let Some(outcome) = get(&own.coro, py) {
            return Poll::Ready(outcome);
        }
        if own.timer.is_due(cx) {
            return Poll::Ready(Ok(py.None()));
        }
        let waker = cx.waker();
        own.coro.get().watch(py, |watchers| {
            if !watchers.coroutines.iter().any(|other| other.will_wake(waker)) {
                watchers.coroutines.push(waker.clone());
            }
        });
        Poll::Pending
    }
}

/// `asyncoro.sleep`: for a time.
pub(crate) async fn pause(limit: Duration) -> Outcome {
    if limit.is_zero() {
        asyncoro::coro::yield_now().await;
    } else {
        time::sleep(limit).await;
    }
    Ok(py().None())
}
