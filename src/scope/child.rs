//! `Child<T>`: the handle to a child of a scope, and its value.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    panic::{self, AssertUnwindSafe, Location},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;

use crate::coro::{Ended, Origin, waker::wake};

/// The handle to a child of a [`Scope`](super::Scope): waits for its value, or, if dropped, lets it
/// go on; the scope waits for it in any case.
///
/// # Errors
/// [`Ended::Terminated`], if the scope has ended before the child did, or the child has panicked or
/// failed, which ends the scope.
///
/// # Cancel
/// The child goes on. Its value is lost if the handle is dropped.
pub struct Child<T> {
    slot: Rc<Slot<T>>,
    place: &'static Location<'static>,
}

/// Where a child leaves its value.
pub(super) struct Slot<T> {
    value: Cell<State<T>>,
    waiter: RefCell<Option<Waker>>,
}

enum State<T> {
    Running,
    Ended(T),
    /// Taken, or there is none.
    Gone,
}

impl<T> Slot<T> {
    fn end(&self, value: State<T>) {
        self.value.set(value);
        let waiter = self.waiter.take();
        if let Some(waiter) = waiter {
            wake(waiter);
        }
    }
}

impl<T> Child<T> {
    /// Tells whether the child has ended.
    pub fn is_finished(&self) -> bool {
        let value = self.slot.value.replace(State::Gone);
        let is_running = matches!(value, State::Running);
        self.slot.value.set(value);
        !is_running
    }
}

impl<T> Future for Child<T> {
    type Output = Result<T, Ended>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.slot.value.replace(State::Gone) {
            State::Ended(value) => Poll::Ready(Ok(value)),
            State::Gone => Poll::Ready(Err(Ended::Terminated(Origin::new(None, self.place)))),
            State::Running => {
                self.slot.value.set(State::Running);
                let waker = cx.waker().clone();
                let before = self.slot.waiter.replace(Some(waker));
                drop(before);
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Child<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("ended", &self.is_finished()).finish()
    }
}

/// How a child has ended, for its scope.
pub(super) enum Done<E> {
    Well,
    Failed(E),
    Panicked(Box<dyn Any + Send>),
}

/// Turns the value of a future into that of a child, or a failure of the scope.
pub(super) type Sort<V, T, E> = fn(V) -> Result<T, E>;

pin_project! {
    /// The future of a child.
    pub(super) struct Member<F: Future, T, E> {
        #[pin]
        future: F,
        sort: Sort<F::Output, T, E>,
        // Dropped after the future.
        told: Told<T>,
    }
}

/// Tells the handle, at the latest when it is dropped, that there is no value.
struct Told<T> {
    slot: Rc<Slot<T>>,
    is_done: bool,
}

impl<T> Drop for Told<T> {
    fn drop(&mut self) {
        if !self.is_done {
            self.slot.end(State::Gone);
        }
    }
}

/// Makes a child and its handle.
pub(super) fn new<F: Future, T, E>(
    future: F,
    sort: Sort<F::Output, T, E>,
    place: &'static Location<'static>,
) -> (Member<F, T, E>, Child<T>) {
    let slot = Rc::new(Slot { value: Cell::new(State::Running), waiter: RefCell::new(None) });
    let told = Told { slot: Rc::clone(&slot), is_done: false };
    (Member { future, sort, told }, Child { slot, place })
}

impl<F: Future, T, E> Future for Member<F, T, E> {
    type Output = Done<E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done<E>> {
        let this = self.project();
        let future = this.future;
        let value = match panic::catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => value,
            Err(payload) => return Poll::Ready(Done::Panicked(payload)),
        };
        Poll::Ready(match (this.sort)(value) {
            Ok(value) => {
                this.told.is_done = true;
                this.told.slot.end(State::Ended(value));
                Done::Well
            }
            Err(error) => Done::Failed(error),
        })
    }
}
