//! Sending to a channel: with room, with enough subscribers, and until they have taken it.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    mem,
    task::Poll,
};

use super::{
    state::{After, Sent, Unsent},
    subscriber::{CellOf, StateOf},
};
use crate::sync::{
    sharing::{Sharing, StateCell},
    wait_queue::{WaitQueue, Wakes},
    waiting::{Place, Wish},
};

/// Sends a message, and waits for room first.
pub(super) struct Sending<'a, T, S: Sharing> {
    pub(super) cell: &'a CellOf<T, S>,
    /// The message, until it was sent.
    pub(super) message: Cell<Option<S::Pointer<T>>>,
    /// For how many subscribers it is at least.
    pub(super) least: usize,
    /// Whether its delivery is watched.
    pub(super) is_watched: bool,
    /// A message that nobody takes, until it is dropped without the state.
    pub(super) after: Cell<Option<After<S::Pointer<T>>>>,
}

/// What has become of a message; one that was not sent is returned.
pub(super) type Outcome<P> = Result<Sent, (Unsent, P)>;

impl<T, S: Sharing> Wish for Sending<'_, T, S> {
    type State = StateOf<T, S>;
    type Cell = CellOf<T, S>;
    type Value = ();
    type Found = Result<Sent, Unsent>;
    type Output = Outcome<S::Pointer<T>>;

    fn cell(&self) -> &Self::Cell {
        self.cell
    }

    fn queue(state: &mut Self::State) -> &mut WaitQueue<()> {
        &mut state.sending
    }

    fn value(&self) {}

    fn look(
        &self,
        state: &mut Self::State,
        place: Place,
        wakes: &mut Wakes,
    ) -> Option<Self::Found> {
        if place == Place::Waiting && !state.is_closed {
            return None;
        }
        let mut after = After::with(mem::take(wakes));
        let mut message = self.message.take();
        let sent = state.send(&mut message, self.least, self.is_watched, place, &mut after);
        self.message.set(message);
        *wakes = mem::take(&mut after.wakes);
        self.after.set(Some(after));
        match sent {
            Err(Unsent::Full) => None,
            sent => Some(sent),
        }
    }

    fn finish(&mut self, found: Self::Found) -> Self::Output {
        if let Some(after) = self.after.take() {
            after.finish();
        }
        let message = self.message.take();
        found.map_err(|unsent| (unsent, message.expect("what was not sent is still here")))
    }

    fn left(&self, state: &mut Self::State, place: Place, wakes: &mut Wakes) {
        let mut after = After::with(mem::take(wakes));
        state.sender_left(place, &mut after);
        *wakes = mem::take(&mut after.wakes);
    }
}

/// Waits until there are enough subscribers, or the channel is closed.
pub(super) struct Gathered<'a, T, S: Sharing> {
    pub(super) cell: &'a CellOf<T, S>,
    pub(super) least: usize,
}

impl<T, S: Sharing> Wish for Gathered<'_, T, S> {
    type State = StateOf<T, S>;
    type Cell = CellOf<T, S>;
    type Value = ();
    type Found = bool;
    type Output = bool;

    fn cell(&self) -> &Self::Cell {
        self.cell
    }

    fn queue(state: &mut Self::State) -> &mut WaitQueue<()> {
        &mut state.gathering
    }

    fn value(&self) {}

    fn look(&self, state: &mut Self::State, _: Place, _: &mut Wakes) -> Option<bool> {
        let are_there = state.subscribers >= self.least;
        (state.is_closed || are_there).then_some(!state.is_closed)
    }

    fn finish(&mut self, are_there: bool) -> bool {
        are_there
    }
}

/// Waits for the end of the channel.
pub(super) struct Closing<'a, T, S: Sharing>(pub(super) &'a CellOf<T, S>);

impl<T, S: Sharing> Wish for Closing<'_, T, S> {
    type State = StateOf<T, S>;
    type Cell = CellOf<T, S>;
    type Value = ();
    type Found = ();
    type Output = ();

    fn cell(&self) -> &Self::Cell {
        self.0
    }

    fn queue(state: &mut Self::State) -> &mut WaitQueue<()> {
        &mut state.closing
    }

    fn value(&self) {}

    fn look(&self, state: &mut Self::State, _: Place, _: &mut Wakes) -> Option<()> {
        state.is_closed.then_some(())
    }

    fn finish(&mut self, (): ()) {}
}

/// The delivery of a message that was sent.
pub(super) struct Watched<'a, T, S: Sharing> {
    pub(super) cell: &'a CellOf<T, S>,
    /// Its number; none if it was for nobody.
    pub(super) number: Option<u64>,
}

impl<T, S: Sharing> Watched<'_, T, S> {
    /// Waits until each subscriber has taken the message or is gone; returns how many have.
    pub(super) fn over(&self) -> impl Future<Output = usize> + Unpin {
        poll_fn(|cx| {
            let Some(number) = self.number else { return Poll::Ready(0) };
            // Clones and drops of wakers are foreign code.
            let mut waker = Some(cx.waker().clone());
            let taken = self.cell.with(|state| state.end_of_delivery(number, &mut waker));
            taken.map_or(Poll::Pending, Poll::Ready)
        })
    }

    /// Returns how many have taken the message.
    pub(super) fn taken(&self) -> usize {
        self.number.map_or(0, |number| self.cell.with(|state| state.taken(number)))
    }
}

impl<T, S: Sharing> Drop for Watched<'_, T, S> {
    fn drop(&mut self) {
        let _waker = self
            .number
            .and_then(|number| self.cell.with_at_end(|state| state.forget_delivery(number)));
    }
}
