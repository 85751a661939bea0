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
    state::{Offered, Received, Sent, State, Waits},
};
use crate::sync::{
    budget::Spending,
    sharing::{Sharing, Threads},
    wait_queue::{Ticket, WaitQueue, Wakes},
    waiting::{Place, Wish},
};

/// The future of [`Sender::send`](super::Sender::send).
#[must_use = "a message is sent only when this is awaited"]
pub struct Sending<'a, T, S: Sharing = Threads> {
    shared: &'a Shared<T, S>,
    step: Step<T>,
    spending: Spending,
}

enum Step<T> {
    New(T),
    Waiting(Ticket),
    Done,
}

impl<'a, T, S: Sharing> Sending<'a, T, S> {
    pub(super) fn new(shared: &'a Shared<T, S>, value: T) -> Self {
        Self { shared, step: Step::New(value), spending: Spending::default() }
    }
}

// The value is only moved, never pinned.
impl<T, S: Sharing> Unpin for Sending<'_, T, S> {}

impl<T, S: Sharing> Future for Sending<'_, T, S> {
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

impl<T, S: Sharing> Drop for Sending<'_, T, S> {
    fn drop(&mut self) {
        if let Step::Waiting(ticket) = self.step {
            drop(self.shared.locked_at_end(|state| state.withdraw(ticket)));
        }
    }
}

impl<T, S: Sharing> fmt::Debug for Sending<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

/// The future of [`Receiver::receive`](super::Receiver::receive).
#[must_use = "a message is received only when this is awaited"]
pub struct Receiving<'a, T, S: Sharing = Threads> {
    shared: &'a Shared<T, S>,
    ticket: Option<Ticket>,
    spending: Spending,
}

impl<'a, T, S: Sharing> Receiving<'a, T, S> {
    pub(super) fn new(shared: &'a Shared<T, S>) -> Self {
        Self { shared, ticket: None, spending: Spending::default() }
    }
}

impl<T, S: Sharing> Future for Receiving<'_, T, S> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, ticket, spending } = &mut *self;
        poll_receive(shared, Waits::AsFuture, ticket, spending, context.waker())
    }
}

impl<T, S: Sharing> Drop for Receiving<'_, T, S> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let stop = |state: &mut State<T>| Some(state.stop_receiving(ticket));
        if let Some(Err(next)) = self.shared.locked_at_end(stop) {
            wake(next);
        }
    }
}

impl<T, S: Sharing> fmt::Debug for Receiving<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").finish_non_exhaustive()
    }
}

/// Takes a message, or waits for one in the entry of `ticket`.
pub(super) fn poll_receive<T, S: Sharing>(
    shared: &Shared<T, S>,
    waits: Waits,
    ticket: &mut Option<Ticket>,
    spending: &mut Spending,
    waker: &Waker,
) -> Poll<Option<T>> {
    let empty = shared.probably_empty();
    if !empty && ticket.is_none() && !spending.may_complete(waker) {
        return Poll::Pending;
    }
    if !empty
        && ticket.is_none()
        && let Ok(taken) = shared.locked(State::take)
    {
        return Poll::Ready(Some(taken.finish()));
    }
    let mut own = empty.then(|| waker.clone());
    loop {
        let (received, _left) =
            shared.locked(|state| state.receive(waits, ticket, waker, &mut own));
        match received {
            Received::Message(taken) => return Poll::Ready(Some(taken.finish())),
            Received::Over => return Poll::Ready(None),
            Received::Waiting => return Poll::Pending,
            Received::NeedsWaker => own = Some(waker.clone()),
        }
    }
}

/// Waits for the end of a mailbox.
pub(super) struct Closing<'a, T, S: Sharing>(pub(super) &'a Shared<T, S>);

impl<T, S: Sharing> Wish for Closing<'_, T, S> {
    type State = State<T>;
    type Cell = S::Cell<State<T>>;
    type Value = ();
    type Found = ();
    type Output = ();

    fn cell(&self) -> &Self::Cell {
        &self.0.state
    }

    fn queue(state: &mut State<T>) -> &mut WaitQueue<()> {
        &mut state.closing
    }

    fn value(&self) {}

    fn look(&self, state: &mut State<T>, _: Place, _: &mut Wakes) -> Option<()> {
        state.is_closed().then_some(())
    }

    fn finish(&mut self, (): ()) {}
}

/// The next step of a `Sending`, and what its poll returns.
type Polled<T> = (Step<T>, Poll<Result<(), SendError<T>>>);

/// Queues `value`, or waits with it.
fn start<T, S: Sharing>(shared: &Shared<T, S>, mut value: T, waker: &Waker) -> Polled<T> {
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
fn poll_waiting<T, S: Sharing>(shared: &Shared<T, S>, ticket: Ticket, waker: &Waker) -> Polled<T> {
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
