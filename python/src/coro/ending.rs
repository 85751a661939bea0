//! The end of a coroutine: who is told, and who waits for it.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use pyo3::{
    exceptions::{PyRuntimeError, PyStopIteration, PyTimeoutError},
    prelude::*,
};

use super::{
    circle::Link,
    end::{End, Failure},
    gc,
    object::{Coro, Watchers, code},
    registry,
};
use crate::{
    call::{self, Outcome},
    engine,
    gil::{self, Gil, py},
    hooks, threads,
    timer::{Timer, limit},
};

impl Coro {
    /// Stores how the coroutine has ended, and tells everybody who waits for that.
    pub(crate) fn end(own: &Py<Coro>, py: Python<'_>, end: End) {
        let coro = own.get();
        let state = coro.state(py);
        let unobserved = match &end {
            End::Failed(failure) if engine::interrupted(py, failure.raised()) => None,
            End::Failed(failure) if !state.observed.get() => Some(again(py, failure)),
            _ => None,
        };
        // Together, before Python code can run, and with it another thread: whoever comes from now
        // on sees the end, and whoever came before is told.
        let has_returned = matches!(end, End::Value(_));
        state.end.replace(Some(end));
        let told = state.ties.take().map(|ties| ties.end(py, coro.key(), has_returned));
        let watchers = state.watchers.take();
        // Its value, or the frames of its traceback, may refer back to it.
        gc::track(own);
        let mut mail = state.mail.take();
        if let Some(mail) = &mut mail {
            mail.dismiss();
        }
        let left = (state.waker.take(), mail, state.rare.take(), state.given.take());
        drop(left);
        for text in told.into_iter().flatten() {
            hooks::warn(py, &format!("{} {text}", coro.label(py)));
        }
        if let Some(error) = unobserved {
            coro.report(py, &error);
        }
        registry::leave(py, state.place.get(), state.daemon.get(), state.home.get());
        if let Some(watchers) = watchers {
            tell(own, py, *watchers);
        }
    }

    /// Returns what `value()` and `finish()` give, once it has ended.
    pub(crate) fn outcome(own: &Py<Coro>, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        match &*own.get().state(py).end.borrow() {
            None => None,
            Some(End::Value(value)) => Some(Ok(value.clone_ref(py))),
            Some(End::Terminated) => Some(Ok(py.None())),
            Some(End::Failed(failure)) => Some(status_of(own, py, failure)),
        }
    }

    /// Returns what `result()` and `await` give or raise, once it has ended.
    pub(crate) fn raised(own: &Py<Coro>, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        match &*own.get().state(py).end.borrow() {
            Some(End::Failed(failure)) => Some(Err(again(py, failure))),
            None => None,
            Some(End::Value(value)) => Some(Ok(value.clone_ref(py))),
            Some(End::Terminated) => Some(Err(hooks::ended(py))),
        }
    }

    /// Adds a monitor, once however often it is added.
    fn tell_at_end(&self, monitor: &Bound<'_, Coro>) {
        let py = monitor.py();
        self.watch(py, |watchers| {
            if !watchers.monitors.iter().any(|other| other.is(monitor)) {
                watchers.monitors.push(monitor.clone().unbind());
            }
        });
        self.observe(py);
    }
}

/// Makes the error that raises a coroutine's exception once more.
fn again(py: Python<'_>, failure: &Failure) -> PyErr {
    PyErr::from_value(failure.error(py).into_any())
}

/// Makes the MonitorStatus of a failure.
fn status_of(own: &Py<Coro>, py: Python<'_>, failure: &Failure) -> PyResult<Py<PyAny>> {
    let made = hooks::hook(py, "failure")?.call1((own, failure.error(py)))?;
    Ok(made.unbind())
}

fn tell(own: &Py<Coro>, py: Python<'_>, watchers: Watchers) {
    watchers.coroutines.into_values().for_each(Waker::wake);
    for thread in watchers.threads {
        threads::release(py, &thread);
    }
    for monitor in watchers.monitors {
        match status(own, py) {
            // Above the capacity, too: nobody else tells of the end.
            Ok(status) => drop(monitor.get().push(py, status)),
            Err(error) => own.get().report(py, &error),
        }
    }
    for callback in watchers.callbacks {
        if let Err(error) = callback.call1(py, (own,)) {
            own.get().report(py, &error);
        }
    }
}

/// Makes the MonitorStatus that a monitor is sent.
fn status(own: &Py<Coro>, py: Python<'_>) -> PyResult<Py<PyAny>> {
    let state = own.get().state(py);
    if let Some(End::Failed(failure)) = &*state.end.borrow() {
        return status_of(own, py, failure);
    }
    let value = match &*state.end.borrow() {
        Some(End::Value(value)) => value.clone_ref(py),
        _ => py.None(),
    };
    let kind = hooks::hook(py, "MonitorStatus")?;
    Ok(kind.call1((own, py.get_type::<PyStopIteration>(), value))?.unbind())
}

#[pymethods]
impl Coro {
    /// Waits in a thread for the end, and gives its value; None after `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn value(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        wait_for(slf, limit(timeout)?)?;
        Coro::outcome(slf.as_unbound(), py).transpose()
    }

    /// Waits in a thread for the end: gives its value, or raises what it has raised; TimeoutError
    /// after `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn result(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let timeout = limit(timeout)?;
        slf.get().observe(py);
        wait_for(slf, timeout)?;
        Coro::raised(slf.as_unbound(), py).unwrap_or_else(|| {
            let text = format!("{} has not ended", slf.get().label(py));
            Err(PyTimeoutError::new_err(text))
        })
    }

    /// Waits in a coroutine for the end, and gives its value; None after `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn finish(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let timeout = limit(timeout)?;
        call::make(slf.py(), "Coro.finish", Some(slf.as_any()), move |starting| {
            let own = starting.of::<Coro>().clone_ref(gil::py());
            starting.poll(Ending::new(own, timeout, false))
        })
    }

    /// Waits as `finish` does.
    #[pyo3(signature = (timeout = None))]
    fn __call__(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        Coro::finish(slf, timeout)
    }

    /// Waits for the end: gives its value, or raises what it has raised.
    fn __await__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        slf.get().observe(py);
        call::make(py, "Coro.__await__", Some(slf.as_any()), move |starting| {
            let own = starting.of::<Coro>().clone_ref(gil::py());
            starting.poll(Ending::new(own, None, true))
        })
    }

    /// Calls `callback(coro)` in the scheduler's thread at its end, or now if it has ended.
    fn _when_ended(slf: &Bound<'_, Self>, callback: Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        slf.get().observe(py);
        if slf.get().has_ended(py) {
            return callback.call1(py, (slf,)).map(drop);
        }
        slf.get().watch(py, |watchers| watchers.callbacks.push(callback));
        Ok(())
    }

    /// Returns how it has ended: (value, None) or (None, exception); None before that.
    fn _outcome(slf: &Bound<'_, Self>) -> Option<(Py<PyAny>, Option<Py<PyAny>>)> {
        let py = slf.py();
        match Coro::raised(slf.as_unbound(), py)? {
            Ok(value) => Some((value, None)),
            Err(error) => Some((py.None(), Some(error.into_value(py).into_any()))),
        }
    }

    /// Returns whether it has ended because it was terminated.
    fn _was_terminated(&self, py: Python<'_>) -> bool {
        matches!(&*self.state(py).end.borrow(), Some(End::Terminated))
    }

    /// Asks for a MonitorStatus as a message when `observe` ends; `yield` or `await` gives 0, or
    /// -1 if it has ended.
    fn monitor(slf: &Bound<'_, Self>, observe: &Bound<'_, Coro>) -> PyResult<Py<PyAny>> {
        let observed = observe.clone().unbind();
        call::make(slf.py(), "Coro.monitor", Some(slf.as_any()), move |starting| {
            let (py, own) = (gil::py(), starting.of::<Coro>());
            let ended = observed.get().has_ended(py);
            if !ended {
                observed.get().tell_at_end(own.bind(py));
            }
            starting.done(code(py, if ended { -1 } else { 0 }))
        })
    }

    /// Sends `monitor` a MonitorStatus when this one ends: 0, or -1 if it has ended.
    fn notify(&self, monitor: &Bound<'_, Coro>) -> i32 {
        if self.has_ended(monitor.py()) {
            return -1;
        }
        self.tell_at_end(monitor);
        0
    }

    /// Returns whether it has not ended.
    fn is_alive(&self, py: Python<'_>) -> bool {
        !self.has_ended(py)
    }
}

/// Waits until a coroutine has ended, at most `limit`.
fn wait_for(coro: &Bound<'_, Coro>, limit: Option<Duration>) -> PyResult<()> {
    let py = coro.py();
    if coro.get().has_ended(py) {
        return Ok(());
    }
    // Of another thread's loop it may wait, though that blocks this one's.
    if engine::in_scheduler() || coro.get().home(py).is_here() {
        return Err(PyRuntimeError::new_err(
            "this would block the scheduler, and with it the coroutine that is waited for: \
             `yield coro.finish()` or `await coro`",
        ));
    }
    // Making a lock may run Python's code, and so let another thread run: the coroutine may end
    // meanwhile. From here on nobody else runs until it knows the lock.
    let lock = threads::taken_lock(py)?;
    if coro.get().has_ended(py) {
        return Ok(());
    }
    coro.get().watch(py, |watchers| watchers.threads.push(lock.clone().unbind()));
    let acquired = threads::acquire(&lock, limit);
    if !coro.get().has_ended(py) {
        let given_up = coro.get().watch(py, |watchers| {
            let place = watchers.threads.iter().position(|other| other.is(&lock));
            place.map(|place| watchers.threads.swap_remove(place))
        });
        drop(given_up);
    }
    acquired
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
        if own.link.is_none() && !own.timer.is_set() {
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

/// Returns a number that no other wait has.
fn next_place() -> u64 {
    static NEXT: Gil<Cell<u64>> = Gil::new(Cell::new(0));
    let next = NEXT.get(py());
    next.replace(next.get() + 1)
}
