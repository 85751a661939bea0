//! The lock between the two ends of a mailbox.
//!
//! All access to the state goes through [`Shared::locked`]; what its closures return is woken or
//! dropped after the lock is released.

use std::task::Waker;

use super::state::State;
use crate::{
    coro, fork,
    primitives::{AtomicUsize, Mutex, Ordering, lock},
};

/// The part of a mailbox that both ends hold.
pub(super) struct Shared<T> {
    pub(super) state: Mutex<State<T>>,
    /// Length of the queue after the last access: a hint that saves taking the lock twice. Nothing
    /// depends on its being right.
    pub(super) queued: AtomicUsize,
    pub(super) capacity: usize,
    /// The number of the process that made it.
    pub(super) process: u32,
}

impl<T> Shared<T> {
    /// Calls `act` with the lock held, and returns its result after releasing the lock.
    #[inline]
    pub(super) fn locked<R>(&self, act: impl FnOnce(&mut State<T>) -> R) -> R {
        let mut state = lock(&self.state);
        let result = act(&mut state);
        self.queued.store(state.queue.len(), Ordering::Relaxed);
        result
    }

    /// Does the same when an end is dropped. In a forked child the lock may be held by a thread
    /// that exists only in the parent; then it does nothing.
    #[inline]
    pub(super) fn locked_at_end<R: Default>(&self, act: impl FnOnce(&mut State<T>) -> R) -> R {
        if self.process != fork::generation() && self.state.try_lock().is_err() {
            return R::default();
        }
        self.locked(act)
    }

    pub(super) fn probably_empty(&self) -> bool {
        self.queued.load(Ordering::Relaxed) == 0
    }

    pub(super) fn probably_full(&self) -> bool {
        self.queued.load(Ordering::Relaxed) >= self.capacity
    }
}

#[inline]
pub(super) fn wake(waiting: impl IntoIterator<Item = Waker>) {
    for waker in waiting {
        coro::waker::wake(waker);
    }
}
