//! Communication between coroutines and threads, beside sockets: channels and locks.
//!
//! # Which one
//!
//! | for | take |
//! | --- | --- |
//! | a queue of messages, each to one receiver | [`mailbox()`] |
//! | one answer | [`oneshot()`] |
//! | the latest value of something | [`watch()`] |
//! | each message to everybody who subscribes | [`Channel`] |
//! | something that happens once, or is on and off | [`Event`] |
//! | a value that is changed across `.await`s | [`Lock`]; read by many: [`RwLock`] |
//! | waiting until such a value is as wanted | [`Condition`] |
//! | at most so many at a time | [`Semaphore`] |
//! | starting together, round by round | [`Barrier`] |
//! | a value that is made by whoever needs it first | [`OnceCell`] |
//!
//! # For threads, or for one
//!
//! The types of this module work between threads, schedulers and other executors. Those of
//! [`local`] have the same names and verbs; they are for the coroutines of one thread, use no
//! atomics, and are not `Send`, so the compiler says where one does not suffice. Both are the same
//! code ([`generic`]), over `Rc` or `Arc`.
//!
//! # What all of them have in common
//!
//! - The futures keep the `std` waker that they were polled with, so they work in a coroutine, in
//!   `select`, and on any other executor.
//! - First come, first served: in the order in which they begin to wait, nobody is overtaken. (A
//!   coroutine that has used up its turn without waiting begins when it runs again.)
//! - Dropping a wait is safe: one that was given its turn passes it on. `docs/cancel.md` in the
//!   repository has the list.
//! - What is taken or sent also has a form that does not wait (`try_`); what others wait for, but
//!   for a mailbox and a oneshot, has `statistics()`.
//! - However many wait, joining and leaving the queue takes the same time.
//! - A child made by fork(2) can make its own; what it has inherited may be dropped there but not
//!   used.

// The state of each is held for a few instructions, and never while foreign code runs, which may
// call back: a waker's `wake`, `clone` or `drop`, or the drop of a user's value.

mod barrier;
mod block_on;
mod budget;
mod channel;
mod condition;
mod event;
pub mod generic;
pub mod local;
mod lock;
#[cfg(all(test, loom))]
pub(crate) mod loom_tests;
mod mailbox;
mod once_cell;
mod oneshot;
mod permits;
mod rw_lock;
mod semaphore;
mod sharing;
pub(crate) mod wait_queue;
mod waiting;
mod watch;

pub use self::{
    barrier::{BarrierStatistics, BarrierWait},
    channel::{ChannelStatistics, ReceiveError, Slow, Subscriber},
    condition::ConditionStatistics,
    event::EventStatistics,
    lock::{LockGuard, LockStatistics, OwnedLockGuard},
    mailbox::{
        Receiver, Receiving, SendError, Sender, Sending, TryReceiveError, TrySendError, mailbox,
    },
    once_cell::OnceCellStatistics,
    oneshot::{OneshotError, OneshotReceiver, OneshotSender},
    rw_lock::{RwLockReadGuard, RwLockStatistics, RwLockWriteGuard},
    semaphore::{
        AcquireError, OwnedSemaphorePermit, SemaphorePermit, SemaphoreStatistics, TryAcquireError,
    },
    watch::{Snapshot, WatchEnded, WatchReceiver, WatchSender, WatchStatistics},
};
#[cfg(all(test, not(loom)))]
pub(crate) use block_on::block_on;

use self::generic::Threads;

/// A value that one at a time has, also while it waits. See [`generic::Lock`].
pub type Lock<T> = generic::Lock<T, Threads>;
/// A value that many read at a time or one changes. See [`generic::RwLock`].
pub type RwLock<T> = generic::RwLock<T, Threads>;
/// A flag that is waited for. See [`generic::Event`].
pub type Event = generic::Event<Threads>;
/// Waits until the value of a lock has changed. See [`generic::Condition`].
pub type Condition = generic::Condition<Threads>;
/// A number of permits. See [`generic::Semaphore`].
pub type Semaphore = generic::Semaphore<Threads>;
/// A place where a number of coroutines wait for each other. See [`generic::Barrier`].
pub type Barrier = generic::Barrier<Threads>;
/// A value that is made once, by whoever needs it first. See [`generic::OnceCell`].
pub type OnceCell<T> = generic::OnceCell<T, Threads>;
/// Sends each message to each subscriber. See [`generic::Channel`].
pub type Channel<T> = generic::Channel<T, Threads>;

/// Makes a channel for one value, from one to another.
///
/// # Example
/// ```
/// use asyncoro::sync::{OneshotError, oneshot};
///
/// asyncoro::run(async {
///     let (sender, answer) = oneshot();
///     std::thread::spawn(move || sender.send("from a thread").unwrap());
///     assert_eq!(answer.await, Ok("from a thread"));
///
///     let (sender, answer) = oneshot::<u8>();
///     drop(sender);
///     assert_eq!(answer.await, Err(OneshotError));
/// });
/// ```
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    oneshot::pair()
}

/// Makes a channel that has a value, at first `value`: receivers see the latest one that was sent.
///
/// # Example
/// ```
/// use asyncoro::sync::{WatchEnded, watch};
///
/// asyncoro::run(async {
///     let (level, mut watched) = watch("info");
///     std::thread::spawn(move || {
///         level.send("debug");
///         level.send("trace"); // who has not looked in between never sees "debug"
///     });
///     while watched.changed().await != Err(WatchEnded) {}
///     assert_eq!(*watched.borrow(), "trace");
/// });
/// ```
pub fn watch<T>(value: T) -> (WatchSender<T>, WatchReceiver<T>) {
    watch::pair(value)
}
