//! The lock between the two ends of a mailbox.
//!
//! All access to the state goes through [`Shared::locked`]; what its closures return is woken or
//! dropped after the lock is released.

use std::task::Waker;

use super::state::State;
use crate::{
    coro,
    sync::sharing::{Hint, Sharing, StateCell},
};

/// The part of a mailbox that both ends hold.
pub(in crate::sync) struct Shared<T, S: Sharing> {
    pub(super) state: S::Cell<State<T>>,
    /// Length of the queue after the last access: a hint that saves taking the lock twice. Nothing
    /// depends on its being right.
    pub(super) queued: S::Hint,
    pub(super) capacity: usize,
}

impl<T, S: Sharing> Shared<T, S> {
    /// Calls `act` with the lock held, and returns its result after releasing the lock.
    #[inline]
    pub(super) fn locked<R>(&self, act: impl FnOnce(&mut State<T>) -> R) -> R {
        self.state.with(|state| self.noted(state, act))
    }

    /// Does the same when an end is dropped, but see [`StateCell::with_at_end`].
    #[inline]
    pub(super) fn locked_at_end<R: Default>(&self, act: impl FnOnce(&mut State<T>) -> R) -> R {
        self.state.with_at_end(|state| self.noted(state, act))
    }

    #[inline]
    fn noted<R>(&self, state: &mut State<T>, act: impl FnOnce(&mut State<T>) -> R) -> R {
        let result = act(state);
        self.queued.store(state.queue.len());
        result
    }

    pub(super) fn probably_empty(&self) -> bool {
        self.queued.load() == 0
    }

    pub(super) fn probably_full(&self) -> bool {
        self.queued.load() >= self.capacity
    }
}

#[inline]
pub(super) fn wake(waiting: impl IntoIterator<Item = Waker>) {
    for waker in waiting {
        coro::waker::wake(waker);
    }
}
