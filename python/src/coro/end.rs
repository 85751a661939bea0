//! The end of a coroutine: how it has ended, who is told, and who waits for it.

use std::{collections::BTreeMap, task::Waker};

use pyo3::{
    exceptions::{PyBaseException, PyStopIteration, PyTimeoutError},
    prelude::*,
    types::PyTraceback,
};

use super::{Coro, verbs::code, within};
use crate::{
    call, engine, gc, hooks, registry, threads,
    waits::{Ending, limit},
};

/// How a coroutine has ended.
pub(crate) enum End {
    Value(Py<PyAny>),
    Failed(Failure),
    Terminated,
}

/// What a coroutine has raised.
pub(crate) struct Failure {
    error: Py<PyBaseException>,
    /// The traceback up to the coroutine: each time that the exception is raised adds to its own.
    trace: Option<Py<PyTraceback>>,
}

impl Failure {
    pub(crate) fn new(py: Python<'_>, error: Py<PyBaseException>) -> Failure {
        let trace = PyErr::from_value(error.bind(py).clone().into_any()).traceback(py);
        Failure { error, trace: trace.map(Bound::unbind) }
    }

    /// Visits what it refers to, for the garbage collector.
    pub(super) fn visit(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.error)?;
        visit.call(&self.trace)
    }

    /// Returns the exception, with the traceback that it had at first.
    pub(crate) fn error<'py>(&self, py: Python<'py>) -> Bound<'py, PyBaseException> {
        let error = PyErr::from_value(self.error.bind(py).clone().into_any());
        error.set_traceback(py, self.trace.as_ref().map(|trace| trace.bind(py).clone()));
        error.into_value(py).into_bound(py)
    }
}

/// Those who wait for its end. Whoever stops waiting removes itself.
#[derive(Default)]
pub(crate) struct Watchers {
    /// Coroutines, by a number of their wait.
    pub(crate) coroutines: BTreeMap<u64, Waker>,
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
            End::Failed(failure) if engine::interrupted(py, &failure.error) => None,
            End::Failed(failure) if !state.observed.get() => Some(again(py, failure)),
            _ => None,
        };
        // Together, before Python code can run, and with it another thread: whoever comes from now
        // on sees the end, and whoever came before is told.
        state.end.replace(Some(end));
        let watchers = state.watchers.take();
        // Its value, or the frames of its traceback, may refer back to it.
        gc::track(own);
        let mut mail = state.mail.take();
        if let Some(mail) = &mut mail {
            mail.dismiss();
        }
        let left = (state.waker.take(), mail, state.rare.take(), state.given.take());
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

    /// Notes that somebody waits for the end and gets its exception, which is not logged then.
    pub(crate) fn observe(&self, py: Python<'_>) {
        self.state(py).observed.set(true);
    }

    /// Calls `change` with the watchers; it may run no foreign code.
    pub(crate) fn watch<R>(&self, py: Python<'_>, change: impl FnOnce(&mut Watchers) -> R) -> R {
        within(&self.state(py).watchers, change)
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

    pub(crate) fn has_ended(&self, py: Python<'_>) -> bool {
        self.state(py).end.borrow().is_some()
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
        let timeout = limit(timeout)?;
        call::make(slf.py(), "Coro.finish", Some(slf.as_any()), move |starting| {
            let own = starting.of::<Coro>().clone_ref(call::py());
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
            let own = starting.of::<Coro>().clone_ref(call::py());
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

    /// Asks for a MonitorStatus as a message when `observe` ends; `yield` or `await` gives 0, or
    /// -1 if it has ended.
    fn monitor(slf: &Bound<'_, Self>, observe: &Bound<'_, Coro>) -> PyResult<Py<PyAny>> {
        let observed = observe.clone().unbind();
        call::make(slf.py(), "Coro.monitor", Some(slf.as_any()), move |starting| {
            let (py, own) = (call::py(), starting.of::<Coro>());
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
