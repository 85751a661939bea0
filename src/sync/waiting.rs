//! The future that waits in a queue, for every lock and channel but the mailbox.
//!
//! A [`Wish`] says what is waited for and where. Its future looks at the state; if that does not
//! have it yet, it takes a place in the queue of the state, and looks again when it is woken. Who
//! gives something to the first of a queue takes that entry out, so a future that does not find its
//! entry was *chosen*; one that is dropped after that passes on what it was given
//! ([`Wish::left`]).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{
    budget::Spending,
    sharing::StateCell,
    wait_queue::{Entry, Renewed, Ticket, WaitQueue, Wakes},
};
use crate::coro;

/// The place of a future in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has none yet.
    New,
    /// It waits.
    Waiting,
    /// Its entry was taken out for it.
    Chosen,
}

/// What a future waits for. It runs no foreign code while it has the state.
pub(super) trait Wish: Unpin {
    type State;
    type Cell: StateCell<Self::State>;
    /// What its entry in the queue tells others.
    type Value;
    /// What it finds in the state.
    type Found;
    type Output;

    fn cell(&self) -> &Self::Cell;
    fn queue(state: &mut Self::State) -> &mut WaitQueue<Self::Value>;
    fn value(&self) -> Self::Value;
    /// Looks whether the state has what it waits for, and takes it.
    fn look(&self, state: &mut Self::State, place: Place, wakes: &mut Wakes)
    -> Option<Self::Found>;
    /// Makes the future's value of it, without the state. Called once.
    fn finish(&mut self, found: Self::Found) -> Self::Output;
    /// Called when the future is dropped with a place, which is `Waiting` (and it has left the
    /// queue) or `Chosen`.
    fn left(&self, _state: &mut Self::State, _place: Place, _wakes: &mut Wakes) {}
}

/// The future of a wish.
#[must_use = "it waits only when this is awaited"]
pub(super) struct Waiting<W: Wish> {
    wish: W,
    ticket: Option<Ticket>,
    spending: Spending,
    is_done: bool,
}

impl<W: Wish> Waiting<W> {
    #[inline]
    pub(super) fn new(wish: W) -> Self {
        Self { wish, ticket: None, spending: Spending::default(), is_done: false }
    }

    /// Makes one that looks, and waits, at its first poll also if the budget is used up.
    pub(super) fn at_once(wish: W) -> Self {
        Self { wish, ticket: None, spending: Spending::none(), is_done: false }
    }
}

impl<W: Wish> Future for Waiting<W> {
    type Output = W::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<W::Output> {
        let Self { wish, ticket, spending, is_done } = self.get_mut();
        assert!(!*is_done, "a future was polled after it had finished");
        let found = poll_wish(wish, ticket, spending, context.waker());
        found.map(|found| {
            *is_done = true;
            wish.finish(found)
        })
    }
}

impl<W: Wish> Drop for Waiting<W> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            leave(&self.wish, ticket);
        }
    }
}

/// Looks whether `wish` has come true; if not, waits for it in the entry of `ticket`, which it
/// makes. Once it has come true, there is neither.
#[inline]
pub(super) fn poll_wish<W: Wish>(
    wish: &W,
    ticket: &mut Option<Ticket>,
    spending: &mut Spending,
    waker: &Waker,
) -> Poll<W::Found> {
    if ticket.is_none() && !spending.may_complete(waker) {
        return Poll::Pending;
    }
    let mut own = None;
    loop {
        let mut wakes = Wakes::default();
        // What an entry holds is dropped after the lock was released.
        let (looked, _left) =
            wish.cell().with(|state| look(wish, state, ticket, waker, &mut own, &mut wakes));
        wakes.wake();
        match looked {
            Looked::Found(found) => return Poll::Ready(found),
            Looked::Waits => return Poll::Pending,
            Looked::NeedsWaker => own = Some(waker.clone()),
        }
    }
}

enum Looked<F> {
    Found(F),
    Waits,
    /// It must wait; call again with a clone of the waker.
    NeedsWaker,
}

/// Looks at the state, and waits. Also returns the wish's entry if it was removed.
#[inline]
fn look<W: Wish>(
    wish: &W,
    state: &mut W::State,
    ticket: &mut Option<Ticket>,
    waker: &Waker,
    own: &mut Option<Waker>,
    wakes: &mut Wakes,
) -> (Looked<W::Found>, Option<Entry<W::Value>>) {
    let place = match *ticket {
        None => Place::New,
        Some(ticket) if W::queue(state).contains(ticket) => Place::Waiting,
        Some(_) => Place::Chosen,
    };
    if let Some(found) = wish.look(state, place, wakes) {
        let left = ticket.take().and_then(|ticket| W::queue(state).remove(ticket));
        return (Looked::Found(found), left);
    }
    // Saves looking once more. A foreign waker must not be cloned here.
    let cloned = own.is_none().then(|| coro::waker::cloned_if_own(waker)).flatten();
    if cloned.is_some() {
        *own = cloned;
    }
    let queue = W::queue(state);
    let renewed = ticket.map_or(Renewed::Removed, |ticket| queue.renew(ticket, waker, own));
    let looked = match (renewed, own) {
        (Renewed::Waiting, _) => Looked::Waits,
        (Renewed::Removed, own @ Some(_)) => {
            *ticket = own.take().map(|own| queue.push(wish.value(), own));
            Looked::Waits
        }
        (Renewed::NeedsWaker, _) | (Renewed::Removed, None) => Looked::NeedsWaker,
    };
    (looked, None)
}

/// Leaves the queue; whoever was chosen already passes on what it was given.
pub(super) fn leave<W: Wish>(wish: &W, ticket: Ticket) {
    let mut wakes = Wakes::default();
    let _left = wish.cell().with_at_end(|state| {
        let entry = W::queue(state).remove(ticket);
        let place = if entry.is_some() { Place::Waiting } else { Place::Chosen };
        wish.left(state, place, &mut wakes);
        entry
    });
    wakes.wake();
}
