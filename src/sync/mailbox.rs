//! A bounded queue of messages between coroutines and threads.
//!
//! Here are the two ends; `mailbox/future.rs` has what they wait with, `mailbox/shared.rs` the one
//! lock between them, `mailbox/state.rs` what is behind it and the rules, `mailbox/error.rs` what
//! they answer. A message costs one lock on each side; an end that must wait takes it once more.

use std::fmt;

use self::{
    shared::{Shared, wake},
    state::{State, Taken},
};
use super::{
    block_on::{block_on, check_thread},
    budget,
};
use crate::{
    foreign, fork,
    primitives::{Arc, AtomicUsize, Mutex},
};

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
/// If `capacity` is 0: a message needs room to wait in.
///
/// # Platform
/// A child made by fork(2) makes mailboxes of its own. One that it has inherited may be dropped
/// there and not used: a thread of the parent's may have been in the middle of it.
pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a mailbox needs room for one message at least: its capacity is 0");
    let state = Mutex::new(State::new(capacity));
    fork::watch();
    let (queued, process) = (AtomicUsize::new(0), fork::generation());
    let shared = Arc::new(Shared { state, queued, capacity, process });
    (Sender { shared: shared.clone() }, Receiver { shared })
}

/// The end of a mailbox that messages go in; clones of it send to the same receiver.
///
/// When the last one is dropped, the receiver gets what is queued and then `None`.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The end of a mailbox that messages come out of.
///
/// When it is dropped, the mailbox is closed and what is queued is dropped. Several coroutines may
/// receive by one reference; each message goes to one of them.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `value`, waiting for room; who waits first is served first.
    ///
    /// # Example
    /// ```
    /// use asyncoro::sync::mailbox;
    ///
    /// asyncoro::run(async {
    ///     let (sender, receiver) = mailbox(1);
    ///     asyncoro::spawn(async move {
    ///         assert_eq!(receiver.receive().await, Some(1)); // makes room for the second
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
    /// Dropped while it waits for room, it withdraws the value, which is dropped with it, and the
    /// next in line moves up; once there was room the value is sent, whether or not this was polled
    /// again.
    pub fn send(&self, value: T) -> Sending<'_, T> {
        Sending::new(&self.shared, value)
    }

    /// Sends `value` if there is room now.
    ///
    /// A coroutine whose verbs find what they ask for completes up to 128 of them before the others
    /// have their turn, and this is no verb: with less capacity, one that sends a message after
    /// each can find a mailbox full whose receiver is healthy and had no turn yet. So give it room
    /// for 128 and more, or count it as slow only if it is still full after `yield_now().await`.
    /// After `Full` the coroutine's next verb lets the others go first.
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
    /// [`TrySendError::Full`] when there is no room, [`TrySendError::Closed`] when the receiver is
    /// gone or has closed the mailbox; both give the value back.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.shared.locked(|state| state.push(value)) {
            Ok(receiver) => wake(receiver),
            Err(error) => {
                budget::no_room(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether nothing can be sent any more: the receiver is gone or has closed the mailbox.
    ///
    /// `false` may be old: only sending tells for certain.
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

    /// Sends `value` from a plain thread, which sleeps until there is room.
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
    /// On a thread that runs a scheduler, all of whose coroutines it would stop: `send` there.
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

impl<T> Receiver<T> {
    /// Takes the next message, waiting for one; `None` when none will come any more.
    ///
    /// That is when all senders are gone or the mailbox was [closed](Self::close), after what was
    /// queued has been taken.
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
    /// Dropped, it has taken nothing; if it had been woken for a message, the next one who waits is
    /// woken for it.
    pub fn receive(&self) -> Receiving<'_, T> {
        Receiving::new(&self.shared)
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
    /// [`TryReceiveError::Empty`] when nothing is queued, [`TryReceiveError::Closed`] when moreover
    /// nothing will come any more.
    pub fn try_receive(&self) -> Result<T, TryReceiveError> {
        let Taken { value, accepted } = self.shared.locked(State::take)?;
        wake(accepted);
        Ok(value)
    }

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
    /// On a thread that runs a scheduler, all of whose coroutines it would stop: `receive` there.
    #[track_caller]
    pub fn receive_blocking(&self) -> Option<T> {
        check_thread("receive_blocking", "receive().await");
        match self.try_receive() {
            Ok(value) => Some(value),
            Err(TryReceiveError::Empty) => block_on(self.receive()),
            Err(TryReceiveError::Closed) => None,
        }
    }

    /// Closes the mailbox: nothing more is sent, and what is queued can still be received.
    ///
    /// Whoever waits is woken: senders get their messages back as errors, receivers take what is
    /// left.
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

    /// Messages queued now; those of senders that wait for room are not among them.
    ///
    /// ```
    /// let (sender, receiver) = asyncoro::sync::mailbox(2);
    /// sender.try_send("a message").unwrap();
    /// assert_eq!((receiver.len(), receiver.is_empty(), receiver.capacity()), (1, false, 2));
    /// ```
    pub fn len(&self) -> usize {
        self.shared.locked(|state| state.queue.len())
    }

    /// Whether no message is queued now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages that can be queued.
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.locked(State::add_sender);
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        wake(self.shared.locked_at_end(State::remove_sender));
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let (messages, waiting) = self.shared.locked_at_end(State::abandon);
        wake(waiting);
        for message in messages {
            foreign::contain("the drop of a message", || drop(message));
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}
