//! Defines `Coro`, Python's object of a coroutine, and what others do to it.
//!
//! Any thread that holds the GIL touches its state. What it runs is elsewhere (`runner.rs`), and
//! looks at its orders when it is resumed; so giving one is storing it here and waking the
//! coroutine.
//!
//! - this file: making one, its state; `made.rs`: the quick way to make one;
//! - `verbs.rs`: what it waits for by itself; `mailbox.rs`: what it is sent; `quick.rs`: quick
//!   entries;
//! - `orders.rs`: what others ask of it;
//! - `end.rs`: its end, and who is told; `circle.rs`: those that wait for each other.

mod circle;
mod end;
mod made;
mod mailbox;
mod orders;
mod quick;
mod verbs;

use std::{
    cell::{Cell, RefCell},
    task::Waker,
};

use pyo3::{
    exceptions::{PyException, PyRuntimeError},
    prelude::*,
    types::{PyDict, PyString, PyTuple, PyType},
};

pub(crate) use self::{
    circle::Link,
    end::{End, Failure},
    made::make_fast,
    orders::Order,
    verbs::{Wait, code},
};
use self::{end::Watchers, mailbox::Mail, orders::Rare};
use crate::{
    arguments::Arguments, call, context::Context, engine, exiting, gc, gil::Gil, hooks,
    once::interned, registry, runner::Runner, target,
};

/// The state of a coroutine. A cell is empty while its value is worked on, by our code alone.
struct State {
    name: RefCell<Py<PyString>>,
    waker: Cell<Option<Waker>>,
    mail: Cell<Option<Box<Mail>>>,
    /// The value that `resume` has passed.
    given: Cell<Option<Py<PyAny>>>,
    /// What few coroutines ever have.
    rare: Cell<Option<Box<Rare>>>,
    watchers: Cell<Option<Box<Watchers>>>,
    /// The coroutine for whose end it waits.
    awaits: Cell<Option<Py<Coro>>>,
    end: RefCell<Option<End>>,
    /// Its place in the registry.
    place: Cell<usize>,
    /// How many calls wait for each thing that it keeps, by [`Wait`].
    waits: [Cell<u32>; 2],
    /// Whether other coroutines wait for that.
    has_others: Cell<bool>,
    has_orders: Cell<bool>,
    swappable: Cell<bool>,
    daemon: Cell<bool>,
    /// Whether somebody waits for its exception, which is not logged then.
    observed: Cell<bool>,
}

/// Calls `work` with what is in a box, which is made if there is none.
fn within<T: Default, R>(cell: &Cell<Option<Box<T>>>, work: impl FnOnce(&mut T) -> R) -> R {
    let mut boxed = cell.take().unwrap_or_default();
    let result = work(&mut boxed);
    cell.set(Some(boxed));
    result
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
    fn state<'py>(&'py self, py: Python<'py>) -> &'py State {
        self.state.get(py)
    }

    pub(crate) fn wake(&self, py: Python<'_>) {
        let state = self.state(py);
        let waker = state.waker.take();
        if let Some(waker) = &waker {
            waker.wake_by_ref();
        }
        state.waker.set(waker);
    }

    pub(crate) fn set_waker(&self, py: Python<'_>, waker: &Waker) {
        self.state(py).waker.set(Some(waker.clone()));
    }

    pub(crate) fn name(&self, py: Python<'_>) -> String {
        self.state(py).name.borrow().bind(py).to_string()
    }

    /// Returns its name and number, for texts.
    pub(crate) fn label(&self, py: Python<'_>) -> String {
        format!("{}/{}", self.name(py), self.key())
    }

    pub(crate) fn report(&self, py: Python<'_>, error: &PyErr) {
        if engine::interrupted(py, &error.clone_ref(py).into_value(py)) {
            return;
        }
        hooks::report(py, &self.label(py), error);
    }

    /// Returns its key among those that run (`call/current.rs`).
    pub(crate) fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn is_current(&self) -> bool {
        call::is_current(self.key())
    }

    /// Makes one that has nothing to run: it counts as ended until it begins.
    fn bare(py: Python<'_>) -> Coro {
        let state = State {
            name: RefCell::new(interned!(py, "coroutine").clone().unbind()),
            waker: Cell::new(None),
            mail: Cell::new(None),
            given: Cell::new(None),
            rare: Cell::new(None),
            watchers: Cell::new(None),
            awaits: Cell::new(None),
            end: RefCell::new(Some(End::Terminated)),
            place: Cell::new(NOWHERE),
            waits: [const { Cell::new(0) }; 2],
            has_others: Cell::new(false),
            has_orders: Cell::new(false),
            swappable: Cell::new(false),
            daemon: Cell::new(false),
            observed: Cell::new(false),
        };
        Coro { state: Gil::new(state) }
    }

    /// Calls the function that it runs, and passes it to the scheduler.
    fn begin(slf: &Bound<'_, Coro>, arguments: Arguments<'_, '_>) -> PyResult<()> {
        let (py, state) = (slf.py(), slf.get().state(slf.py()));
        exiting::guard();
        let capacity = mailbox::capacity_in(&arguments)?;
        let (generator, name) = target::called(slf, arguments)?;
        let daemon = registry::starts_as_daemon(py);
        if state.place.get() != NOWHERE {
            return Err(PyRuntimeError::new_err("this coroutine was made already"));
        }
        let context = Context::copy(py)?;
        gc::untrack(slf.as_unbound());
        state.name.replace(name);
        state.end.replace(None);
        state.daemon.set(daemon);
        if let Some(capacity) = capacity {
            slf.get().set_capacity(py, capacity);
        }
        state.place.set(registry::enter(py, slf.as_unbound(), daemon));
        let runner = Runner::new(py, slf.clone().unbind(), generator, context);
        engine::spawn(py, runner).inspect_err(|_| {
            registry::leave(py, state.place.get(), state.daemon.get());
            state.end.replace(Some(End::Terminated));
            gc::track(slf.as_unbound());
        })
    }
}

/// The place in the registry of one that has not begun.
const NOWHERE: usize = usize::MAX;

#[pymethods]
impl Coro {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        py: Python<'_>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Coro {
        Coro::bare(py)
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __init__(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        Arguments::within(args, kwargs, |arguments| Coro::begin(slf, arguments))
    }

    /// The name of the function that it runs.
    #[getter(name)]
    fn get_name(&self, py: Python<'_>) -> Py<PyString> {
        self.state(py).name.borrow().clone_ref(py)
    }

    /// Sets whether the process may end without it: 0, or -1 unless the coroutine itself calls.
    #[pyo3(signature = (flag = true))]
    fn set_daemon(&self, py: Python<'_>, flag: bool) -> i32 {
        if !self.is_current() {
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
    #[pyo3(text_signature = "($cls, item, /)")]
    fn __class_getitem__(cls: &Bound<'_, PyType>, _item: &Bound<'_, PyAny>) -> Py<PyType> {
        cls.clone().unbind()
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        let state = self.state.visited(&visit);
        let mail = state.mail.take();
        let mut messages = mail.iter().flat_map(|mail| &mail.messages);
        let visited = messages.try_for_each(|message| visit.call(message));
        state.mail.set(mail);
        visited?;
        if let Ok(end) = state.end.try_borrow() {
            match &*end {
                Some(End::Value(value)) => visit.call(value)?,
                Some(End::Failed(failure)) => failure.visit(&visit)?,
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

/// Makes the error for what is no generator function.
pub(crate) fn no_generator(text: &str) -> PyErr {
    PyException::new_err(format!("{text} is not a generator!"))
}
