//! Wakers of what tasks wait for.
//!
//! A waker has the number of a wait in the list of its guest, and no object of Python's: it may be
//! woken, and dropped, by threads that do not have the GIL. What its wake ends is in the list.

use std::{
    cell::RefCell,
    mem,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{self, Waker},
};

use pyo3::prelude::*;

use crate::once::interned;

/// What a guest and its wakers share.
pub(super) struct Shared {
    /// The wakers that were woken since they were looked at. While one is in here, no other wait
    /// gets it, and with it its number. `None` once the guest has ended.
    woken: Mutex<Option<Vec<Arc<Wake>>>>,
    /// Wakes the guest: a coroutine of its own that does nothing else.
    bell: Waker,
    /// Whether the thread of the guest will look at them without that.
    looks: AtomicBool,
}

impl Shared {
    pub(super) fn new(bell: Waker) -> Shared {
        Shared { woken: Mutex::new(Some(Vec::new())), bell, looks: AtomicBool::new(false) }
    }

    /// Sets whether the guest's thread looks at them without being woken; returns what was set.
    pub(super) fn set_looks(&self, looks: bool) -> bool {
        self.looks.swap(looks, Ordering::SeqCst)
    }

    /// Moves them to `into`, which is empty; `false` if there are none.
    pub(super) fn take(&self, into: &mut Vec<Arc<Wake>>) -> bool {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(woken) = &mut *woken {
            mem::swap(woken, into);
        }
        !into.is_empty()
    }

    /// Wakes the guest, from any thread.
    pub(super) fn ring(&self) {
        self.bell.wake_by_ref();
    }

    /// Takes in no more: the guest has ended.
    pub(super) fn close(&self) {
        let left = self.woken.lock().unwrap_or_else(PoisonError::into_inner).take();
        // They refer to this.
        drop(left);
    }
}

/// The waker of a wait.
pub(super) struct Wake {
    place: usize,
    is_woken: AtomicBool,
    shared: Arc<Shared>,
}

impl Wake {
    fn new(place: usize, shared: &Arc<Shared>) -> Arc<Wake> {
        Arc::new(Wake { place, is_woken: AtomicBool::new(false), shared: Arc::clone(shared) })
    }

    /// Returns the number of its wait.
    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// Returns whether it was woken since the last [`Wake::rearm`].
    pub(super) fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::Acquire)
    }

    /// Lets it be woken again.
    fn rearm(&self) {
        self.is_woken.store(false, Ordering::Release);
    }
}

impl task::Wake for Wake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_woken.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut woken = self.shared.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(list) = &mut *woken else { return };
        list.push(Arc::clone(self));
        let is_first = list.len() == 1;
        drop(woken);
        if is_first && !self.shared.looks.load(Ordering::SeqCst) {
            self.shared.bell.wake_by_ref();
        }
    }
}

/// What the wake of a waker ends.
pub(super) enum Ends {
    /// Nothing: its task is not suspended by it, or is about to be resumed.
    Nothing,
    /// A future of asyncio's, which gets a result.
    Future(Py<PyAny>),
    /// A wait of a coroutine of ours for a future of asyncio's: whether it goes on without that is
    /// for its `_interrupt`.
    Run(Py<PyAny>),
}

/// A wait of a task; its drop ends it.
pub(crate) struct Wait {
    wake: Arc<Wake>,
    waits: Rc<RefCell<Waits>>,
}

impl Wait {
    pub(super) fn begin(waits: &Rc<RefCell<Waits>>, shared: &Arc<Shared>) -> Wait {
        let wake = waits.borrow_mut().begin(shared);
        Wait { wake, waits: Rc::clone(waits) }
    }

    /// Returns whether its waker was woken.
    pub(crate) fn is_woken(&self) -> bool {
        self.wake.is_woken()
    }

    /// Returns its waker.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.wake))
    }

    /// Lets nothing happen when it is woken, now and again: its task is resumed.
    pub(crate) fn resumed(&self) {
        self.set(Ends::Nothing);
        self.wake.rearm();
    }

    /// Lets its task go on, if it waits: what it waited for was given up by somebody else.
    pub(crate) fn end(self, py: Python<'_>) {
        let ends = self.waits.borrow_mut().replace(self.wake.place, Ends::Nothing);
        if let Ends::Future(future) = &ends
            && !is_done(py, future)
            && let Err(error) = set_result(py, future)
        {
            error.write_unraisable(py, None);
        }
    }

    /// Sets what a wake ends.
    pub(super) fn set(&self, ends: Ends) {
        let old = self.waits.borrow_mut().replace(self.wake.place, ends);
        // A drop may run any code.
        drop(old);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.set(Ends::Nothing);
        self.waits.borrow_mut().spare.push(Arc::clone(&self.wake));
    }
}

/// The waits of a guest, by their numbers.
#[derive(Default)]
pub(super) struct Waits {
    places: Vec<Ends>,
    /// Wakers of waits that are over. One that nobody else has is used again.
    spare: Vec<Arc<Wake>>,
}

/// How many spare wakers are looked at for one to be used again.
const LOOKED_AT: usize = 4;

impl Waits {
    /// Returns the waker of a new wait.
    fn begin(&mut self, shared: &Arc<Shared>) -> Arc<Wake> {
        // One of which somebody still has a clone would be woken for what has come before.
        let free = |wake: &Arc<Wake>| Arc::strong_count(wake) == 1;
        let from = self.spare.len().saturating_sub(LOOKED_AT);
        if let Some(place) = self.spare[from..].iter().rposition(free) {
            let wake = self.spare.swap_remove(from + place);
            wake.rearm();
            return wake;
        }
        self.places.push(Ends::Nothing);
        Wake::new(self.places.len() - 1, shared)
    }

    /// Sets what a wake ends; returns what it would have ended before.
    pub(super) fn replace(&mut self, place: usize, ends: Ends) -> Ends {
        match self.places.get_mut(place) {
            Some(old) => mem::replace(old, ends),
            None => Ends::Nothing,
        }
    }

    /// Takes what all of them end.
    pub(super) fn take_all(&mut self) -> Vec<Ends> {
        self.spare.clear();
        mem::take(&mut self.places)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Py<PyAny>> {
        self.places.iter().filter_map(|wait| match wait {
            Ends::Nothing => None,
            Ends::Future(object) | Ends::Run(object) => Some(object),
        })
    }
}

/// Returns whether a future of asyncio's is done.
pub(crate) fn is_done(py: Python<'_>, future: &Py<PyAny>) -> bool {
    let done = future.call_method0(py, interned!(py, "done"));
    done.and_then(|done| done.is_truthy(py)).unwrap_or(true)
}

/// Ends a future of asyncio's.
pub(super) fn set_result(py: Python<'_>, future: &Py<PyAny>) -> PyResult<()> {
    future.call_method1(py, interned!(py, "set_result"), (py.None(),)).map(drop)
}
