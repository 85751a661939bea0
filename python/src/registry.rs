//! Lists the coroutines that have not ended: to end them all, to name them, and to know when none
//! keeps the process alive any more.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Poll, Waker},
};

use pyo3::prelude::*;

use crate::{coro::Coro, engine, gil::Gil, hooks, threads};

#[derive(Default)]
struct Alive {
    places: Vec<Option<Py<Coro>>>,
    free: Vec<usize>,
}

impl Alive {
    fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }
}

static ALIVE: Gil<RefCell<Alive>> =
    Gil::new(RefCell::new(Alive { places: Vec::new(), free: Vec::new() }));
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

/// Wakes the scheduler that waits until there is none.
static EMPTY: Gil<Cell<Option<Waker>>> = Gil::new(Cell::new(None));

/// Is ready once no coroutine is left.
pub(crate) fn poll_empty(py: Python<'_>, cx: &mut Context<'_>) -> Poll<()> {
    let is_empty = ALIVE.get(py).borrow().is_empty();
    if is_empty {
        return Poll::Ready(());
    }
    EMPTY.get(py).set(Some(cx.waker().clone()));
    Poll::Pending
}

/// Adds a coroutine, and returns its place.
pub(crate) fn enter(py: Python<'_>, coro: &Py<Coro>, daemon: bool) -> usize {
    let holding = HOLDING.get(py);
    holding.set(holding.get() + usize::from(!daemon));
    let alive = &mut *ALIVE.get(py).borrow_mut();
    let coro = Some(coro.clone_ref(py));
    match alive.free.pop() {
        Some(place) => {
            alive.places[place] = coro;
            place
        }
        None => {
            alive.places.push(coro);
            alive.places.len() - 1
        }
    }
}

/// Removes a coroutine that has ended.
pub(crate) fn leave(py: Python<'_>, place: usize, daemon: bool) {
    let coro = {
        let alive = &mut *ALIVE.get(py).borrow_mut();
        let coro = alive.places.get_mut(place).and_then(Option::take);
        if coro.is_some() {
            alive.free.push(place);
        }
        if alive.is_empty()
            && let Some(waker) = EMPTY.get(py).take()
        {
            waker.wake();
        }
        coro
    };
    if coro.is_some() && !daemon {
        count(py, true);
    }
}

/// Counts one less, or one more, that keeps the process alive.
pub(crate) fn count(py: Python<'_>, less: bool) {
    let holding = HOLDING.get(py);
    holding.set(if less { holding.get() - 1 } else { holding.get() + 1 });
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

/// Returns the coroutines that have not ended.
#[pyfunction]
pub(crate) fn alive(py: Python<'_>) -> Vec<Py<Coro>> {
    let alive = ALIVE.get(py).borrow();
    alive.places.iter().flatten().map(|coro| coro.clone_ref(py)).collect()
}

/// Releases `lock` once none keeps the process alive; `False` if none does now.
#[pyfunction]
pub(crate) fn when_none_holds(py: Python<'_>, lock: Py<PyAny>) -> bool {
    let some = HOLDING.get(py).get() > 0;
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

/// Forgets all coroutines in the child of a fork: they are the parent's.
pub(crate) fn forget(py: Python<'_>) {
    std::mem::forget(ALIVE.get(py).take());
    std::mem::forget(EMPTY.get(py).take());
    HOLDING.get(py).set(0);
    ENDING.get(py).set(false);
    std::mem::forget(WAITING.get(py).take());
}
