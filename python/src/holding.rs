//! Counts the coroutines that keep the process alive, and tells who waits until none does.

use std::cell::{Cell, RefCell};

use pyo3::prelude::*;

use crate::{engine, gil::Gil, hooks, threads};

/// How many keep the process alive: all but daemons.
static HOLDING: Gil<Cell<usize>> = Gil::new(Cell::new(0));
/// The locks of threads that wait until none does.
static WAITING: Gil<RefCell<Vec<Py<PyAny>>>> = Gil::new(RefCell::new(Vec::new()));
/// Whether the main thread has ended, so that only what holds the process is waited for.
static ENDING: Gil<Cell<bool>> = Gil::new(Cell::new(false));

/// Notes that the main thread has ended.
#[pyfunction]
pub(crate) fn process_ends(py: Python<'_>) {
    ENDING.get(py).set(true);
}

/// Returns whether a coroutine that this thread starts is a daemon: the process, which is ending,
/// waits neither for daemon threads nor for what they start.
pub(crate) fn starts_as_daemon(py: Python<'_>) -> bool {
    ENDING.get(py).get() && !engine::is_here() && hooks::is_daemon_thread(py)
}

/// Counts one more that keeps the process alive.
#[inline]
pub(crate) fn begin(py: Python<'_>) {
    let holding = HOLDING.get(py);
    holding.set(holding.get() + 1);
}

/// Counts one less.
pub(crate) fn end(py: Python<'_>) {
    let holding = HOLDING.get(py);
    holding.set(holding.get() - 1);
    if holding.get() == 0 {
        let waiting = WAITING.get(py).take();
        waiting.iter().for_each(|lock| threads::release(py, lock));
        engine::tell_idle(py);
    }
}

/// Returns whether a coroutine keeps the process alive.
pub(crate) fn is_held(py: Python<'_>) -> bool {
    HOLDING.get(py).get() > 0
}

/// Releases `lock` once none keeps the process alive; `False` if none does now.
#[pyfunction]
pub(crate) fn when_none_holds(py: Python<'_>, lock: Py<PyAny>) -> bool {
    let some = is_held(py);
    if some {
        WAITING.get(py).borrow_mut().push(lock);
    }
    some
}

/// Forgets a lock of `when_none_holds` whose thread waits no longer.
#[pyfunction]
pub(crate) fn give_up(py: Python<'_>, lock: &Bound<'_, PyAny>) {
    let lock = {
        let mut waiting = WAITING.get(py).borrow_mut();
        let place = waiting.iter().position(|other| other.is(lock));
        place.map(|place| waiting.swap_remove(place))
    };
    drop(lock);
}

/// Forgets the parent's coroutines in the child of a fork.
pub(crate) fn forget(py: Python<'_>) {
    HOLDING.get(py).set(0);
    ENDING.get(py).set(false);
    std::mem::forget(WAITING.get(py).take());
}
