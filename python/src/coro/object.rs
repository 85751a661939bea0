//! The Python object of a coroutine, and its state, which any thread that holds the GIL touches.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    task::Waker,
};

use pyo3::{
    prelude::*,
    types::{PyString, PyType},
};

use super::{end::End, mail::Mail, order::Rare, ties::Ties};
use crate::{
    call,
    engine::{self, Home},
    gil::Gil,
    hooks,
    once::interned,
};

/// Makes a Python int of a status.
pub(crate) fn code(py: Python<'_>, code: i32) -> PyResult<Py<PyAny>> {
    Ok(code.into_pyobject(py)?.into_any().unbind())
}

/// The state of a coroutine. A cell is empty while its value is worked on, by our code alone.
pub(super) struct State {
    pub(super) name: RefCell<Py<PyString>>,
    pub(super) waker: Cell<Option<Waker>>,
    pub(super) mail: Cell<Option<Box<Mail>>>,
    /// The value that `resume` has passed.
    pub(super) given: Cell<Option<Py<PyAny>>>,
    /// What few coroutines ever have.
    pub(super) rare: Cell<Option<Box<Rare>>>,
    pub(super) watchers: Cell<Option<Box<Watchers>>>,
    /// The locks that it holds, and whatever else has to hear of its end.
    pub(super) ties: Cell<Option<Box<Ties>>>,
    /// The coroutine for whose end it waits.
    pub(super) awaits: Cell<Option<Py<Coro>>>,
    pub(super) end: RefCell<Option<End>>,
    /// Its place in the registry.
    pub(super) place: Cell<usize>,
    /// How many calls wait for each thing that it keeps, by `Wait` (`kept.rs`).
    pub(super) waits: [Cell<u32>; 2],
    /// Whether other coroutines wait for that.
    pub(super) has_others: Cell<bool>,
    pub(super) has_orders: Cell<bool>,
    pub(super) swappable: Cell<bool>,
    pub(super) daemon: Cell<bool>,
    /// The guest of asyncio's on which it runs, if a task of that runs it.
    pub(super) home: Cell<Home>,
    /// Whether it stands for a task of asyncio's (`standing.rs`).
    pub(super) stands: Cell<bool>,
    /// Whether somebody waits for its exception, which is not logged then.
    pub(super) observed: Cell<bool>,
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

impl Watchers {
    pub(super) fn is_empty(&self) -> bool {
        self.coroutines.is_empty()
            && self.threads.is_empty()
            && self.monitors.is_empty()
            && self.callbacks.is_empty()
    }
}

/// Calls `work` with what is in a box, which is made if there is none.
pub(super) fn within<T: Default, R>(
    cell: &Cell<Option<Box<T>>>,
    work: impl FnOnce(&mut T) -> R,
) -> R {
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
    pub(super) fn state<'py>(&'py self, py: Python<'py>) -> &'py State {
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

    /// Returns the guest of asyncio's on which it runs.
    pub(super) fn home(&self, py: Python<'_>) -> Home {
        self.state(py).home.get()
    }

    pub(crate) fn has_ended(&self, py: Python<'_>) -> bool {
        self.state(py).end.borrow().is_some()
    }

    /// Notes that somebody waits for the end and gets its exception, which is not logged then.
    pub(crate) fn observe(&self, py: Python<'_>) {
        self.state(py).observed.set(true);
    }

    /// Calls `change` with the watchers; it may run no foreign code.
    pub(crate) fn watch<R>(&self, py: Python<'_>, change: impl FnOnce(&mut Watchers) -> R) -> R {
        within(&self.state(py).watchers, change)
    }

    /// Calls `change` with its ties; it may run no foreign code.
    pub(crate) fn tie<R>(&self, py: Python<'_>, change: impl FnOnce(&mut Ties) -> R) -> R {
        within(&self.state(py).ties, change)
    }

    /// Calls `f` with what few coroutines have; it may run no foreign code.
    pub(super) fn rarely<R>(&self, py: Python<'_>, f: impl FnOnce(&mut Rare) -> R) -> R {
        within(&self.state(py).rare, f)
    }

    pub(super) fn is_current(&self) -> bool {
        call::is_current(self.key())
    }

    /// Makes one that has nothing to run: it counts as ended until it begins.
    pub(super) fn bare(py: Python<'_>) -> Coro {
        let state = State {
            name: RefCell::new(interned!(py, "coroutine").clone().unbind()),
            waker: Cell::new(None),
            mail: Cell::new(None),
            given: Cell::new(None),
            rare: Cell::new(None),
            watchers: Cell::new(None),
            ties: Cell::new(None),
            awaits: Cell::new(None),
            end: RefCell::new(Some(End::Terminated)),
            place: Cell::new(NOWHERE),
            waits: [const { Cell::new(0) }; 2],
            has_others: Cell::new(false),
            has_orders: Cell::new(false),
            swappable: Cell::new(false),
            daemon: Cell::new(false),
            home: Cell::new(Home::NONE),
            stands: Cell::new(false),
            observed: Cell::new(false),
        };
        Coro { state: Gil::new(state) }
    }
}

/// The place in the registry of one that has not begun.
pub(super) const NOWHERE: usize = usize::MAX;

#[pymethods]
impl Coro {
    /// The name of the function that it runs.
    #[getter(name)]
    fn get_name(&self, py: Python<'_>) -> Py<PyString> {
        self.state(py).name.borrow().clone_ref(py)
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
