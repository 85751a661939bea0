//! The libraries of locks and channels: tokio's, async-lock and async-channel (as smol has them),
//! local-sync, and both forms of asyncoro's.

use std::rc::Rc;
use std::sync::Arc;

use ::asyncoro::coro::Scheduler;
use ::asyncoro::sync as threads;
use ::asyncoro::sync::Slow;
use ::asyncoro::sync::local;
use ::smol::{channel, lock};
use ::tokio::sync;

use super::{Smol, Tokio};
use crate::primitives::Primitives;
use crate::runtime::Runtime;

pub(crate) enum OfTokio {}

impl Primitives for OfTokio {
    const NAME: &'static str = "tokio";
    type On = Tokio;

    type Lock = Arc<sync::Mutex<u64>>;
    fn lock() -> Self::Lock {
        Self::Lock::default()
    }
    async fn locked(lock: &Self::Lock, waits: bool) {
        let mut guard = lock.lock().await;
        *guard += 1;
        if waits {
            Tokio::yield_now().await;
        }
    }

    type Semaphore = Arc<sync::Semaphore>;
    fn semaphore(permits: usize) -> Self::Semaphore {
        Arc::new(sync::Semaphore::new(permits))
    }
    async fn permitted(semaphore: &Self::Semaphore) {
        let _permit = semaphore.acquire().await.expect("it is open");
        Tokio::yield_now().await;
    }

    type Event = Arc<sync::Notify>;
    fn event() -> Self::Event {
        Arc::new(sync::Notify::new())
    }
    fn set(event: &Self::Event) {
        event.notify_one();
    }
    async fn happened(event: &Self::Event) {
        event.notified().await;
    }

    type Asking = sync::oneshot::Sender<u64>;
    type Answer = sync::oneshot::Receiver<u64>;
    fn oneshot() -> (Self::Asking, Self::Answer) {
        sync::oneshot::channel()
    }
    fn answer(asking: Self::Asking, value: u64) {
        asking.send(value).expect("the receiver is there");
    }
    async fn answered(answer: Self::Answer) -> u64 {
        answer.await.expect("it was sent")
    }

    type Broadcast = sync::broadcast::Sender<u64>;
    type Listener = sync::broadcast::Receiver<u64>;
    fn broadcast(capacity: usize) -> Self::Broadcast {
        sync::broadcast::Sender::new(capacity)
    }
    fn listen(broadcast: &Self::Broadcast) -> Self::Listener {
        broadcast.subscribe()
    }
    async fn tell(broadcast: &Self::Broadcast, value: u64) {
        broadcast.send(value).expect("there are receivers");
    }
    async fn heard(listener: &mut Self::Listener) -> Option<u64> {
        listener.recv().await.ok()
    }

    type Shown = sync::watch::Sender<u64>;
    type Watching = sync::watch::Receiver<u64>;
    fn watch() -> (Self::Shown, Self::Watching) {
        sync::watch::channel(0)
    }
    fn show(shown: &Self::Shown, value: u64) {
        shown.send(value).expect("the receiver is there");
    }
    async fn seen(watching: &mut Self::Watching) -> Option<u64> {
        watching.changed().await.ok()?;
        Some(*watching.borrow())
    }
}

/// async-lock and async-channel.
pub(crate) enum OfSmol {}

impl Primitives for OfSmol {
    const NAME: &'static str = "smol";
    type On = Smol;

    type Lock = Arc<lock::Mutex<u64>>;
    fn lock() -> Self::Lock {
        Self::Lock::default()
    }
    async fn locked(lock: &Self::Lock, waits: bool) {
        let mut guard = lock.lock().await;
        *guard += 1;
        if waits {
            Smol::yield_now().await;
        }
    }

    type Semaphore = Arc<lock::Semaphore>;
    fn semaphore(permits: usize) -> Self::Semaphore {
        Arc::new(lock::Semaphore::new(permits))
    }
    async fn permitted(semaphore: &Self::Semaphore) {
        let _permit = semaphore.acquire().await;
        Smol::yield_now().await;
    }

    type Event = ();
    fn event() {}
    fn set((): &()) {
        unreachable!("{LEFT_OUT}")
    }
    async fn happened((): &()) {
        unreachable!("{LEFT_OUT}")
    }

    /// A channel for one value, as its users make one.
    type Asking = channel::Sender<u64>;
    type Answer = channel::Receiver<u64>;
    fn oneshot() -> (Self::Asking, Self::Answer) {
        channel::bounded(1)
    }
    fn answer(asking: Self::Asking, value: u64) {
        asking.try_send(value).expect("there is room");
    }
    async fn answered(answer: Self::Answer) -> u64 {
        answer.recv().await.expect("it was sent")
    }

    type Broadcast = ();
    type Listener = ();
    fn broadcast(_: usize) {}
    fn listen((): &()) {}
    async fn tell((): &(), _: u64) {
        unreachable!("{LEFT_OUT}")
    }
    async fn heard((): &mut ()) -> Option<u64> {
        unreachable!("{LEFT_OUT}")
    }

    type Shown = ();
    type Watching = ();
    fn watch() -> ((), ()) {
        unreachable!("{LEFT_OUT}")
    }
    fn show((): &(), _: u64) {}
    async fn seen((): &mut ()) -> Option<u64> {
        unreachable!("{LEFT_OUT}")
    }
}

/// local-sync, made for runtimes of one thread. It runs on asyncoro, since a task of monoio that
/// wakes itself runs before all others, which so never wait for it.
pub(crate) enum OfLocalSync {}

impl Primitives for OfLocalSync {
    const NAME: &'static str = "local-sync";
    type On = Scheduler;

    type Lock = ();
    fn lock() {}
    async fn locked((): &(), _: bool) {
        unreachable!("{LEFT_OUT}")
    }

    type Semaphore = Rc<local_sync::semaphore::Semaphore>;
    fn semaphore(permits: usize) -> Self::Semaphore {
        Rc::new(local_sync::semaphore::Semaphore::new(permits))
    }
    async fn permitted(semaphore: &Self::Semaphore) {
        let _permit = semaphore.acquire().await.expect("it is open");
        Scheduler::yield_now().await;
    }

    type Event = ();
    fn event() {}
    fn set((): &()) {
        unreachable!("{LEFT_OUT}")
    }
    async fn happened((): &()) {
        unreachable!("{LEFT_OUT}")
    }

    type Asking = local_sync::oneshot::Sender<u64>;
    type Answer = local_sync::oneshot::Receiver<u64>;
    fn oneshot() -> (Self::Asking, Self::Answer) {
        local_sync::oneshot::channel()
    }
    fn answer(asking: Self::Asking, value: u64) {
        asking.send(value).expect("the receiver is there");
    }
    async fn answered(answer: Self::Answer) -> u64 {
        answer.await.expect("it was sent")
    }

    type Broadcast = ();
    type Listener = ();
    fn broadcast(_: usize) {}
    fn listen((): &()) {}
    async fn tell((): &(), _: u64) {
        unreachable!("{LEFT_OUT}")
    }
    async fn heard((): &mut ()) -> Option<u64> {
        unreachable!("{LEFT_OUT}")
    }

    type Shown = ();
    type Watching = ();
    fn watch() -> ((), ()) {
        unreachable!("{LEFT_OUT}")
    }
    fn show((): &(), _: u64) {}
    async fn seen((): &mut ()) -> Option<u64> {
        unreachable!("{LEFT_OUT}")
    }
}

const LEFT_OUT: &str = "the case leaves out who lacks this";

/// Implements the trait for one of the two forms, whose types have the same names.
macro_rules! asyncoro {
    ($name:ident, $shown:literal, $form:ident, $pointer:ident) => {
        pub(crate) enum $name {}

        impl Primitives for $name {
            const NAME: &'static str = $shown;
            type On = Scheduler;

            type Lock = $pointer<$form::Lock<u64>>;
            fn lock() -> Self::Lock {
                $pointer::new($form::Lock::new(0))
            }
            async fn locked(lock: &Self::Lock, waits: bool) {
                let mut guard = lock.lock().await;
                *guard += 1;
                if waits {
                    Scheduler::yield_now().await;
                }
            }

            type Semaphore = $pointer<$form::Semaphore>;
            fn semaphore(permits: usize) -> Self::Semaphore {
                $pointer::new($form::Semaphore::new(permits))
            }
            async fn permitted(semaphore: &Self::Semaphore) {
                let _permit = semaphore.acquire(1).await.expect("it is open");
                Scheduler::yield_now().await;
            }

            type Event = $pointer<$form::Event>;
            fn event() -> Self::Event {
                $pointer::new($form::Event::new())
            }
            fn set(event: &Self::Event) {
                event.set();
            }
            async fn happened(event: &Self::Event) {
                event.wait().await;
                event.clear();
            }

            type Asking = $form::OneshotSender<u64>;
            type Answer = $form::OneshotReceiver<u64>;
            fn oneshot() -> (Self::Asking, Self::Answer) {
                $form::oneshot()
            }
            fn answer(asking: Self::Asking, value: u64) {
                asking.send(value).expect("the receiver is there");
            }
            async fn answered(answer: Self::Answer) -> u64 {
                answer.await.expect("it was sent")
            }

            type Broadcast = $form::Channel<u64>;
            type Listener = $form::Subscriber<u64>;
            fn broadcast(capacity: usize) -> Self::Broadcast {
                $form::Channel::new(capacity, Slow::DropOldest)
            }
            fn listen(broadcast: &Self::Broadcast) -> Self::Listener {
                broadcast.subscribe()
            }
            async fn tell(broadcast: &Self::Broadcast, value: u64) {
                broadcast.send(value).await.expect("it is open");
            }
            async fn heard(listener: &mut Self::Listener) -> Option<u64> {
                listener.receive().await.ok()
            }

            type Shown = $form::WatchSender<u64>;
            type Watching = $form::WatchReceiver<u64>;
            fn watch() -> (Self::Shown, Self::Watching) {
                $form::watch(0)
            }
            fn show(shown: &Self::Shown, value: u64) {
                shown.send(value);
            }
            async fn seen(watching: &mut Self::Watching) -> Option<u64> {
                watching.changed().await.ok()?;
                Some(*watching.borrow())
            }
        }
    };
}

asyncoro!(OfThreads, "asyncoro threads", threads, Arc);
asyncoro!(OfOneThread, "asyncoro", local, Rc);
