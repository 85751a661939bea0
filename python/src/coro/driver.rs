//! A coroutine of ours on a loop of asyncio's: a coroutine object, which a task of the loop runs.
//!
//! So whatever asks asyncio for the current task finds one, in our coroutines, too: timeouts of
//! asyncio's, aiohttp, anyio. A future of asyncio's that the coroutine awaits is passed on to the
//! task, which waits for it. An order that comes meanwhile, to end for example, cancels that wait.

use std::cell::Cell;
use std::task::Context as PollContext;

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyBaseException, PyRuntimeError, PyStopIteration},
    prelude::*,
};

use super::{
    object::Coro,
    runner::{Resumed, Runner},
};
use crate::{
    error::thrown,
    gil::Gil,
    guest::{self, Guest, Wait, is_cancelled, is_done},
    hooks,
    once::interned,
};

/// A coroutine that a task of asyncio's runs.
#[pyclass(frozen, weakref, module = "asyncoro._engine")]
pub(crate) struct Driver {
    coro: Py<Coro>,
    guest: Py<Guest>,
    state: Gil<State>,
}

#[derive(Default)]
struct State {
    /// `None` while it is resumed, and once it has ended.
    runner: Cell<Option<Box<Runner>>>,
    wait: Cell<Option<Wait>>,
    /// The task, while it waits for a future of asyncio's.
    task: Cell<Option<Py<PyAny>>>,
    /// How often the task had been cancelled when that wait began, if asyncio counts it.
    cancelling: Cell<u32>,
    /// Whether that wait was cancelled for an order.
    was_cancelled: Cell<bool>,
    /// Its number in the guest's list.
    place: Cell<Option<usize>>,
}

impl Driver {
    /// Starts a task that runs a coroutine.
    pub(crate) fn start(
        py: Python<'_>,
        guest: &Bound<'_, Guest>,
        coro: &Py<Coro>,
        runner: Runner,
    ) -> PyResult<()> {
        let state = State { runner: Cell::new(Some(Box::new(runner))), ..State::default() };
        let driver = Driver {
            coro: coro.clone_ref(py),
            guest: guest.clone().unbind(),
            state: Gil::new(state),
        };
        let driver = Bound::new(py, driver)?;
        let place = guest.get().add_run(py, driver.clone().into_any().unbind());
        driver.get().state.get(py).place.set(Some(place));
        guest.get().start(py, driver.as_any()).inspect_err(|_| {
            driver.get().leave(py);
            driver.get().state.get(py).runner.take().into_iter().for_each(|it| it.forget());
        })
    }

    /// Leaves the guest's list.
    fn leave(&self, py: Python<'_>) {
        if let Some(place) = self.state.get(py).place.take() {
            self.guest.get().remove_run(py, place);
        }
    }

    /// Returns whether the coroutine, which waits, has an order to obey.
    fn has_orders(&self, py: Python<'_>) -> bool {
        let state = self.state.get(py);
        let runner = state.runner.take();
        let may_swap = runner.as_ref().is_some_and(|runner| runner.may_swap());
        state.runner.set(runner);
        self.coro.get().has_order_to_obey(py, may_swap)
    }

    /// Takes the cancellation for an order back, now that the task goes on; returns whether there
    /// was one, and nobody else has cancelled the task.
    fn take_cancel_back(&self, py: Python<'_>) -> PyResult<bool> {
        let state = self.state.get(py);
        if !state.was_cancelled.replace(false) {
            return Ok(false);
        }
        let Some(task) = state.task.take() else { return Ok(true) };
        match task.bind(py).getattr_opt(interned!(py, "uncancel"))? {
            Some(uncancel) => Ok(uncancel.call0()?.extract::<u32>()? <= state.cancelling.get()),
            None => Ok(true),
        }
    }

    /// Goes on, as its task does.
    fn go_on(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        // What it waited for may have gone on in spite of a cancellation.
        slf.get().take_cancel_back(slf.py())?;
        Driver::resume(slf, None)
    }

    /// Returns an attribute of its outermost generator; None if it runs, or has ended.
    fn of_outermost(&self, py: Python<'_>, coroutines: &str, generators: &str) -> Py<PyAny> {
        let state = self.state.get(py);
        let runner = state.runner.take();
        let outermost = runner.as_ref().and_then(|runner| runner.outermost());
        let outermost = outermost.map(|outermost| outermost.clone_ref(py));
        state.runner.set(runner);
        let attribute = outermost.and_then(|outermost| {
            let outermost = outermost.bind(py);
            outermost.getattr(coroutines).or_else(|_| outermost.getattr(generators)).ok()
        });
        attribute.map_or_else(|| py.None(), Bound::unbind)
    }

    fn is_at_rest(&self, py: Python<'_>) -> bool {
        let state = self.state.get(py);
        let runner = state.runner.take();
        let is_at_rest = runner.is_some();
        state.runner.set(runner);
        is_at_rest
    }

    /// Resumes the coroutine, with `thrown` by raising that where it waits. Returns what the task
    /// is to wait for.
    fn resume(slf: &Bound<'_, Self>, thrown: Option<Py<PyBaseException>>) -> PyResult<Py<PyAny>> {
        let (py, own) = (slf.py(), slf.get());
        let state = own.state.get(py);
        let Some(mut runner) = state.runner.take() else {
            return Err(PyRuntimeError::new_err("this coroutine runs, or has ended"));
        };
        drop(state.task.take());
        let guest = own.guest.get();
        if !guest.home(py).is_here() {
            // The thread has used the guest of another loop since.
            Guest::stays(own.guest.bind(py))?;
        }
        let wait = state.wait.take().unwrap_or_else(|| guest.begin(py));
        wait.resumed();
        let waker = wait.waker();
        let resumed = guest
            .enter(py, || runner.resume_in_task(py, &mut PollContext::from_waker(&waker), thrown));
        drop(waker);
        match resumed {
            Ok(Resumed::Ended(raised)) => {
                drop(runner);
                drop(wait);
                own.leave(py);
                Err(match raised {
                    Some(error) => PyErr::from_value(error.into_bound(py).into_any()),
                    None => PyStopIteration::new_err(()),
                })
            }
            Ok(Resumed::Pending) => {
                state.runner.set(Some(runner));
                // An exception of asyncio's comes before an order, whose wake was for this resume.
                let future = match wait.is_woken() || own.has_orders(py) {
                    true => Ok(None),
                    false => guest.suspend(py, &wait),
                };
                state.wait.set(Some(wait));
                Ok(future?.unwrap_or_else(|| py.None()))
            }
            Ok(Resumed::Foreign(future)) => {
                state.runner.set(Some(runner));
                if own.has_orders(py) {
                    state.wait.set(Some(wait));
                    return Ok(py.None());
                }
                let task =
                    guest::running_loop(py).and_then(|running| guest::current_task(py, &running));
                state.cancelling.set(task.as_ref().map_or(0, cancelling));
                state.task.set(task.map(Bound::unbind));
                Guest::interrupt(&wait, slf.clone().into_any().unbind());
                state.wait.set(Some(wait));
                Ok(future)
            }
            Err(error) => {
                drop(runner);
                own.leave(py);
                Err(error)
            }
        }
    }
}

/// Returns how often a task was cancelled; 0 before Python 3.11, which does not count it.
fn cancelling(task: &Bound<'_, PyAny>) -> u32 {
    let count = task.getattr_opt(interned!(task.py(), "cancelling")).ok().flatten();
    count.and_then(|count| count.call0().ok()?.extract().ok()).unwrap_or(0)
}

#[pymethods]
impl Driver {
    fn send(slf: &Bound<'_, Self>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Driver::go_on(slf)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Driver::go_on(slf)
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (kind, value = None, _traceback = None))]
    fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let error = thrown(kind, value)?;
        if slf.get().take_cancel_back(py)? && is_cancelled(py, &error) {
            // By an order, which the coroutine obeys now.
            return Driver::resume(slf, None);
        }
        Driver::resume(slf, Some(error))
    }

    /// Ends it: its `finally` runs, but nothing is waited for.
    fn close(&self, py: Python<'_>) {
        let state = self.state.get(py);
        let (runner, wait) = (state.runner.take(), state.wait.take());
        self.leave(py);
        drop(runner);
        drop((wait, state.task.take()));
    }

    /// Looks what was ordered, while the task waits for a future of asyncio's.
    fn _interrupt(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, own) = (slf.py(), slf.get());
        let state = own.state.get(py);
        let Some(task) = state.task.take() else { return Ok(()) };
        let again = task.clone_ref(py);
        state.task.set(Some(task));
        let runner = state.runner.take();
        let future = runner.as_ref().and_then(|runner| runner.foreign(py));
        state.runner.set(runner);
        if future.is_none_or(|future| is_done(py, &future)) {
            // The task goes on anyway, perhaps since somebody has cancelled it.
            return Ok(());
        }
        if own.has_orders(py) {
            state.was_cancelled.set(true);
            return again.call_method0(py, interned!(py, "cancel")).map(drop);
        }
        if let Some(wait) = state.wait.take() {
            wait.resumed();
            Guest::interrupt(&wait, slf.clone().into_any().unbind());
            state.wait.set(Some(wait));
        }
        Ok(())
    }

    /// Ends it, since its loop was closed.
    fn _cut(&self, py: Python<'_>) {
        let state = self.state.get(py);
        let Some(runner) = state.runner.take() else { return };
        let label = self.coro.get().label(py);
        hooks::warn(py, &format!("{label} was ended, since its event loop was closed"));
        state.place.set(None);
        drop(runner);
        drop((state.wait.take(), state.task.take()));
    }

    /// The coroutine that it runs.
    #[getter]
    fn coro(&self, py: Python<'_>) -> Py<Coro> {
        self.coro.clone_ref(py)
    }

    // What `inspect.getcoroutinestate`, and whoever shows a task's stack, asks a coroutine for.

    #[getter]
    fn cr_running(&self, py: Python<'_>) -> bool {
        let ended = self.coro.get().has_ended(py);
        !ended && !self.is_at_rest(py)
    }

    #[getter]
    fn cr_suspended(&self, py: Python<'_>) -> bool {
        let state = self.state.get(py);
        let runner = state.runner.take();
        let is_suspended = runner.as_ref().is_some_and(|runner| runner.has_started());
        state.runner.set(runner);
        is_suspended
    }

    #[getter]
    fn cr_frame(&self, py: Python<'_>) -> Py<PyAny> {
        self.of_outermost(py, "cr_frame", "gi_frame")
    }

    #[getter]
    fn cr_code(&self, py: Python<'_>) -> Py<PyAny> {
        self.of_outermost(py, "cr_code", "gi_code")
    }

    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Py<PyAny> {
        self.of_outermost(py, "cr_await", "gi_yieldfrom")
    }

    #[getter]
    fn __name__(&self, py: Python<'_>) -> String {
        self.coro.get().name(py)
    }

    #[getter]
    fn __qualname__(&self, py: Python<'_>) -> String {
        self.coro.get().name(py)
    }

    // Its loop, which nobody has closed, may be garbage together with all that waits in it. The
    // guest, which lists it, breaks the circle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let state = self.state.visited(&visit);
        visit.call(&self.guest)?;
        let (runner, task) = (state.runner.take(), state.task.take());
        let visited = runner.iter().try_for_each(|runner| runner.visit(&visit));
        let visited = visited.and_then(|()| visit.call(&task));
        state.runner.set(runner);
        state.task.set(task);
        visited
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<run of Coro {}>", self.coro.get().label(py))
    }
}
