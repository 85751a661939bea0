//! Waits without a socket: for a time, a message, the end of another coroutine, room in its
//! mailbox.

use std::{
    cell::Cell,
    future::{self, Future},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use asyncoro::time::{self, Sleep};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    call::{Outcome, py},
    coro::{Coro, Link, Wait, code},
};

/// Reads a number of seconds, or None for no limit; too many become the longest duration.
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

/// Waits until what a coroutine keeps is there, or for a time: `sleep` and `receive` with a limit.
/// Even if that is 0 the others run first, and the kernel is asked what has come.
pub(crate) struct Limited {
    coro: Py<Coro>,
    what: Wait,
    timer: Timer,
    alarm: Option<Py<PyAny>>,
    waits: bool,
}

impl Limited {
    pub(crate) fn new(
        coro: Py<Coro>,
        what: Wait,
        limit: Duration,
        alarm: Option<Py<PyAny>>,
    ) -> Limited {
        Limited { coro, what, timer: Timer::new(Some(limit)), alarm, waits: false }
    }
}

impl Future for Limited {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let own = &mut *self;
        let py = py();
        if let Some(kept) = own.coro.get().take_kept(py, own.what) {
            return Poll::Ready(Ok(kept));
        }
        if own.timer.is_due(cx) {
            return Poll::Ready(Ok(own.alarm.take().unwrap_or_else(|| py.None())));
        }
        if !own.waits {
            own.waits = true;
            own.coro.get().begin_waiting(py, own.what);
        }
        own.coro.get().wait_with(py, cx.waker());
        Poll::Pending
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if self.waits {
            self.coro.get().stop_waiting(py(), self.what);
        }
    }
}

/// Waits until another coroutine has ended, or for a time.
pub(crate) struct Ending {
    coro: Py<Coro>,
    timer: Timer,
    raises: bool,
    /// The number of its waker among the coroutine's watchers.
    place: Cell<Option<u64>>,
    link: Option<Link>,
}

impl Ending {
    /// With `raises`, raises the coroutine's exception instead of giving a MonitorStatus.
    pub(crate) fn new(coro: Py<Coro>, limit: Option<Duration>, raises: bool) -> Ending {
        Ending { coro, timer: Timer::new(limit), raises, place: Cell::new(None), link: None }
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
        if own.link.is_none() && own.timer.0.is_none() {
            own.link = match Link::new(py, &own.coro) {
                Ok(link) => link,
                Err(error) => return Poll::Ready(Err(error)),
            };
        }
        let place = own.place.get().unwrap_or_else(next_place);
        own.place.set(Some(place));
        own.coro.get().watch(py, |watchers| watchers.coroutines.insert(place, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let py = py();
        if let Some(place) = self.place.get()
            && !self.coro.get().has_ended(py)
        {
            self.coro.get().watch(py, |watchers| watchers.coroutines.remove(&place));
        }
    }
}

/// Waits for room in the mailbox of another coroutine, or for a time, and puts a message in.
pub(crate) struct Delivering {
    coro: Py<Coro>,
    message: Option<Py<PyAny>>,
    timer: Timer,
    /// Its place in the line for room.
    place: Option<u64>,
}

impl Delivering {
    pub(crate) fn new(
        coro: Py<Coro>,
        message: Option<Py<PyAny>>,
        limit: Option<Duration>,
    ) -> Delivering {
        Delivering { coro, message, timer: Timer::new(limit), place: None }
    }
}

impl Future for Delivering {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let own = &mut *self;
        let py = py();
        let coro = own.coro.get();
        if coro.has_ended(py) {
            return Poll::Ready(code(py, -1));
        }
        if coro.admit(py, &mut own.message, &mut own.place) {
            return Poll::Ready(code(py, 1));
        }
        if own.timer.is_due(cx) {
            return Poll::Ready(code(py, 0));
        }
        coro.stand_in_line(py, &mut own.place, cx.waker());
        Poll::Pending
    }
}

/// Leaves the line: nothing was sent.
impl Drop for Delivering {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.coro.get().leave_line(py(), place);
        }
    }
}

/// Returns a number that no other wait has.
fn next_place() -> u64 {
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }
    NEXT.replace(NEXT.get() + 1)
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
