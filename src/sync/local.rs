//! Channels and locks for the coroutines of one thread, without atomics.
//!
//! The names and verbs are those of [`sync`](super), which says when to take which. These are
//! neither `Send` nor `Sync`; an `Rc` shares them.

use super::{
    barrier, channel, condition, event, lock, mailbox as queue, once_cell, oneshot as one, rw_lock,
    semaphore, sharing::Local, watch as latest,
};

/// A value that one at a time has, also while it waits. See
/// [`generic::Lock`](super::generic::Lock).
pub type Lock<T> = lock::Lock<T, Local>;
/// Has a [`Lock`] until it is dropped.
pub type LockGuard<'a, T> = lock::LockGuard<'a, T, Local>;
/// Has a [`Lock`] until it is dropped, and borrows nothing.
pub type OwnedLockGuard<T> = lock::OwnedLockGuard<T, Local>;
/// A value that many read at a time or one changes. See
/// [`generic::RwLock`](super::generic::RwLock).
pub type RwLock<T> = rw_lock::RwLock<T, Local>;
/// Reads the value of a [`RwLock`] until it is dropped.
pub type RwLockReadGuard<'a, T> = rw_lock::RwLockReadGuard<'a, T, Local>;
/// Reads and changes the value of a [`RwLock`] until it is dropped.
pub type RwLockWriteGuard<'a, T> = rw_lock::RwLockWriteGuard<'a, T, Local>;
/// A flag that is waited for. See [`generic::Event`](super::generic::Event).
pub type Event = event::Event<Local>;
/// Waits until the value of a lock has changed. See
/// [`generic::Condition`](super::generic::Condition).
pub type Condition = condition::Condition<Local>;
/// A number of permits. See [`generic::Semaphore`](super::generic::Semaphore).
pub type Semaphore = semaphore::Semaphore<Local>;
/// Permits of a [`Semaphore`], which go back when it is dropped.
pub type SemaphorePermit<'a> = semaphore::SemaphorePermit<'a, Local>;
/// Permits of a [`Semaphore`], which go back when it is dropped; it borrows nothing.
pub type OwnedSemaphorePermit = semaphore::OwnedSemaphorePermit<Local>;
/// A place where a number of coroutines wait for each other. See
/// [`generic::Barrier`](super::generic::Barrier).
pub type Barrier = barrier::Barrier<Local>;
/// A value that is made once, by whoever needs it first. See
/// [`generic::OnceCell`](super::generic::OnceCell).
pub type OnceCell<T> = once_cell::OnceCell<T, Local>;
/// Sends each message to each subscriber. See [`generic::Channel`](super::generic::Channel).
pub type Channel<T> = channel::Channel<T, Local>;
/// Receives what is sent to a [`Channel`].
pub type Subscriber<T> = channel::Subscriber<T, Local>;
/// The end of a [`oneshot()`] channel that sends.
pub type OneshotSender<T> = one::OneshotSender<T, Local>;
/// The end of a [`oneshot()`] channel that receives: a future.
pub type OneshotReceiver<T> = one::OneshotReceiver<T, Local>;
/// The end of a [`watch()`] channel that sends.
pub type WatchSender<T> = latest::WatchSender<T, Local>;
/// The end of a [`watch()`] channel that watches.
pub type WatchReceiver<T> = latest::WatchReceiver<T, Local>;
/// The end of a [`mailbox()`] that sends.
pub type Sender<T> = queue::Sender<T, Local>;
/// The end of a [`mailbox()`] that receives.
pub type Receiver<T> = queue::Receiver<T, Local>;

/// Makes a mailbox for one thread, as [`sync::mailbox`](super::mailbox()).
///
/// ```
/// use asyncoro::sync::local::mailbox;
///
/// asyncoro::run(async {
///     let (sender, receiver) = mailbox(1);
///     asyncoro::spawn(async move { sender.send(std::rc::Rc::new("not Send")).await });
///     assert_eq!(**receiver.receive().await.unwrap(), *"not Send");
/// });
/// ```
///
/// # Panics
/// If `capacity` is 0.
#[track_caller]
pub fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    queue::pair(capacity)
}

/// Makes a channel for one value, as [`sync::oneshot`](super::oneshot()).
///
/// ```
/// asyncoro::run(async {
///     let (sender, answer) = asyncoro::sync::local::oneshot();
///     asyncoro::spawn(async move { sender.send(42) });
///     assert_eq!(answer.await, Ok(42));
/// });
/// ```
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    one::pair()
}

/// Makes a channel that has the latest value, as [`sync::watch`](super::watch()).
///
/// ```
/// asyncoro::run(async {
///     let (volume, mut knob) = asyncoro::sync::local::watch(3);
///     asyncoro::spawn(async move { volume.send(11) });
///     knob.changed().await.unwrap();
///     assert_eq!(*knob.borrow(), 11);
/// });
/// ```
pub fn watch<T>(value: T) -> (WatchSender<T>, WatchReceiver<T>) {
    latest::pair(value)
}
