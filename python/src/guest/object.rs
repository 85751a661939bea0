//! The guest of a loop: what it holds, what its tasks wait for, and our coroutines that they run.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use asyncoro::coro::Hosted;
use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::wakes::{Ends, Shared, Wait, Waits, Wake};
use crate::{engine::Home, gil::Gil, once::interned};

/// The scheduler that is the guest of one of asyncio's loops.
#[pyclass(frozen, weakref, module = "asyncoro._engine")]
pub(crate) struct Guest {
    pub(super) inner: Gil<Inner>,
}

pub(super) struct Inner {
    pub(super) home: Home,
    /// `None` once it has ended.
    pub(super) hosted: RefCell<Option<Rc<Hosted>>>,
    pub(super) shared: Arc<Shared>,
    pub(super) waits: Rc<RefCell<Waits>>,
    /// An emptied list of wakers, kept to reuse its memory.
    pub(super) spare: Cell<Vec<Arc<Wake>>>,
    /// The loop; it is visited, and forgotten at the end.
    pub(super) running: RefCell<Option<Py<PyAny>>>,
    /// What the loop calls for a turn.
    pub(super) turn: RefCell<Option<Py<PyAny>>>,
    pub(super) turn_is_due: Cell<bool>,
    /// Whether its loop is one of ours, which makes turns without being asked.
    pub(super) is_driven: Cell<bool>,
    /// When the loop will call for a turn by itself, and the handle of that.
    pub(super) deadline: RefCell<Option<(Instant, Py<PyAny>)>>,
    /// Coroutines of ours that tasks of the loop run, to be ended with it.
    pub(super) runs: RefCell<Vec<Option<Py<PyAny>>>>,
    /// The places in that list which are free.
    pub(super) free_runs: RefCell<Vec<usize>>,
    /// How many calls have ended at once since the last turn.
    pub(super) in_a_row: Cell<u32>,
    /// How many forks had led to the process that it was made in.
    pub(super) generation: u32,
}

/// The most calls of a loop's tasks that end at once before other tasks run.
const GREEDY: u32 = 256;

impl Guest {
    pub(super) fn inner<'py>(&'py self, py: Python<'py>) -> &'py Inner {
        self.inner.get(py)
    }

    pub(crate) fn home(&self, py: Python<'_>) -> Home {
        self.inner(py).home
    }

    /// Returns whether its loop runs, in whichever thread.
    pub(crate) fn runs(&self, py: Python<'_>) -> PyResult<bool> {
        self.inner(py).running(py)?.call_method0(interned!(py, "is_running"))?.is_truthy()
    }

    /// Returns whether other tasks must run before a call that may end at once is started.
    pub(crate) fn is_greedy(&self, py: Python<'_>) -> bool {
        let in_a_row = &self.inner(py).in_a_row;
        let count = in_a_row.get() + 1;
        in_a_row.set(if count < GREEDY { count } else { 0 });
        count == GREEDY
    }

    // ---- waits

    /// Begins a wait of a task.
    pub(crate) fn begin(&self, py: Python<'_>) -> Wait {
        let inner = self.inner(py);
        Wait::begin(&inner.waits, &inner.shared)
    }

    /// Makes the future of asyncio's whose task goes on once `wait` was woken; `None` if it was.
    pub(crate) fn suspend(&self, py: Python<'_>, wait: &Wait) -> PyResult<Option<Py<PyAny>>> {
        let running = self.inner(py).running(py)?;
        let future = running.call_method0(interned!(py, "create_future"))?;
        future.setattr(interned!(py, "_asyncio_future_blocking"), true)?;
        let future = future.unbind();
        wait.set(Ends::Future(future.clone_ref(py)));
        if wait.is_woken() {
            // Perhaps by another thread, and it was looked at before.
            wait.set(Ends::Nothing);
            return Ok(None);
        }
        Ok(Some(future))
    }

    /// Lets `_interrupt` of `run` be called once `wait` was woken.
    pub(crate) fn interrupt(wait: &Wait, run: Py<PyAny>) {
        wait.set(Ends::Run(run));
    }

    // ---- coroutines of ours that the loop's tasks run

    /// Adds one, and returns its number.
    pub(crate) fn add_run(&self, py: Python<'_>, run: Py<PyAny>) -> usize {
        let inner = self.inner(py);
        let runs = &mut *inner.runs.borrow_mut();
        match inner.free_runs.borrow_mut().pop() {
            Some(place) => {
                runs[place] = Some(run);
                place
            }
            None => {
                runs.push(Some(run));
                runs.len() - 1
            }
        }
    }

    /// Removes one that has ended.
    pub(crate) fn remove_run(&self, py: Python<'_>, place: usize) {
        let inner = self.inner(py);
        let run = inner.runs.borrow_mut().get_mut(place).and_then(Option::take);
        if run.is_some() {
            inner.free_runs.borrow_mut().push(place);
        }
        drop(run);
    }

    /// Starts a task of the loop's that runs a coroutine object.
    pub(crate) fn start(&self, py: Python<'_>, run: &Bound<'_, PyAny>) -> PyResult<()> {
        let running = self.inner(py).running(py)?;
        running.call_method1(interned!(py, "create_task"), (run,)).map(drop)
    }
}

impl Inner {
    pub(super) fn running<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let running = self.running.borrow();
        running.as_ref().map(|running| running.bind(py).clone()).ok_or_else(closed)
    }
}

#[cold]
pub(super) fn closed() -> PyErr {
    PyRuntimeError::new_err("this event loop is closed")
}
