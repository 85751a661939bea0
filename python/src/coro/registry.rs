//! Lists the coroutines that have not ended: to end them all, and to name them.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Poll, Waker},
};

use pyo3::prelude::*;

use super::object::Coro;
use crate::{engine::Home, gil::Gil, holding};

#[derive(Default)]
struct Alive {
    /// Each with the guest of asyncio's on which it runs.
    places: Vec<Option<(Py<Coro>, Home)>>,
    free: Vec<usize>,
    /// How many run on guests.
    guests: usize,
}

impl Alive {
    /// Returns whether none is left on the process's scheduler.
    fn is_empty(&self) -> bool {
        self.places.len() == self.free.len() + self.guests
    }
}

static ALIVE: Gil<RefCell<Alive>> =
    Gil::new(RefCell::new(Alive { places: Vec::new(), free: Vec::new(), guests: 0 }));
/// Wakes the scheduler that waits until there is none.
static EMPTY: Gil<Cell<Option<Waker>>> = Gil::new(Cell::new(None));

/// Is ready once no coroutine is left on the process's scheduler.
pub(crate) fn poll_empty(py: Python<'_>, cx: &mut Context<'_>) -> Poll<()> {
    let is_empty = ALIVE.get(py).borrow().is_empty();
    if is_empty {
        return Poll::Ready(());
    }
    EMPTY.get(py).set(Some(cx.waker().clone()));
    Poll::Pending
}

/// Adds a coroutine, and returns its place. One on a guest does not keep the process alive.
pub(crate) fn enter(py: Python<'_>, coro: &Py<Coro>, daemon: bool, home: Home) -> usize {
    let is_guest = home != Home::NONE;
    if !daemon && !is_guest {
        holding::begin(py);
    }
    let alive = &mut *ALIVE.get(py).borrow_mut();
    alive.guests += usize::from(is_guest);
    let coro = Some((coro.clone_ref(py), home));
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
pub(crate) fn leave(py: Python<'_>, place: usize, daemon: bool, home: Home) {
    let is_guest = home != Home::NONE;
    let coro = {
        let alive = &mut *ALIVE.get(py).borrow_mut();
        let coro = alive.places.get_mut(place).and_then(Option::take);
        if coro.is_some() {
            alive.free.push(place);
            alive.guests -= usize::from(is_guest);
        }
        if alive.is_empty()
            && let Some(waker) = EMPTY.get(py).take()
        {
            waker.wake();
        }
        coro
    };
    if coro.is_some() && !daemon && !is_guest {
        holding::end(py);
    }
}

/// Wakes all of them.
pub(crate) fn wake_all(py: Python<'_>) {
    let alive = ALIVE.get(py).borrow();
    let all: Vec<Py<Coro>> =
        alive.places.iter().flatten().map(|(coro, _)| coro.clone_ref(py)).collect();
    drop(alive);
    all.iter().for_each(|coro| coro.get().wake(py));
}

/// Returns the coroutines of the process's scheduler that have not ended.
#[pyfunction]
pub(crate) fn alive(py: Python<'_>) -> Vec<Py<Coro>> {
    let alive = ALIVE.get(py).borrow();
    let own = alive.places.iter().flatten().filter(|(_, home)| *home == Home::NONE);
    own.map(|(coro, _)| coro.clone_ref(py)).collect()
}

/// Forgets all coroutines in the child of a fork: they are the parent's.
pub(crate) fn forget(py: Python<'_>) {
    std::mem::forget(ALIVE.get(py).take());
    std::mem::forget(EMPTY.get(py).take());
}
