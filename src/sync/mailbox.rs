//! A bounded queue of messages between coroutines and threads.
//!
//! This file has the two ends; `mailbox/future.rs` has their futures, `mailbox/shared.rs` the lock,
//! `mailbox/state.rs` the state behind it and its rules, `mailbox/error.rs` the errors. A message
//! takes the lock once on each side; an end that must wait takes it once more.

use std::{
    fmt,
    future::Future,
    task::{Context, Poll},
};

use self::{
    future::{Closing, poll_receive},
    shared::{Shared, wake},
    state::{State, Taken, Waits},
};
use super::{
    block_on::{block_on, check_thread},
    budget::{self, Spending},
    sharing::{Hint, Pointer, Sharing, StateCell, Threads},
    wait_queue::Ticket,
    waiting::Waiting,
};
use crate::foreign;

pub(super) mod error;
mod future;
#[cfg(all(test, loom))]
mod loom_tests;
mod shared;
mod state;
#[cfg(all(test, not(loom)))]
mod tests;

pub use self::{
    error::{SendError, TryReceiveError, TrySendError},
    future::{Receiving, Sending},
};

/// Makes a mailbox: a queue of at most `capacity` messages, first in, first out, between
/// coroutines, schedulers and threads.
///
/// # Example
/// ```
/// use asyncoro::sync::mailbox;
///
/// asyncoro::run(async {
///     let (sender, receiver) = mailbox::<String>(8);
///     for name in ["one", "two"] {
///         let sender = sender.clone();
///         asyncoro::spawn(async move { sender.send(format!("from {name}")).await });
///     }
///     std::thread::spawn(move || sender.send_blocking("from a thread".to_owned()));
///     let mut received = Vec::new();
///     while let Some(message) = receiver.receive().await {
///         received.push(message);
///     }
///     received.sort(); // ends when the last sender is gone
///     assert_eq!(received, ["from a thread", "from one", "from two"]);
/// });
/// ```
///
/// # Panics
/// If `capacity` is 0.
///
/// # Platform
/// A child made by fork(2) can make mailboxes. One that it has inherited may be dropped there but
/// not used: a thread of the parent may have held its lock.
#[track_caller]
pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    pair(capacity)
}

/// Makes both ends, which share a state.
#[track_caller]
pub(super) fn pair<T, S: Sharing>(capacity: usize) -> (Sender<T, S>, Receiver<T, S>) {
    assert!(capacity > 0, "a mailbox needs room for one message at least: its capacity is 0");
    let (state, queued) = (S::Cell::new(State::new(capacity)), S::Hint::new(0));
    let shared = S::Pointer::new(Shared { state, queued, capacity });
    let receiver = Receiver { shared: shared.clone(), ticket: None, spending: Spending::default() };
    (Sender { shared }, receiver)
}

/// The sending end of a mailbox; clones of it send to the same receiver.
///
/// After the last one is dropped, the receiver gets what is queued and then `None`.
pub struct Sender<T, S: Sharing = Threads> {
    shared: S::Pointer<Shared<T, S>>,
}

/// The receiving end of a mailbox.
///
/// When it is dropped, the mailbox is closed and what is queued is dropped. Several coroutines may
/// receive through a shared reference; each message goes to one of them.
pub struct Receiver<T, S: Sharing = Threads> {
    shared: S::Pointer<Shared<T, S>>,
    /// The place of `poll_next`.
    ticket: Option<Ticket>,
    spending: Spending,
}

impl<T, S: Sharing> Sender<T, S> {
    /// Sends `value`, waiting while the mailbox is full; senders are served in the order in which
    /// they began to wait.
    ///
    /// # Example
    /// ```
    /// use asyncoro::sync::mailbox;
    ///
    /// asyncoro::run(async {
    ///     let (sender, receiver) = mailbox(1);
    ///     asyncoro::spawn(async move {
    ///         assert_eq!(receiver.receive().await, Some(1)); // makes space for the second
    ///         receiver.close();
    ///     });
    ///     sender.send(1).await.unwrap();
    ///     sender.send(2).await.unwrap();
    ///     assert_eq!(sender.send(3).await.unwrap_err().into_inner(), 3);
    /// });
    /// ```
    ///
    /// # Errors
    /// [`SendError`] with the value when the receiver is gone or has closed the mailbox, before or
    /// while this waits.
    ///
    /// # Cancel
    /// Dropping it while it waits withdraws and drops the value, and the next waiting sender moves
    /// up. Once the receiver has made space the value is sent, whether or not this is polled again.
    pub fn send(&self, value: T) -> Sending<'_, T, S> {
        Sending::new(&self.shared, value)
    }

    /// Sends `value` if the mailbox is not full.
    ///
    /// A coroutine may complete up to 128 verbs before other coroutines run, and this call does not
    /// count as one. If it sends a message after each verb, a mailbox of a smaller capacity can be
    /// full only because its receiver has not run yet. So use a capacity of 128 or more, or treat
    /// the receiver as slow only if the mailbox is still full after `yield_now().await`. After
    /// `Full` the coroutine's next verb lets others run first.
    ///
    /// # Example
    /// ```
    /// use asyncoro::sync::{TrySendError, mailbox};
    ///
    /// let (sender, receiver) = mailbox(1);
    /// sender.try_send("in time").unwrap();
    /// assert_eq!(sender.try_send("too many").unwrap_err(), TrySendError::Full("too many"));
    /// drop(receiver);
    /// assert_eq!(sender.try_send("too late").unwrap_err(), TrySendError::Closed("too late"));
    /// ```
    ///
    /// # Errors
    /// [`TrySendError::Full`] when the mailbox is full, [`TrySendError::Closed`] when the receiver
    /// is gone or has closed it; both return the value.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.shared.locked(|state| state.push(value)) {
            Ok(receiver) => wake(receiver),
            Err(error) => {
                if matches!(error, TrySendError::Full(_)) {
                    // The receiver can run before this coroutine's next verb.
                    budget::exhaust();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Tells whether the receiver is gone or has closed the mailbox, so that nothing can be sent
    /// any more.
    ///
    /// `false` may be outdated by the time it returns: only sending tells for certain.
    ///
    /// ```
    /// let (sender, receiver) = asyncoro::sync::mailbox::<u8>(1);
    /// assert!(!sender.is_closed());
    /// drop(receiver);
    /// assert!(sender.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.shared.locked(|state| state.is_closed())
    }

    /// Waits until the receiver is gone or has closed the mailbox.
    ///
    /// ```
    /// use asyncoro::{
    ///     future::{Winner, race},
    ///     sync::mailbox,
    ///     time::sleep,
    /// };
    ///
    /// asyncoro::run(async {
    ///     let (sender, receiver) = mailbox::<u8>(1);
    ///     asyncoro::spawn(async move { drop(receiver) });
    ///     let work = sleep(std::time::Duration::from_secs(60)); // for nobody
    ///     assert!(matches!(race(work, sender.closed()).await, Winner::Second(())));
    /// });
    /// ```
    ///
    /// # Cancel
    /// Nothing happens.
    pub fn closed(&self) -> impl Future<Output = ()> + Unpin {
        Waiting::new(Closing(&self.shared))
    }
}

impl<T> Sender<T> {
    /// Sends `value` from a plain thread, which sleeps while the mailbox is full.
    ///
    /// # Example
    /// ```
    /// let (sender, receiver) = asyncoro::sync::mailbox(1);
    /// let thread = std::thread::spawn(move || {
    ///     for number in 0..100 {
    ///         sender.send_blocking(number).unwrap();
    ///     }
    /// });
    /// asyncoro::run(async move {
    ///     let mut sum = 0;
    ///     while let Some(number) = receiver.receive().await {
    ///         sum += number;
    ///     }
    ///     assert_eq!(sum, 4950);
    /// });
    /// thread.join().unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Panics
    /// On a thread that runs a scheduler, since it would stop all its coroutines; use `send` there.
    #[track_caller]
    pub fn send_blocking(&self, value: T) -> Result<(), SendError<T>> {
        check_thread("send_blocking", "send(..).await");
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(value)) => block_on(self.send(value)),
            Err(TrySendError::Closed(value)) => Err(SendError(value)),
        }
    }
}

impl<T, S: Sharing> Receiver<T, S> {
    /// Takes the next message, waiting for one; `None` when no more will come.
    ///
    /// No more will come once all senders are gone or the mailbox was [closed](Self::close), and
    /// everything queued was taken.
    ///
    /// # Example
    /// ```
    /// asyncoro::run(async {
    ///     let (sender, receiver) = asyncoro::sync::mailbox(2);
    ///     sender.send("last words").await.unwrap();
    ///     drop(sender);
    ///     assert_eq!(receiver.receive().await, Some("last words"));
    ///     assert_eq!(receiver.receive().await, None);
    /// });
    /// ```
    ///
    /// # Cancel
    /// Dropping it takes no message; if it had been woken for one, the next waiting receiver is
    /// woken for it.
    pub fn receive(&self) -> Receiving<'_, T, S> {
        Receiving::new(&self.shared)
    }

    /// Polls for the next message, as [`receive`](Self::receive) does. For futures written by hand.
    pub fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Self { shared, ticket, spending } = self;
        let received = poll_receive(shared, Waits::AsStream, ticket, spending, context.waker());
        if received.is_ready() {
            *spending = Spending::default();
        }
        received
    }

    /// Takes the next message if there is one now.
    ///
    /// # Example
    /// ```
    /// use asyncoro::sync::{TryReceiveError, mailbox};
    ///
    /// let (sender, receiver) = mailbox(2);
    /// assert_eq!(receiver.try_receive(), Err(TryReceiveError::Empty));
    /// sender.try_send(1).unwrap();
    /// drop(sender);
    /// assert_eq!(receiver.try_receive(), Ok(1));
    /// assert_eq!(receiver.try_receive(), Err(TryReceiveError::Closed));
    /// ```
    ///
    /// # Errors
    /// [`TryReceiveError::Empty`] when nothing is queued, [`TryReceiveError::Closed`] when nothing
    /// is queued and no more will come.
    pub fn try_receive(&self) -> Result<T, TryReceiveError> {
        self.shared.locked(State::take).map(Taken::finish)
    }

    /// Closes the mailbox: nothing more can be sent, and what is queued can still be received.
    ///
    /// Waiting senders get their messages back as errors; waiting receivers take what is left.
    ///
    /// # Example
    /// ```
    /// use asyncoro::sync::{TrySendError, mailbox};
    ///
    /// let (sender, receiver) = mailbox(2);
    /// sender.try_send("early").unwrap();
    /// receiver.close();
    /// assert_eq!(sender.try_send("late"), Err(TrySendError::Closed("late")));
    /// assert_eq!(receiver.receive_blocking(), Some("early"));
    /// assert_eq!(receiver.receive_blocking(), None);
    /// ```
    pub fn close(&self) {
        wake(self.shared.locked(State::close));
    }

    /// Returns how many messages are queued; those of waiting senders do not count.
    ///
    /// ```
    /// let (sender, receiver) = asyncoro::sync::mailbox(2);
    /// sender.try_send("a message").unwrap();
    /// assert_eq!((receiver.len(), receiver.is_empty(), receiver.capacity()), (1, false, 2));
    /// ```
    pub fn len(&self) -> usize {
        self.shared.locked(|state| state.queue.len())
    }

    /// Tells whether no message is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many messages can be queued.
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

impl<T> Receiver<T> {
    /// Takes the next message in a plain thread, which sleeps until there is one.
    ///
    /// # Example
    /// ```
    /// let (sender, receiver) = asyncoro::sync::mailbox(1);
    /// let thread = std::thread::spawn(move || receiver.receive_blocking());
    /// asyncoro::run(async move { sender.send("hello, thread").await.unwrap() });
    /// assert_eq!(thread.join().unwrap(), Some("hello, thread"));
    /// ```
    ///
    /// # Panics
    /// On a thread that runs a scheduler, since it would stop all its coroutines; use `receive`
    /// there.
    #[track_caller]
    pub fn receive_blocking(&self) -> Option<T> {
        check_thread("receive_blocking", "receive().await");
        match self.try_receive() {
            Ok(value) => Some(value),
            Err(TryReceiveError::Empty) => block_on(self.receive()),
            Err(TryReceiveError::Closed) => None,
        }
    }
}

impl<T, S: Sharing> Clone for Sender<T, S> {
    fn clone(&self) -> Self {
        self.shared.locked(State::add_sender);
        Self { shared: self.shared.clone() }
    }
}

impl<T, S: Sharing> Drop for Sender<T, S> {
    fn drop(&mut self) {
        wake(self.shared.locked_at_end(State::remove_sender));
    }
}

impl<T, S: Sharing> Drop for Receiver<T, S> {
    fn drop(&mut self) {
        let ticket = self.ticket.take();
        let (messages, waiting, _entry) = self.shared.locked_at_end(|state| {
            let entry = ticket.and_then(|ticket| state.stop_streaming(ticket));
            let (messages, waiting) = state.abandon();
            (messages, waiting, entry)
        });
        wake(waiting);
        for message in messages {
            foreign::contain("the drop of a message", || drop(message));
        }
    }
}

impl<T, S: Sharing> fmt::Debug for Sender<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}

impl<T, S: Sharing> fmt::Debug for Receiver<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}
