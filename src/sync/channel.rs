//! Each message to each subscriber.
//!
//! This file has the sending end, `channel/subscriber.rs` the receiving one, `channel/delivery.rs`
//! the waits of senders, `channel/slow.rs` the policy for slow subscribers, `channel/state.rs` the
//! state and its rules.

mod delivery;
mod slow;
mod state;
mod subscriber;

use std::{
    cell::Cell,
    fmt,
    future::Future,
    time::{Duration, Instant},
};

use self::{
    delivery::{Closing, Gathered, Outcome, Sending, Watched},
    state::{After, State, Unsent},
    subscriber::Shared,
};
pub use self::{
    slow::Slow,
    subscriber::{ReceiveError, Subscriber},
};
use super::{
    budget,
    mailbox::error::{SendError, TrySendError},
    sharing::{Pointer, Sharing, StateCell, Threads},
    wait_queue::Wakes,
    waiting::{Place, Waiting},
};
use crate::time;

/// Sends each message to each subscriber.
///
/// Clones send to the same subscribers. After the last one is dropped the channel is closed, and
/// subscribers get what is left and then [`ReceiveError::Closed`].
///
/// It keeps up to `capacity` messages that some subscriber has not taken, each of them once. What
/// happens when it is full is said once, by [`Slow`].
///
/// # Example
/// ```
/// use asyncoro::sync::{
///     ReceiveError, Slow,
///     local::Channel,
/// };
///
/// asyncoro::run(async {
///     let news = Channel::new(2, Slow::DropOldest);
///     let (mut quick, mut slow) = (news.subscribe(), news.subscribe());
///     for number in 1..=5 {
///         news.send(number).await.unwrap();
///         assert_eq!(quick.receive().await, Ok(number));
///     }
///     assert_eq!(slow.receive().await, Err(ReceiveError::Lost(3)));
///     assert_eq!(slow.receive().await, Ok(4));
///     drop(news);
///     assert_eq!(slow.receive().await, Ok(5));
///     assert_eq!(slow.receive().await, Err(ReceiveError::Closed));
/// });
/// ```
pub struct Channel<T, S: Sharing = Threads> {
    shared: Shared<T, S>,
}

/// What [`Channel::statistics`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStatistics {
    /// How many subscribers there are, without those that were disconnected.
    pub subscribers: usize,
    /// How many messages some subscriber has not taken.
    pub queued: usize,
    /// How many subscribers wait for a message.
    pub receiving: usize,
    /// How many senders wait for room.
    pub sending: usize,
    /// How many messages were lost, counted once for each subscriber that has lost it.
    pub lost: u64,
    /// How many subscribers were disconnected.
    pub disconnected: u64,
}

impl<T, S: Sharing> Channel<T, S> {
    /// Makes a channel that keeps up to `capacity` messages.
    ///
    /// # Panics
    /// If `capacity` is 0.
    pub fn new(capacity: usize, slow: Slow) -> Self {
        assert!(capacity > 0, "a channel needs room for one message at least: its capacity is 0");
        Self { shared: Shared::<T, S>::new(S::Cell::new(State::new(capacity, slow))) }
    }

    /// Makes a subscriber, which receives what is sent from now on.
    pub fn subscribe(&self) -> Subscriber<T, S> {
        Subscriber::new(&self.shared)
    }

    /// Sends `value` to all subscribers; returns how many there are. Without one it is dropped.
    ///
    /// With [`Slow::Wait`] it waits while the channel is full, senders first come, first served.
    ///
    /// # Errors
    /// [`SendError`] with the value when the channel is closed, before or while this waits.
    ///
    /// # Cancel
    /// While it waits for room nothing was sent, and the value is dropped.
    pub async fn send(&self, value: T) -> Result<usize, SendError<T>> {
        match self.sending(S::Pointer::new(value), 0, false).await {
            Ok(sent) => Ok(sent.subscribers),
            Err((_, message)) => Err(SendError(only(message))),
        }
    }

    /// Sends `value` to all subscribers if that needs no waiting; returns how many there are.
    ///
    /// # Errors
    /// [`TrySendError::Full`] with [`Slow::Wait`] when there is no room, [`TrySendError::Closed`]
    /// when the channel is closed; both return the value.
    pub fn try_send(&self, value: T) -> Result<usize, TrySendError<T>> {
        let mut message = Some(S::Pointer::new(value));
        let mut after = After::default();
        let sent =
            self.shared.with(|state| state.send(&mut message, 0, false, Place::New, &mut after));
        after.finish();
        match (sent, message) {
            (Ok(sent), _) => Ok(sent.subscribers),
            (Err(Unsent::Closed), Some(message)) => Err(TrySendError::Closed(only(message))),
            (Err(_), Some(message)) => {
                // The subscribers can run before this coroutine's next verb.
                budget::exhaust();
                Err(TrySendError::Full(only(message)))
            }
            (Err(_), None) => unreachable!("what was not sent is still here"),
        }
    }

    /// Waits until there are at least `least` subscribers, sends `value` to all of them, and waits
    /// until each has received it or is gone; returns how many have received it, 0 if the channel
    /// is closed first. If a full channel with [`Slow::Disconnect`] has too few left, it waits for
    /// others.
    ///
    /// ```
    /// use asyncoro::sync::{Slow, local::Channel};
    ///
    /// asyncoro::run(async {
    ///     let orders = Channel::new(8, Slow::Wait);
    ///     for _ in 0..3 {
    ///         let mut cook = orders.subscribe();
    ///         asyncoro::spawn(async move { while cook.receive().await.is_ok() {} });
    ///     }
    ///     assert_eq!(orders.deliver("lunch", 3).await, 3);
    /// });
    /// ```
    ///
    /// # Cancel
    /// Before there are enough subscribers, and room, nothing was sent. After that it is sent, and
    /// only the count is lost; [`deliver_within`](Self::deliver_within) returns it.
    pub async fn deliver(&self, value: T, least: usize) -> usize {
        match self.watched(value, least).await {
            Some(watched) => watched.over().await,
            None => 0,
        }
    }

    /// As [`deliver`](Self::deliver), for `timeout` at the most: returns 0 if there were not enough
    /// subscribers, or no room, and nothing was sent, otherwise how many have received it in time.
    ///
    /// # Panics
    /// Outside a running scheduler.
    ///
    /// # Cancel
    /// As `deliver`.
    pub async fn deliver_within(&self, value: T, least: usize, timeout: Duration) -> usize {
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return self.deliver(value, least).await;
        };
        let Ok(Some(watched)) = time::deadline(deadline, self.watched(value, least)).await else {
            return 0;
        };
        match time::deadline(deadline, watched.over()).await {
            Ok(received) => received,
            Err(_) => watched.taken(),
        }
    }

    /// Waits until there are at least `least` subscribers; `false` if the channel is closed first.
    ///
    /// # Cancel
    /// Nothing happens.
    pub fn subscribed(&self, least: usize) -> impl Future<Output = bool> + Unpin {
        Waiting::new(Gathered::<T, S> { cell: &self.shared, least })
    }

    /// Returns how many subscribers there are, without those that were disconnected.
    pub fn subscribers(&self) -> usize {
        self.shared.with(|state| state.subscribers)
    }

    /// Closes the channel: nothing can be sent any more, and what was sent can be received.
    pub fn close(&self) {
        let mut wakes = Wakes::default();
        self.shared.with(|state| state.close(&mut wakes));
        wakes.wake();
    }

    /// Tells whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.shared.with(|state| state.is_closed)
    }

    /// Waits until it is closed, by a clone.
    ///
    /// # Cancel
    /// Nothing happens.
    pub fn closed(&self) -> impl Future<Output = ()> + Unpin {
        Waiting::new(Closing::<T, S>(&self.shared))
    }

    /// Tells how many subscribe, wait, and have lost messages.
    pub fn statistics(&self) -> ChannelStatistics {
        self.shared.with(|state| {
            let counts = state.counts();
            ChannelStatistics {
                subscribers: state.subscribers,
                queued: counts.queued,
                receiving: state.receiving.len(),
                sending: state.sending.len(),
                lost: counts.lost,
                disconnected: counts.disconnected,
            }
        })
    }

    /// Sends a message when there are enough subscribers; `None` if the channel is closed first.
    async fn watched(&self, value: T, least: usize) -> Option<Watched<'_, T, S>> {
        let mut message = S::Pointer::new(value);
        while self.subscribed(least).await {
            match self.sending(message, least, true).await {
                Ok(sent) => {
                    return Some(Watched { cell: &self.shared, number: sent.delivery });
                }
                Err((Unsent::Closed, _)) => return None,
                // Some have left since, while it waited for room, say.
                Err((_, back)) => message = back,
            }
        }
        None
    }

    fn sending(
        &self,
        message: S::Pointer<T>,
        least: usize,
        is_watched: bool,
    ) -> impl Future<Output = Outcome<S::Pointer<T>>> + Unpin {
        let message = Cell::new(Some(message));
        let after = Cell::new(None);
        let cell = &*self.shared;
        Waiting::new(Sending::<T, S> { cell, message, least, is_watched, after })
    }
}

/// Returns the value of a message that was not sent.
fn only<T, P: Pointer<T>>(message: P) -> T {
    let Ok(value) = message.unwrapped() else { unreachable!("nobody else has it") };
    value
}

impl<T, S: Sharing> Clone for Channel<T, S> {
    fn clone(&self) -> Self {
        self.shared.with(|state| state.senders += 1);
        Self { shared: self.shared.clone() }
    }
}

impl<T, S: Sharing> Drop for Channel<T, S> {
    fn drop(&mut self) {
        let mut wakes = Wakes::default();
        self.shared.with_at_end(|state| {
            state.senders -= 1;
            if state.senders == 0 {
                state.close(&mut wakes);
            }
        });
        wakes.wake();
    }
}

impl<T, S: Sharing> fmt::Debug for Channel<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.statistics();
        let mut shown = f.debug_struct("Channel");
        shown.field("subscribers", &told.subscribers).field("queued", &told.queued);
        shown.finish_non_exhaustive()
    }
}
