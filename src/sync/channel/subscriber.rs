//! The receiving end of a channel.

use std::{
    error::Error,
    fmt,
    future::Future,
    mem,
    task::{Context, Poll},
};

use super::state::{After, Next, State};
use crate::sync::{
    budget::Spending,
    sharing::{Pointer, Sharing, StateCell, Threads},
    wait_queue::{Ticket, WaitQueue, Wakes},
    waiting::{Place, Waiting, Wish, poll_wish},
};

pub(super) type StateOf<T, S> = State<<S as Sharing>::Pointer<T>>;
pub(super) type CellOf<T, S> = <S as Sharing>::Cell<StateOf<T, S>>;
pub(super) type Shared<T, S> = <S as Sharing>::Pointer<CellOf<T, S>>;

/// Receives what is sent to a [`Channel`](super::Channel) from the moment on in which it
/// subscribed, until it is dropped.
pub struct Subscriber<T, S: Sharing = Threads> {
    shared: Shared<T, S>,
    /// The position of the message that it takes next.
    position: u64,
    /// Whether the stream has told that it was disconnected.
    #[cfg(feature = "futures-io")]
    has_ended: bool,
    /// The place of `poll_next`.
    ticket: Option<Ticket>,
    spending: Spending,
}

/// Why a subscriber has no next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// It was slow, and so many messages were dropped since the last one that it has received. The
    /// next call goes on behind them.
    Lost(u64),
    /// It was slow, and was disconnected. What it had not received is lost.
    Disconnected,
    /// The channel is closed, and it has received everything.
    Closed,
}

impl<T, S: Sharing> Subscriber<T, S> {
    pub(super) fn new(shared: &Shared<T, S>) -> Self {
        let mut wakes = Wakes::default();
        let position = shared.with(|state| state.subscribe(&mut wakes));
        wakes.wake();
        Self {
            shared: shared.clone(),
            position,
            #[cfg(feature = "futures-io")]
            has_ended: false,
            ticket: None,
            spending: Spending::default(),
        }
    }

    /// Tells whether it was disconnected, being slow.
    pub fn is_disconnected(&self) -> bool {
        self.shared.with(|state| state.is_disconnected(self.position))
    }

    /// Returns how many messages it can receive now.
    pub fn len(&self) -> usize {
        self.shared.with(|state| state.unread(self.position))
    }

    /// Tells whether it would have to wait for a message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone, S: Sharing> Subscriber<T, S> {
    /// Takes the next message, waiting for one: a clone of it, or for the last who takes it the
    /// message itself.
    ///
    /// # Errors
    /// [`ReceiveError`]; after `Lost` it goes on.
    ///
    /// # Cancel
    /// No message was taken.
    pub fn receive(&mut self) -> impl Future<Output = Result<T, ReceiveError>> + Unpin {
        Waiting::new(Receiving { subscriber: self })
    }

    /// Polls for the next message, as [`receive`](Self::receive) does. For futures written by hand.
    pub fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<T, ReceiveError>> {
        let (mut ticket, mut spending) = (self.ticket.take(), mem::take(&mut self.spending));
        let mut receiving = Receiving { subscriber: self };
        let polled = poll_wish(&receiving, &mut ticket, &mut spending, context.waker());
        let received = polled.map(|found| receiving.finish(found));
        self.ticket = ticket;
        if received.is_pending() {
            self.spending = spending;
        }
        received
    }

    /// Polls as a stream, which ends after its last error.
    #[cfg(feature = "futures-io")]
    pub(crate) fn poll_streamed(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T, ReceiveError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        self.poll_receive(context).map(|received| {
            self.has_ended = matches!(received, Err(ReceiveError::Disconnected));
            Some(received).filter(|received| !matches!(received, Err(ReceiveError::Closed)))
        })
    }

    /// Takes the next message if there is one now.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn try_receive(&mut self) -> Result<Option<T>, ReceiveError> {
        let mut after = After::default();
        let Self { shared, position, .. } = self;
        let next = shared.with(|state| state.take(position, &mut after));
        after.wakes.wake();
        next.map(value_of::<T, S>).transpose()
    }
}

fn value_of<T: Clone, S: Sharing>(next: Next<S::Pointer<T>>) -> Result<T, ReceiveError> {
    match next {
        Next::Message(message) => {
            Ok(message.unwrapped().unwrap_or_else(|shared| T::clone(&shared)))
        }
        Next::Lost(count) => Err(ReceiveError::Lost(count)),
        Next::Disconnected => Err(ReceiveError::Disconnected),
        Next::Closed => Err(ReceiveError::Closed),
    }
}

/// Waits for the next message.
struct Receiving<'a, T, S: Sharing> {
    subscriber: &'a mut Subscriber<T, S>,
}

impl<T: Clone, S: Sharing> Wish for Receiving<'_, T, S> {
    type State = StateOf<T, S>;
    type Cell = CellOf<T, S>;
    type Value = ();
    type Found = (Next<S::Pointer<T>>, u64);
    type Output = Result<T, ReceiveError>;

    #[inline]
    fn cell(&self) -> &Self::Cell {
        &self.subscriber.shared
    }

    #[inline]
    fn queue(state: &mut Self::State) -> &mut WaitQueue<()> {
        &mut state.receiving
    }

    fn value(&self) {}

    #[inline]
    fn look(&self, state: &mut Self::State, _: Place, wakes: &mut Wakes) -> Option<Self::Found> {
        let mut position = self.subscriber.position;
        // A take drops no message: it returns the one that it removes.
        let mut after = After::with(mem::take(wakes));
        let next = state.take(&mut position, &mut after);
        *wakes = after.wakes;
        Some((next?, position))
    }

    #[inline]
    fn finish(&mut self, (next, position): Self::Found) -> Self::Output {
        self.subscriber.position = position;
        value_of::<T, S>(next)
    }
}

impl<T, S: Sharing> Drop for Subscriber<T, S> {
    fn drop(&mut self) {
        let mut after = After::default();
        let (position, ticket) = (self.position, self.ticket.take());
        let _entry = self.shared.with_at_end(|state| {
            state.unsubscribe(position, &mut after);
            ticket.and_then(|ticket| state.receiving.remove(ticket))
        });
        after.finish();
    }
}

impl<T, S: Sharing> fmt::Debug for Subscriber<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(1) => f.write_str("a message was dropped, since this subscriber was slow"),
            Self::Lost(count) => {
                write!(f, "{count} messages were dropped, since this subscriber was slow")
            }
            Self::Disconnected => f.write_str("this subscriber was slow and was disconnected"),
            Self::Closed => f.write_str("the channel is closed"),
        }
    }
}

impl Error for ReceiveError {}
