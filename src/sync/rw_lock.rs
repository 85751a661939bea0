//! A value that many read or one changes.
//!
//! Unsafe: the value is in an `UnsafeCell`. The lock has [`ALL`] permits (`permits.rs`). A reader's
//! guard is made by whoever has taken one, a writer's by whoever has taken all, and each gives its
//! permits back when it is dropped. So while there is a writer's guard there is no other, and
//! `&mut RwLock` is only there without guards. Permits pass through the cell of the state, which
//! orders the accesses of threads.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    ops::{Deref, DerefMut},
};

use super::{
    permits::Permits,
    sharing::{Sharing, StateCell, Threads},
    wait_queue::{WaitQueue, Wakes},
    waiting::{Place, Waiting, Wish},
};

/// A value that many read at a time or one changes, also while they wait.
///
/// It is fair: who asks first is served first. Readers that come after a writer has asked wait
/// behind it, so they cannot keep it waiting for ever; neighbouring readers in the queue get their
/// turn together. So a coroutine that reads and asks to read again may wait for itself, with a
/// writer in between.
///
/// As with [`Lock`](super::Lock), the guards free it however they are dropped, there is no poison,
/// and a guard that is forgotten keeps it.
///
/// # Example
/// ```
/// use asyncoro::sync::local::RwLock;
///
/// asyncoro::run(async {
///     let routes = RwLock::new(vec!["/"]);
///     {
///         let (one, two) = (routes.read().await, routes.read().await);
///         assert_eq!(one.len() + two.len(), 2);
///         assert!(routes.try_write().is_none());
///     }
///     routes.write().await.push("/status");
///     assert_eq!(routes.read().await.len(), 2);
/// });
/// ```
pub struct RwLock<T, S: Sharing = Threads> {
    state: S::Cell<Permits>,
    value: UnsafeCell<T>,
}

/// The permits of a lock.
const ALL: usize = usize::MAX >> 1;

// SAFETY: threads get the value by `&` (several at a time, hence `T: Sync`) or by `&mut` (one at a
// time, hence `T: Send`), see above. `RwLock<T, Local>` stays on its thread.
unsafe impl<T: Send + Sync> Sync for RwLock<T, Threads> {}

/// What [`RwLock::statistics`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RwLockStatistics {
    /// How many read.
    pub readers: usize,
    /// Whether one writes.
    pub is_written: bool,
    /// How many wait, readers and writers.
    pub waiting: usize,
}

impl<T, S: Sharing> RwLock<T, S> {
    /// Makes a lock that nobody has.
    pub fn new(value: T) -> Self {
        Self { state: S::Cell::new(Permits::new(ALL)), value: UnsafeCell::new(value) }
    }

    /// Waits until it may read.
    ///
    /// # Cancel
    /// Nothing is lost but the place in the queue, and what was given to this wait goes on to the
    /// next.
    pub fn read(&self) -> impl Future<Output = RwLockReadGuard<'_, T, S>> + Unpin {
        Waiting::new(Wanting { lock: self, permits: 1, guard: RwLockReadGuard::new })
    }

    /// Waits until it may write: until nobody else reads or writes.
    ///
    /// # Cancel
    /// As [`read`](Self::read): those who waited only because this did may go on.
    pub fn write(&self) -> impl Future<Output = RwLockWriteGuard<'_, T, S>> + Unpin {
        Waiting::new(Wanting { lock: self, permits: ALL, guard: RwLockWriteGuard::new })
    }

    /// Reads if nobody writes and nobody waits.
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T, S>> {
        let is_taken = self.state.with(|state| state.take(1)).is_ok();
        is_taken.then(|| RwLockReadGuard::new(self))
    }

    /// Writes if nobody reads or writes.
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T, S>> {
        let is_taken = self.state.with(|state| state.take(ALL)).is_ok();
        is_taken.then(|| RwLockWriteGuard::new(self))
    }

    /// Lends the value without locking, which `&mut` makes needless.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Returns the value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    /// Tells who has the lock and how many wait.
    pub fn statistics(&self) -> RwLockStatistics {
        self.state.with(|state| {
            let (taken, waiting) = (ALL - state.available(), state.waiting.len());
            let is_written = taken == ALL;
            RwLockStatistics { readers: if is_written { 0 } else { taken }, is_written, waiting }
        })
    }

    #[inline]
    fn free(&self, permits: usize) {
        let mut wakes = Wakes::default();
        self.state.with_at_end(|state| state.release(permits, &mut wakes));
        wakes.wake();
    }
}

/// Reads the value of a [`RwLock`] until it is dropped.
#[must_use = "the lock is freed at once if its guard is not kept"]
pub struct RwLockReadGuard<'a, T, S: Sharing = Threads> {
    lock: &'a RwLock<T, S>,
}

impl<'a, T, S: Sharing> RwLockReadGuard<'a, T, S> {
    /// The caller has taken a permit.
    #[inline]
    fn new(lock: &'a RwLock<T, S>) -> Self {
        Self { lock }
    }
}

impl<T, S: Sharing> Deref for RwLockReadGuard<'_, T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard has a permit, so there is no writer's guard.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, S: Sharing> Drop for RwLockReadGuard<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        self.lock.free(1);
    }
}

/// Reads and changes the value of a [`RwLock`] until it is dropped.
#[must_use = "the lock is freed at once if its guard is not kept"]
pub struct RwLockWriteGuard<'a, T, S: Sharing = Threads> {
    lock: &'a RwLock<T, S>,
    /// It lends the value as `&mut T` does.
    _value: PhantomData<&'a mut T>,
}

impl<'a, T, S: Sharing> RwLockWriteGuard<'a, T, S> {
    /// The caller has taken all permits.
    #[inline]
    fn new(lock: &'a RwLock<T, S>) -> Self {
        Self { lock, _value: PhantomData }
    }

    /// Goes on reading, with nobody writing in between; others may read, too.
    ///
    /// ```
    /// use asyncoro::sync::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1);
    /// let mut writing = lock.try_write().unwrap();
    /// *writing = 2;
    /// let reading = RwLockWriteGuard::downgrade(writing);
    /// assert_eq!((*reading, *lock.try_read().unwrap()), (2, 2));
    /// ```
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T, S> {
        let lock = guard.lock;
        mem::forget(guard);
        lock.free(ALL - 1);
        RwLockReadGuard::new(lock)
    }
}

impl<T, S: Sharing> Deref for RwLockWriteGuard<'_, T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard has all permits, so it is the only one.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, S: Sharing> DerefMut for RwLockWriteGuard<'_, T, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard has all permits, so it is the only one; it is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, S: Sharing> Drop for RwLockWriteGuard<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        self.lock.free(ALL);
    }
}

/// Waits for permits, and makes a guard of them.
struct Wanting<'a, T, S: Sharing, G> {
    lock: &'a RwLock<T, S>,
    permits: usize,
    guard: fn(&'a RwLock<T, S>) -> G,
}

impl<T, S: Sharing, G> Wish for Wanting<'_, T, S, G> {
    type State = Permits;
    type Cell = S::Cell<Permits>;
    type Value = usize;
    type Found = ();
    type Output = G;

    #[inline]
    fn cell(&self) -> &Self::Cell {
        &self.lock.state
    }

    #[inline]
    fn queue(state: &mut Permits) -> &mut WaitQueue<usize> {
        &mut state.waiting
    }

    fn value(&self) -> usize {
        self.permits
    }

    #[inline]
    fn look(&self, state: &mut Permits, place: Place, _: &mut Wakes) -> Option<()> {
        state.look(self.permits, place).map(|_| ())
    }

    #[inline]
    fn finish(&mut self, (): ()) -> G {
        (self.guard)(self.lock)
    }

    fn left(&self, state: &mut Permits, place: Place, wakes: &mut Wakes) {
        state.left(self.permits, place, wakes);
    }
}

impl<T: Default, S: Sharing> Default for RwLock<T, S> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug, S: Sharing> fmt::Debug for RwLock<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RwLock");
        match self.try_read() {
            Some(guard) => shown.field("value", &*guard).finish(),
            None => shown.field("value", &format_args!("<locked>")).finish(),
        }
    }
}

impl<T: fmt::Debug, S: Sharing> fmt::Debug for RwLockReadGuard<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug, S: Sharing> fmt::Debug for RwLockWriteGuard<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
