//! Lets one coroutine wait for the answers of all others.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};

/// The bytes answered so far, and the waker of the coroutine that waits for more.
///
/// The coroutine that answers the last byte wakes the waiting one: one wake-up, one clone of a
/// waker and no lock per iteration, on any runtime.
#[derive(Default)]
pub(crate) struct Progress {
    answered: Cell<usize>,
    target: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

impl Progress {
    /// Counts bytes that were answered.
    pub(crate) fn add(&self, bytes: usize) {
        self.answered.set(self.answered.get() + bytes);
        if self.answered.get() >= self.target.get() {
            let waiting = self.waiting.take();
            if let Some(waker) = waiting {
                waker.wake();
            }
        }
    }

    /// Waits until another `bytes` bytes were answered.
    pub(crate) fn another(&self, bytes: usize) -> impl Future<Output = ()> {
        self.target.set(self.target.get() + bytes);
        poll_fn(move |context| {
            if self.answered.get() >= self.target.get() {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
    }
}
