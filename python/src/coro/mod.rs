//! `Coro`: a coroutine as Python has it, and what others do to it.
//!
//! Its state is touched with the GIL held, by any thread. What it runs is elsewhere, in the engine
//! (`runner.rs`), which looks at its orders when it is resumed; so giving one is leaving it here
//! and waking the coroutine.
//!
//! - this file: making one, its state;
//! - `verbs.rs`: what it waits for by itself, and what it is sent;
//! - `orders.rs`: what others ask of it;
//! - `end.rs`: its end, and who is told.
//!
//! Unsafe: what the collector may look at.
#![allow(unsafe_code)]

mod end;
mod orders;
mod verbs;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    task::Waker,
};

use pyo3::{
    exceptions::PyException,
    intern,
    prelude::*,
    types::{PyDict, PyString, PyTuple, PyType},
};

pub(crate) use self::{end::End, orders::Order, verbs::Wait};
use self::{end::Watchers, orders::Rare};
use crate::{call, engine, gc, gil::Gil, hooks, registry, runner::Runner, target};

pub(crate) struct State {
    name: RefCell<Py<PyString>>,
    pub(crate) waker: RefCell<Option<Waker>>,
    pub(crate) mail: RefCell<VecDeque<Py<PyAny>>>,
    pub(crate) wait: Cell<Wait>,
    /// What `resume` has given.
    pub(crate) given: RefCell<Option<Py<PyAny>>>,
    has_orders: Cell<bool>,
    /// What few coroutines ever have.
    rare: RefCell<Option<Box<Rare>>>,
    swappable: Cell<bool>,
    end: RefCell<Option<End>>,
    pub(crate) watchers: RefCell<Option<Box<Watchers>>>,
    daemon: Cell<bool>,
    /// Its place in the registry.
    place: Cell<usize>,
    /// Whether somebody has been told of its exception.
    observed: Cell<bool>,
}

/// A coroutine: a generator function, or an `async def` one, that the scheduler runs.
///
/// >>> def hello(name, coro=None):
/// ...     yield coro.sleep(0.1)
/// ...     return 'hello ' + name
/// >>> asyncoro.Coro(hello, 'you').value()
/// 'hello you'
///
/// A parameter with a default that is named `coro` or `task` gets the coroutine itself.
#[pyclass(frozen, weakref, subclass, module = "asyncoro")]
pub(crate) struct Coro {
    state: Gil<State>,
}

impl Coro {
    pub(crate) fn state<'py>(&'py self, py: Python<'py>) -> &'py State {
        self.state.get(py)
    }

    pub(crate) fn wake(&self, py: Python<'_>) {
        // Out of the cell: a waker may run what comes back here.
        let waker = self.state(py).waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn name(&self, py: Python<'_>) -> String {
        self.state(py).name.borrow().bind(py).to_string()
    }

    /// Its name and number, for people.
    pub(crate) fn label(&self, py: Python<'_>) -> String {
        format!("{}/{}", self.name(py), std::ptr::from_ref(self).addr())
    }

    pub(crate) fn report(&self, py: Python<'_>, error: &PyErr) {
        hooks::report(py, &self.label(py), error);
    }

    fn is_current(&self, py: Python<'_>) -> bool {
        call::with_current(|frame| std::ptr::eq(frame.coro.bind(py).get(), self)).unwrap_or(false)
    }

    fn make(py: Python<'_>, name: Py<PyString>) -> PyResult<Py<Coro>> {
        let state = State {
            name: RefCell::new(name),
            waker: RefCell::new(None),
            mail: RefCell::default(),
            wait: Cell::new(Wait::Nothing),
            given: RefCell::new(None),
            has_orders: Cell::new(false),
            rare: RefCell::new(None),
            swappable: Cell::new(false),
            end: RefCell::new(None),
            watchers: RefCell::new(None),
            daemon: Cell::new(false),
            place: Cell::new(0),
            observed: Cell::new(false),
        };
        let coro = Py::new(py, Coro { state: Gil::new(state) })?;
        gc::untrack(&coro);
        Ok(coro)
    }
}

#[pymethods]
impl Coro {
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<Coro>> {
        let coro = Coro::make(py, intern!(py, "coroutine").clone().unbind())?;
        let (generator, name) = target::call(py, &coro, args, kwargs)?;
        coro.get().state(py).name.replace(name);
        coro.get().state(py).place.set(registry::enter(py, &coro));
        let runner = Runner::new(coro.clone_ref(py), generator);
        if let Err(error) = engine::spawn(py, runner) {
            registry::leave(py, coro.get().state(py).place.get(), false);
            return Err(error);
        }
        Ok(coro)
    }

    /// Its name: that of the function, unless it was swapped.
    #[getter(name)]
    fn get_name(&self, py: Python<'_>) -> Py<PyString> {
        self.state(py).name.borrow().clone_ref(py)
    }

    /// Whether the process may end without it. Only a coroutine itself can say: 0, else -1.
    #[pyo3(signature = (flag = true))]
    fn set_daemon(&self, py: Python<'_>, flag: bool) -> i32 {
        if !self.is_current(py) {
            hooks::warn(py, "set_daemon is for the coroutine itself");
            return -1;
        }
        if self.state(py).daemon.replace(flag) != flag {
            registry::count(py, flag);
        }
        0
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<Coro {}>", self.label(py))
    }

    fn __str__(&self, py: Python<'_>) -> String {
        self.label(py)
    }

    #[classmethod]
    fn __class_getitem__(cls: &Bound<'_, PyType>, _item: &Bound<'_, PyAny>) -> Py<PyType> {
        cls.clone().unbind()
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        // SAFETY: Python's collector runs with the GIL held.
        let state = unsafe { self.state.peek() };
        if let Ok(mail) = state.mail.try_borrow() {
            mail.iter().try_for_each(|message| visit.call(message))?;
        }
        if let Ok(end) = state.end.try_borrow() {
            match &*end {
                Some(End::Value(value)) => visit.call(value)?,
                Some(End::Failed(error)) => visit.call(error)?,
                Some(End::Terminated) | None => {}
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        let state = self.state(py);
        drop(state.mail.take());
        // Whoever asks now is part of the garbage.
        let end = state.end.try_borrow_mut().ok().and_then(|mut end| end.replace(End::Terminated));
        drop(end);
    }
}

/// The error for what is no generator function.
pub(crate) fn no_generator(text: &str) -> PyErr {
    PyException::new_err(format!("{text} is not a generator!"))
}
