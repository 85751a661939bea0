//! The guests that there are in this process, and the one that a thread has used last.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    mem::{self, ManuallyDrop},
    rc::{Rc, Weak},
};

use asyncoro::coro::Hosted;
use pyo3::{
    exceptions::PyRuntimeError,
    prelude::*,
    types::{PyWeakrefMethods, PyWeakrefReference},
};

use super::object::{Guest, Inner, closed};
use crate::{
    engine::{self, Home},
    exiting,
    gil::Gil,
};

/// Counts the forks that have led to this process.
static GENERATION: Gil<Cell<u32>> = Gil::new(Cell::new(0));

/// Weak references to a guest, which Python's collector clears before what is in it has ended, and
/// to its scheduler.
struct Listed {
    guest: Py<PyWeakrefReference>,
    hosted: Weak<Hosted>,
}

/// All guests that have not ended.
static ALL: Gil<RefCell<BTreeMap<Home, Listed>>> = Gil::new(RefCell::new(BTreeMap::new()));

thread_local! {
    /// The guest that was used last in this thread. It is not dropped with the thread, which has no
    /// GIL then.
    static LAST: RefCell<ManuallyDrop<Option<Last>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// A guest that a thread has used. It keeps neither that nor its loop alive, which another thread
/// may close, or nobody.
struct Last {
    /// The address of its loop, which is no other one's while the guest has not ended.
    address: usize,
    home: Home,
    guest: Py<PyWeakrefReference>,
}

impl Last {
    fn guest<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Guest>> {
        let guest = self.guest.bind(py).upgrade_as::<Guest>().ok().flatten()?;
        let has_ended = guest.get().inner(py).hosted.borrow().is_none();
        (!has_ended).then_some(guest)
    }
}

/// Returns how many forks have led to this process.
pub(crate) fn generation(py: Python<'_>) -> u32 {
    GENERATION.get(py).get()
}

/// Forgets all guests in the child of a fork: they are the parent's.
pub(crate) fn forget(py: Python<'_>) {
    let generation = GENERATION.get(py);
    generation.set(generation.get() + 1);
    LAST.with_borrow_mut(|last| mem::forget(last.take()));
    mem::forget(ALL.get(py).take());
}

/// Adds a guest.
pub(super) fn add(guest: &Bound<'_, Guest>) -> PyResult<()> {
    let (py, inner) = (guest.py(), guest.get().inner(guest.py()));
    let hosted = inner.hosted.borrow().as_ref().map_or_else(Weak::new, Rc::downgrade);
    let guest = PyWeakrefReference::new(guest.as_any())?.unbind();
    ALL.get(py).borrow_mut().insert(inner.home, Listed { guest, hosted });
    Ok(())
}

/// Removes one that ends.
pub(super) fn remove(py: Python<'_>, home: Home) {
    let listed = ALL.get(py).borrow_mut().remove(&home);
    drop(listed);
}

/// Lets this thread forget one that has ended.
pub(super) fn forget_one(home: Home) {
    let last = LAST.with_borrow_mut(|last| match &**last {
        Some(kept) if kept.home == home => last.take(),
        _ => None,
    });
    drop(last);
}

/// Returns the guest that this thread has used last, if it belongs to this thread now.
pub(super) fn last(py: Python<'_>) -> Option<Bound<'_, Guest>> {
    LAST.with_borrow(|last| match &**last {
        Some(last) if last.home.is_here() => last.guest(py),
        _ => None,
    })
}

/// Returns the scheduler of this thread, if its guest is being collected.
pub(super) fn collected(py: Python<'_>) -> Option<Rc<Hosted>> {
    ALL.get(py).borrow().get(&engine::here())?.hosted.upgrade()
}

impl Guest {
    /// Returns the guest that was used last in this thread, if it is the one of this loop.
    pub(super) fn last_here<'py>(
        py: Python<'py>,
        running: &Bound<'py, PyAny>,
    ) -> Option<Bound<'py, Guest>> {
        LAST.with_borrow(|last| match &**last {
            Some(last) if last.address == running.as_ptr().addr() => last.guest(py),
            _ => None,
        })
    }

    /// Makes it the scheduler of this thread, in which its loop runs.
    pub(crate) fn stays(guest: &Bound<'_, Guest>) -> PyResult<()> {
        let (py, inner) = (guest.py(), guest.get().inner(guest.py()));
        inner.refuse_in_child(py)?;
        if inner.hosted.borrow().is_none() {
            return Err(closed());
        }
        refuse_in_scheduler()?;
        engine::stay(inner.home);
        let is_last = LAST.with_borrow(|last| match &**last {
            Some(last) => last.home == inner.home,
            None => false,
        });
        if !is_last {
            exiting::guard();
            let address =
                inner.running.borrow().as_ref().map_or(0, |running| running.as_ptr().addr());
            let guest = PyWeakrefReference::new(guest.as_any())?.unbind();
            let new = Last { address, home: inner.home, guest };
            let last = LAST.with_borrow_mut(|last| last.replace(new));
            drop(last);
        }
        Ok(())
    }

    /// Returns the guest with that home.
    pub(crate) fn of<'py>(py: Python<'py>, home: Home) -> Option<Bound<'py, Guest>> {
        let all = ALL.get(py).borrow();
        all.get(&home)?.guest.bind(py).upgrade_as::<Guest>().ok().flatten()
    }
}

impl Inner {
    pub(super) fn refuse_in_child(&self, py: Python<'_>) -> PyResult<()> {
        if self.generation == GENERATION.get(py).get() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "this event loop is of the parent of a fork: run a new one in the child, by \
             asyncio.run()",
        ))
    }
}

/// Refuses a loop in a coroutine of the process's scheduler.
pub(super) fn refuse_in_scheduler() -> PyResult<()> {
    if engine::in_scheduler() {
        return Err(PyRuntimeError::new_err(
            "this event loop runs in a coroutine of asyncoro, whose scheduler it blocks: call \
             asyncio.run() outside, where our coroutines and asyncio's tasks work together",
        ));
    }
    Ok(())
}
