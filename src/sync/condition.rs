//! Waiting, with a lock given up meanwhile, until somebody says that its value has changed.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use super::{
    lock::{Lock, LockGuard, LockState},
    sharing::{Sharing, StateCell, Threads},
    wait_queue::{WaitQueue, Wakes},
    waiting::{Place, Waiting, Wish},
};
use crate::time;

/// Waits until the value of a [`Lock`] has changed, and gives up the lock meanwhile.
///
/// A wait may also end without a notification, so look at the value again, as
/// [`wait_while`](Self::wait_while) does. That happens when a holder of the lock was cut off by a
/// panic or a termination: who would have notified may never do so. (A holder whose future was
/// dropped in another way, by a `timeout` say, looks like one that has finished.)
///
/// # Example
/// ```
/// use std::rc::Rc;
///
/// use asyncoro::sync::local::{Condition, Lock};
///
/// asyncoro::run(async {
///     let jobs = Rc::new((Lock::new(Vec::new()), Condition::new()));
///     let (queue, filled) = &*jobs;
///     let worker = asyncoro::spawn({
///         let jobs = jobs.clone();
///         async move {
///             let (queue, filled) = &*jobs;
///             let queue = queue.lock().await;
///             let mut queue = filled.wait_while(queue, |queue| queue.is_empty()).await;
///             queue.pop().unwrap()
///         }
///     });
///     asyncoro::coro::yield_now().await;
///     queue.lock().await.push("a job");
///     filled.notify_one();
///     assert_eq!(worker.await.unwrap(), "a job");
/// });
/// ```
pub struct Condition<S: Sharing = Threads> {
    waiting: S::Cell<WaitQueue<()>>,
}

/// What [`Condition::statistics`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConditionStatistics {
    /// How many wait for a notification.
    pub waiting: usize,
}

impl<S: Sharing> Condition<S> {
    /// Makes a condition.
    pub fn new() -> Self {
        Self { waiting: S::Cell::new(WaitQueue::default()) }
    }

    /// Frees the lock, waits for a notification, and takes the lock again.
    ///
    /// A notification made by whoever has the lock next is not missed.
    ///
    /// # Cancel
    /// The lock is free, or given on. If this was notified already, another one that waits is
    /// notified in its place.
    pub async fn wait<'a, T>(&self, guard: LockGuard<'a, T, S>) -> LockGuard<'a, T, S> {
        let lock = LockGuard::lock(&guard);
        let chosen = self.notified(guard).await;
        let guard = lock.lock().await;
        chosen.keep();
        guard
    }

    /// Waits as long as `is_early` returns true for the value.
    ///
    /// # Cancel
    /// As [`wait`](Self::wait).
    pub async fn wait_while<'a, T>(
        &self,
        mut guard: LockGuard<'a, T, S>,
        mut is_early: impl FnMut(&mut T) -> bool,
    ) -> LockGuard<'a, T, S> {
        while is_early(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Waits for a notification for `timeout` at the most, and takes the lock again either way;
    /// `true` if it was notified (or the holder was cut off) in time.
    ///
    /// The time is that of the wait for the notification; taking the lock may take longer. Where
    /// the lock is not wanted after the timeout, put [`time::timeout`](crate::time::timeout) around
    /// `wait`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use asyncoro::sync::local::{Condition, Lock};
    ///
    /// asyncoro::run(async {
    ///     let (lock, changed) = (Lock::new(1), Condition::new());
    ///     let patience = Duration::from_millis(1);
    ///     let (guard, is_notified) = changed.wait_for(lock.lock().await, patience).await;
    ///     assert!(!is_notified && lock.is_locked());
    ///     drop(guard);
    /// });
    /// ```
    ///
    /// # Panics
    /// Outside a running scheduler.
    ///
    /// # Cancel
    /// As [`wait`](Self::wait).
    pub async fn wait_for<'a, T>(
        &self,
        guard: LockGuard<'a, T, S>,
        timeout: Duration,
    ) -> (LockGuard<'a, T, S>, bool) {
        let lock = LockGuard::lock(&guard);
        let chosen = time::timeout(timeout, self.notified(guard)).await;
        let guard = lock.lock().await;
        (guard, chosen.map(Chosen::keep).is_ok())
    }

    /// Ends the wait of the one that has waited longest, if any waits.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Ends the waits of up to `count`, those that have waited longest.
    pub fn notify(&self, count: usize) {
        let mut wakes = Wakes::default();
        self.waiting.with(|waiting| notify(waiting, count, &mut wakes));
        wakes.wake();
    }

    /// Ends the waits of all.
    pub fn notify_all(&self) {
        let mut wakes = Wakes::default();
        self.waiting.with(|waiting| waiting.drain(&mut wakes));
        wakes.wake();
    }

    /// Tells how many wait.
    pub fn statistics(&self) -> ConditionStatistics {
        ConditionStatistics { waiting: self.waiting.with(|waiting| waiting.len()) }
    }

    /// Frees the lock once it waits for a notification.
    fn notified<'a, T>(
        &'a self,
        guard: LockGuard<'a, T, S>,
    ) -> impl Future<Output = Chosen<'a, S>> + Unpin {
        let mut cut_off = Waiting::at_once(CutOff(LockGuard::lock(&guard)));
        let mut notified = Waiting::at_once(Notified(self));
        let mut guard = Some(guard);
        poll_fn(move |context| {
            if let Poll::Ready(chosen) = Pin::new(&mut notified).poll(context) {
                return Poll::Ready(chosen);
            }
            let polled = Pin::new(&mut cut_off).poll(context);
            // It waits in both queues now, so it misses nothing of what the next holder does.
            drop(guard.take());
            polled.map(|()| Chosen { condition: self, passes_on: false })
        })
    }
}

fn notify(waiting: &mut WaitQueue<()>, count: usize, wakes: &mut Wakes) {
    let taken = (0..count).map_while(|_| waiting.pop());
    taken.for_each(|entry| wakes.add(entry.waker));
}

/// A wait that has ended. If it is dropped before the lock was taken, another one is notified.
#[must_use]
struct Chosen<'a, S: Sharing> {
    condition: &'a Condition<S>,
    passes_on: bool,
}

impl<S: Sharing> Chosen<'_, S> {
    fn keep(mut self) {
        self.passes_on = false;
    }
}

impl<S: Sharing> Drop for Chosen<'_, S> {
    fn drop(&mut self) {
        if self.passes_on {
            self.condition.notify_one();
        }
    }
}

/// Waits for a notification.
struct Notified<'a, S: Sharing>(&'a Condition<S>);

impl<'a, S: Sharing> Wish for Notified<'a, S> {
    type State = WaitQueue<()>;
    type Cell = S::Cell<WaitQueue<()>>;
    type Value = ();
    type Found = ();
    type Output = Chosen<'a, S>;

    fn cell(&self) -> &Self::Cell {
        &self.0.waiting
    }

    fn queue(waiting: &mut WaitQueue<()>) -> &mut WaitQueue<()> {
        waiting
    }

    fn value(&self) {}

    fn look(&self, _: &mut WaitQueue<()>, place: Place, _: &mut Wakes) -> Option<()> {
        (place == Place::Chosen).then_some(())
    }

    fn finish(&mut self, (): ()) -> Chosen<'a, S> {
        Chosen { condition: self.0, passes_on: true }
    }

    fn left(&self, waiting: &mut WaitQueue<()>, place: Place, wakes: &mut Wakes) {
        if place == Place::Chosen {
            notify(waiting, 1, wakes);
        }
    }
}

/// Waits until a holder of the lock is cut off.
struct CutOff<'a, T, S: Sharing>(&'a Lock<T, S>);

impl<T, S: Sharing> Wish for CutOff<'_, T, S> {
    type State = LockState;
    type Cell = S::Cell<LockState>;
    type Value = ();
    type Found = ();
    type Output = ();

    fn cell(&self) -> &Self::Cell {
        &self.0.state
    }

    fn queue(state: &mut LockState) -> &mut WaitQueue<()> {
        &mut state.extra.watching
    }

    fn value(&self) {}

    fn look(&self, _: &mut LockState, place: Place, _: &mut Wakes) -> Option<()> {
        (place == Place::Chosen).then_some(())
    }

    fn finish(&mut self, (): ()) {}
}

impl<S: Sharing> Default for Condition<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Sharing> fmt::Debug for Condition<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("waiting", &self.statistics().waiting).finish()
    }
}
