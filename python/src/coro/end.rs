//! The end of a coroutine: how it has ended, who is told, and who waits for it.

use std::task::Waker;

use pyo3::{
    exceptions::{PyBaseException, PyStopIteration, PyTimeoutError},
    prelude::*,
};

use super::{Coro, verbs::code, within};
use crate::{
    call, engine, gc, hooks, registry, threads,
    waits::{Ending, limit},
};

/// How a coroutine has ended.
pub(crate) enum End {
    Value(Py<PyAny>),
    Failed(Py<PyBaseException>),
    Terminated,
}

/// Those who wait for its end.
#[derive(Default)]
pub(crate) struct Watchers {
    pub(crate) coroutines: Vec<Waker>,
    pub(crate) threads: Vec<Py<PyAny>>,
    pub(crate) monitors: Vec<Py<Coro>>,
    pub(crate) callbacks: Vec<Py<PyAny>>,
}

impl Coro {
    /// Stores how the coroutine has ended, and tells everybody who waits for that.
    pub(crate) fn end(own: &Py<Coro>, py: Python<'_>, end: End) {
        let coro = own.get();
        let state = coro.state(py);
        let unobserved = match &end {
            End::Failed(error) if engine::interrupted(py, error) => None,
            End::Failed(error) if !state.observed.get() => Some(again(py, error)),
            _ => None,
        };
        // Together, before Python code can run, and with it another thread: whoever comes from now
        // on sees the end, and whoever came before is told.
        state.end.replace(Some(end));
        let watchers = state.watchers.take();
        // Its value, or the frames of its traceback, may refer back to it.
        gc::track(own);
        let left = (state.waker.take(), state.mail.take(), state.rare.take(), state.given.take());
        drop(left);
        if let Some(error) = unobserved {
            coro.report(py, &error);
        }
        registry::leave(py, state.place.get(), state.daemon.get());
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
            Some(End::Failed(error)) => Some(failure(own, py, error)),
        }
    }

    /// Returns what `result()` and `await` give or raise, once it has ended.
    pub(crate) fn raised(own: &Py<Coro>, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        match &*own.get().state(py).end.borrow() {
            Some(End::Failed(error)) => Some(Err(again(py, error))),
            None => None,
            Some(End::Value(value)) => Some(Ok(value.clone_ref(py))),
            Some(End::Terminated) => Some(Err(hooks::ended(py))),
        }
    }

    /// Notes that somebody waits for the end and gets its exception, which is not logged then.
    pub(crate) fn observe(&self, py: Python<'_>) {
        self.state(py).observed.set(true);
    }

    pub(crate) fn watch(&self, py: Python<'_>, add: impl FnOnce(&mut Watchers)) {
        within(&self.state(py).watchers, add);
    }

    pub(crate) fn has_ended(&self, py: Python<'_>) -> bool {
        self.state(py).end.borrow().is_some()
    }
}

/// Makes the error that raises a coroutine's exception once more.
fn again(py: Python<'_>, error: &Py<PyBaseException>) -> PyErr {
    PyErr::from_value(error.bind(py).clone().into_any())
}

/// Makes the MonitorStatus of a failure.
fn failure(own: &Py<Coro>, py: Python<'_>, error: &Py<PyBaseException>) -> PyResult<Py<PyAny>> {
    let made = hooks::hook(py, "failure")?.call1((own, error))?;
    Ok(made.unbind())
}

fn tell(own: &Py<Coro>, py: Python<'_>, watchers: Watchers) {
    watchers.coroutines.into_iter().for_each(Waker::wake);
    for thread in watchers.threads {
        threads::release(py, &thread);
    }
    for monitor in watchers.monitors {
        match status(own, py) {
            Ok(status) => drop(monitor.get().send(py, status)),
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
    if let Some(End::Failed(error)) = &*state.end.borrow() {
        return failure(own, py, error);
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
        threads::wait_for(slf, limit(timeout)?)?;
        Coro::outcome(slf.as_unbound(), py).transpose()
    }

    /// Waits in a thread for the end: gives its value, or raises what it has raised; TimeoutError
    /// after `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn result(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let timeout = limit(timeout)?;
        slf.get().observe(py);
        threads::wait_for(slf, timeout)?;
        Coro::raised(slf.as_unbound(), py).unwrap_or_else(|| {
            let text = format!("{} has not ended", slf.get().label(py));
            Err(PyTimeoutError::new_err(text))
        })
    }

    /// Waits in a coroutine for the end, and gives its value; None after `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn finish(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let ending = Ending::new(slf.clone().unbind(), limit(timeout)?, false);
        call::start(slf.py(), "finish", ending)
    }

    /// Waits as `finish` does.
    #[pyo3(signature = (timeout = None))]
    fn __call__(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        Coro::finish(slf, timeout)
    }

    /// Waits for the end: gives its value, or raises what it has raised.
    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        slf.get().observe(py);
        let call = call::start(py, "await", Ending::new(slf.clone().unbind(), None, true))?;
        call.bind(py).call_method0("__await__")
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

    /// Asks for a MonitorStatus as a message when `observe` ends; `yield` or `await` gives 0, or
    /// -1 if it has ended.
    fn monitor(slf: &Bound<'_, Self>, observe: &Bound<'_, Coro>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let ended = observe.get().has_ended(py);
        if !ended {
            let own = slf.clone().unbind();
            observe.get().watch(py, |watchers| watchers.monitors.push(own));
            observe.get().observe(py);
        }
        call::done(py, "monitor", code(py, if ended { -1 } else { 0 }))
    }

    /// Sends `monitor` a MonitorStatus when this one ends: 0, or -1 if it has ended.
    fn notify(&self, py: Python<'_>, monitor: Py<Coro>) -> i32 {
        if self.has_ended(py) {
            return -1;
        }
        self.watch(py, |watchers| watchers.monitors.push(monitor));
        self.observe(py);
        0
    }

    /// Returns whether it has not ended.
    fn is_alive(&self, py: Python<'_>) -> bool {
        !self.has_ended(py)
    }
}
