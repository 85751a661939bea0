//! The futures of a mailbox: [`Sending`] and [`Receiving`].
//!
//! Both try at their first poll, then wait in a queue of `state.rs` until they are taken out or
//! dropped. If the length of the queue suggests a wait, the waker is cloned before the lock is
//! taken; if that hint was wrong, the lock is taken once more.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{
    error::SendError,
    shared::{Shared, wake},
    state::{Offered, Received, Sent, State, Taken},
};
use crate::sync::{budget::Spending, wait_queue::Ticket};

/// The future of [`Sender::send`](super::Sender::send).
#[must_use = "a message is sent only when this is awaited"]
pub struct Sending<'a, T> {
    shared: &'a Shared<T>,
    step: Step<T>,
    spending: Spending,
}

enum Step<T> {
    New(T),
    Waiting(Ticket),
    Done,
}

impl<'a, T> Sending<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, value: T) -> Self {
        Self { shared, step: Step::New(value), spending: Spending::default() }
    }
}

// The value is only moved, never pinned.
impl<T> Unpin for Sending<'_, T> {}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.shared;
        let waker = context.waker();
        let (step, result) = match mem::replace(&mut self.step, Step::Done) {
            Step::New(value) if shared.probably_full() || self.spending.may_complete(waker) => {
                start(shared, value, waker)
            }
            Step::New(value) => (Step::New(value), Poll::Pending),
            Step::Waiting(ticket) => poll_waiting(shared, ticket, waker),
            Step::Done => panic!("a `Sending` was polled after it had finished"),
        };
        self.step = step;
        result
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        if let Step::Waiting(ticket) = self.step {
            drop(self.shared.locked(|state| state.withdraw(ticket)));
        }
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

/// The future of [`Receiver::receive`](super::Receiver::receive).
#[must_use = "a message is received only when this is awaited"]
pub struct Receiving<'a, T> {
    shared: &'a Shared<T>,
    ticket: Option<Ticket>,
    spending: Spending,
}

impl<'a, T> Receiving<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>) -> Self {
        Self { shared, ticket: None, spending: Spending::default() }
    }
}

impl<T> Future for Receiving<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, ticket, spending } = &mut *self;
        let waker = context.waker();
        let empty = shared.probably_empty();
        if !empty && ticket.is_none() && !spending.may_complete(waker) {
            return Poll::Pending;
        }
        if !empty
            && ticket.is_none()
            && let Ok(Taken { value, accepted }) = shared.locked(State::take)
        {
            wake(accepted);
            return Poll::Ready(Some(value));
        }
        let mut own = empty.then(|| waker.clone());
        loop {
            let (received, _left) = shared.locked(|state| state.receive(ticket, waker, &mut own));
            match received {
                Received::Message(Taken { value, accepted }) => {
                    wake(accepted);
                    return Poll::Ready(Some(value));
                }
                Received::Over => return Poll::Ready(None),
                Received::Waiting => return Poll::Pending,
                Received::NeedsWaker => own = Some(waker.clone()),
            }
        }
    }
}

impl<T> Drop for Receiving<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        if let Err(next) = self.shared.locked(|state| state.stop_receiving(ticket)) {
            wake(next);
        }
    }
}

impl<T> fmt::Debug for Receiving<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").finish_non_exhaustive()
    }
}

/// The next step of a `Sending`, and what its poll returns.
type Polled<T> = (Step<T>, Poll<Result<(), SendError<T>>>);

/// Queues `value`, or waits with it.
fn start<T>(shared: &Shared<T>, mut value: T, waker: &Waker) -> Polled<T> {
    let mut own = shared.probably_full().then(|| waker.clone());
    loop {
        match shared.locked(|state| state.offer(value, &mut own)) {
            Offered::Accepted(receiver) => {
                wake(receiver);
                return (Step::Done, Poll::Ready(Ok(())));
            }
            Offered::Waiting(ticket) => return (Step::Waiting(ticket), Poll::Pending),
            Offered::NeedsWaker(back) => value = back,
            Offered::Closed(value) => {
                return (Step::Done, Poll::Ready(Err(SendError(value))));
            }
        }
        own = Some(waker.clone());
    }
}

/// Polls the waiting value with `ticket`.
fn poll_waiting<T>(shared: &Shared<T>, ticket: Ticket, waker: &Waker) -> Polled<T> {
    let mut own = None;
    loop {
        match shared.locked(|state| state.sent(ticket, waker, &mut own)) {
            Sent::Accepted => return (Step::Done, Poll::Ready(Ok(()))),
            Sent::Waiting => return (Step::Waiting(ticket), Poll::Pending),
            Sent::NeedsWaker => own = Some(waker.clone()),
            Sent::Closed(place) => {
                return (Step::Done, Poll::Ready(Err(SendError(place.value))));
            }
        }
    }
}
