//! The lock between the two ends of a mailbox.
//!
//! [`Shared::locked`] is the only way to the state, and what its closures return is woken or
//! dropped only after the lock is released.

use std::task::Waker;

use super::state::State;
use crate::{
    coro, fork,
    primitives::{AtomicUsize, Mutex, Ordering, lock},
};

/// What both ends hold.
pub(super) struct Shared<T> {
    pub(super) state: Mutex<State<T>>,
    /// Length of the queue after the last move. A guess that spares a second lock where it is
    /// right; nothing depends on it.
    pub(super) queued: AtomicUsize,
    pub(super) capacity: usize,
    /// The process that has made it.
    pub(super) process: u32,
}

impl<T> Shared<T> {
    /// Makes one move; what it returns outlives the lock.
    #[inline]
    pub(super) fn locked<R>(&self, make: impl FnOnce(&mut State<T>) -> R) -> R {
        let mut state = lock(&self.state);
        let made = make(&mut state);
        self.queued.store(state.queue.len(), Ordering::Relaxed);
        made
    }

    /// Makes the move of an end that is dropped. In a child that inherited it by fork(2) the lock
    /// may be that of a thread which there is not: then it is left alone.
    #[inline]
    pub(super) fn locked_at_end<R: Default>(&self, make: impl FnOnce(&mut State<T>) -> R) -> R {
        if self.process != fork::generation() && self.state.try_lock().is_err() {
            return R::default();
        }
        self.locked(make)
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
