//! A value that one coroutine at a time has.
//!
//! Unsafe: the value is in an `UnsafeCell`. Its lock has one permit (`permits.rs`). A guard is made
//! only by whoever has taken that permit, and gives it back when it is dropped, so there is one
//! guard at most. The value is borrowed through that guard, or through `&mut Lock`, while which
//! there is no guard of a borrowed lock; an owned guard keeps a pointer to the lock, so nobody has
//! a `&mut Lock` then either. Permits pass through the cell of the state, which orders the accesses
//! of threads.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    fmt,
    future::Future,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use super::{
    permits::{Permits, Refused},
    sharing::{Sharing, StateCell, Threads},
    wait_queue::{WaitQueue, Wakes},
    waiting::{Place, Waiting, Wish},
};
use crate::coro;

/// A value that one coroutine at a time has, also while it waits; the others wait for their turn.
///
/// It is fair: who asks first gets it first, and a lock that is freed goes to the first who waits
/// before that one runs. Where no `.await` is between taking and freeing, nobody needs a lock in
/// coroutines of one thread: use a `Cell` or a `RefCell`, and between threads a `std` mutex.
///
/// The guard frees it when it is dropped, however that comes: at the end of a block, by an error, a
/// panic, or the end of the coroutine. **It is not poisoned** by a panic: a coroutine that is
/// terminated or timed out leaves the same half-done value behind at any `.await`, without a panic,
/// so poison would not tell of most cases. Keep such a section free of `.await`s that leave the
/// value wrong. Who waits in a [`Condition`](super::Condition) of this lock is woken when a holder
/// was cut off by a panic or a termination, and [`LockStatistics::cut_off`] counts them.
///
/// A coroutine that asks for a lock that it has waits for itself, for ever. A guard that is
/// forgotten (`mem::forget`) keeps the lock.
///
/// # Example
/// ```
/// use std::rc::Rc;
///
/// use asyncoro::sync::local::Lock;
///
/// asyncoro::run(async {
///     let accounts = Rc::new(Lock::new([10, 0]));
///     for _ in 0..10 {
///         let accounts = accounts.clone();
///         asyncoro::spawn(async move {
///             let mut accounts = accounts.lock().await;
///             accounts[0] -= 1;
///             asyncoro::coro::yield_now().await; // others cannot see the sum go wrong
///             accounts[1] += 1;
///         });
///     }
///     asyncoro::coro::yield_now().await;
///     assert_eq!(accounts.lock().await.iter().sum::<i32>(), 10);
/// });
/// ```
pub struct Lock<T, S: Sharing = Threads> {
    pub(super) state: S::Cell<LockState>,
    value: UnsafeCell<T>,
}

/// The state of a lock.
pub(super) type LockState = Permits<Keeper>;

/// Who has the lock, and who wants to hear of its end.
#[derive(Default)]
pub(super) struct Keeper {
    /// The word of the coroutine that took the lock last; zero outside coroutines.
    word: usize,
    cut_off: u64,
    /// The waits of conditions, woken when a holder is cut off.
    pub(super) watching: WaitQueue<()>,
}

// SAFETY: threads get the value by `&mut` only, one at a time (see above), which `T: Send` allows.
// `Lock<T, Local>` stays on its thread.
unsafe impl<T: Send> Sync for Lock<T, Threads> {}

/// What [`Lock::statistics`] returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockStatistics {
    /// Whether somebody has it, or was given it and has not run since.
    pub is_held: bool,
    /// The name of the coroutine that has it, or the place where that was spawned; `None` outside
    /// coroutines and for one of another scheduler.
    pub holder: Option<String>,
    /// How many wait for it.
    pub waiting: usize,
    /// How many holders were ended by a panic or a termination.
    pub cut_off: u64,
}

impl<T, S: Sharing> Lock<T, S> {
    /// Makes a lock that nobody has.
    pub fn new(value: T) -> Self {
        Self { state: S::Cell::new(Permits::new(1)), value: UnsafeCell::new(value) }
    }

    /// Takes the lock, and waits for it meanwhile.
    ///
    /// # Cancel
    /// Nothing is lost but the place in the queue. If the lock was given to this wait already, it
    /// goes on to the next.
    pub fn lock(&self) -> impl Future<Output = LockGuard<'_, T, S>> + Unpin {
        Waiting::new(Borrowed(self))
    }

    /// Takes the lock if nobody has it and nobody waits for it.
    ///
    /// ```
    /// let lock = asyncoro::sync::Lock::new(1);
    /// let guard = lock.try_lock().unwrap();
    /// assert!(lock.try_lock().is_none());
    /// drop(guard);
    /// *lock.try_lock().unwrap() += 1;
    /// assert_eq!(lock.into_inner(), 2);
    /// ```
    pub fn try_lock(&self) -> Option<LockGuard<'_, T, S>> {
        self.take().then(|| LockGuard::new(self))
    }

    /// Takes the lock, with a guard that borrows nothing: it may go to another coroutine, say.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use asyncoro::sync::Lock;
    ///
    /// let lock = Arc::new(Lock::new(String::new()));
    /// asyncoro::run(async move {
    ///     let mut guard = Lock::lock_owned(&lock).await;
    ///     asyncoro::spawn(async move { guard.push_str("by another coroutine") });
    ///     assert_eq!(*lock.lock().await, "by another coroutine");
    /// });
    /// ```
    ///
    /// # Cancel
    /// As [`lock`](Self::lock).
    pub fn lock_owned(
        lock: &S::Pointer<Self>,
    ) -> impl Future<Output = OwnedLockGuard<T, S>> + Unpin + use<T, S> {
        Waiting::new(Owned::<T, S>(Some(lock.clone())))
    }

    /// As [`try_lock`](Self::try_lock), with a guard that borrows nothing.
    pub fn try_lock_owned(lock: &S::Pointer<Self>) -> Option<OwnedLockGuard<T, S>> {
        lock.take().then(|| OwnedLockGuard::new(lock.clone()))
    }

    /// Tells whether somebody has the lock; this may be outdated at once where threads share it.
    pub fn is_locked(&self) -> bool {
        self.state.with(|state| state.available() == 0)
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
    ///
    /// ```
    /// use asyncoro::{coro::current, sync::local::Lock};
    ///
    /// asyncoro::run(async {
    ///     current().set_name("the owner");
    ///     let lock = Lock::new(());
    ///     let _guard = lock.lock().await;
    ///     assert_eq!(lock.statistics().holder.as_deref(), Some("the owner"));
    /// });
    /// ```
    pub fn statistics(&self) -> LockStatistics {
        let (word, mut told) = self.state.with(|state| {
            let is_held = state.available() == 0;
            let (waiting, cut_off) = (state.waiting.len(), state.extra.cut_off);
            (state.extra.word, LockStatistics { is_held, holder: None, waiting, cut_off })
        });
        if told.is_held && word != 0 {
            told.holder = coro::name_of(word);
        }
        told
    }

    #[inline]
    fn take(&self) -> bool {
        self.state.with(|state| {
            let is_taken = state.take(1).is_ok();
            if is_taken {
                state.extra.word = coro::running();
            }
            is_taken
        })
    }

    #[inline]
    fn free(&self) {
        let is_cut_off = coro::is_cut_off();
        let mut wakes = Wakes::default();
        self.state.with_at_end(|state| {
            state.extra.word = 0;
            if is_cut_off {
                state.extra.cut_off += 1;
                state.extra.watching.drain(&mut wakes);
            }
            state.release(1, &mut wakes);
        });
        wakes.wake();
    }
}

/// Has a [`Lock`], and frees it when it is dropped.
#[must_use = "the lock is freed at once if its guard is not kept"]
pub struct LockGuard<'a, T, S: Sharing = Threads> {
    lock: &'a Lock<T, S>,
    /// It lends the value as `&mut T` does.
    _value: PhantomData<&'a mut T>,
}

impl<'a, T, S: Sharing> LockGuard<'a, T, S> {
    /// The caller has taken the permit of the lock.
    #[inline]
    fn new(lock: &'a Lock<T, S>) -> Self {
        Self { lock, _value: PhantomData }
    }

    /// Returns the lock.
    ///
    /// An associated function, `LockGuard::lock(&guard)`, since the value may have a method of that
    /// name.
    pub fn lock(guard: &Self) -> &'a Lock<T, S> {
        guard.lock
    }
}

impl<T, S: Sharing> Deref for LockGuard<'_, T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this is the lock's one guard.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, S: Sharing> DerefMut for LockGuard<'_, T, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the lock's one guard, borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, S: Sharing> Drop for LockGuard<'_, T, S> {
    #[inline]
    fn drop(&mut self) {
        self.lock.free();
    }
}

/// Has a [`Lock`] as [`LockGuard`] does, through a counted pointer.
#[must_use = "the lock is freed at once if its guard is not kept"]
pub struct OwnedLockGuard<T, S: Sharing = Threads> {
    lock: S::Pointer<Lock<T, S>>,
    /// It lends the value as a `T` does.
    _value: PhantomData<T>,
}

impl<T, S: Sharing> OwnedLockGuard<T, S> {
    /// The caller has taken the permit of the lock.
    fn new(lock: S::Pointer<Lock<T, S>>) -> Self {
        Self { lock, _value: PhantomData }
    }
}

impl<T, S: Sharing> Deref for OwnedLockGuard<T, S> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this is the lock's one guard.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, S: Sharing> DerefMut for OwnedLockGuard<T, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this is the lock's one guard, borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, S: Sharing> Drop for OwnedLockGuard<T, S> {
    #[inline]
    fn drop(&mut self) {
        self.lock.free();
    }
}

/// Waits for a borrowed lock.
pub(super) struct Borrowed<'a, T, S: Sharing>(pub(super) &'a Lock<T, S>);

impl<'a, T, S: Sharing> Wish for Borrowed<'a, T, S> {
    type State = LockState;
    type Cell = S::Cell<LockState>;
    type Value = usize;
    type Found = ();
    type Output = LockGuard<'a, T, S>;

    #[inline]
    fn cell(&self) -> &Self::Cell {
        &self.0.state
    }

    #[inline]
    fn queue(state: &mut LockState) -> &mut WaitQueue<usize> {
        &mut state.waiting
    }

    fn value(&self) -> usize {
        1
    }

    #[inline]
    fn look(&self, state: &mut LockState, place: Place, _: &mut Wakes) -> Option<()> {
        look(state, place)
    }

    #[inline]
    fn finish(&mut self, (): ()) -> Self::Output {
        LockGuard::new(self.0)
    }

    fn left(&self, state: &mut LockState, place: Place, wakes: &mut Wakes) {
        state.left(1, place, wakes);
    }
}

/// Waits for a lock behind a counted pointer.
struct Owned<T, S: Sharing>(Option<S::Pointer<Lock<T, S>>>);

impl<T, S: Sharing> Wish for Owned<T, S> {
    type State = LockState;
    type Cell = S::Cell<LockState>;
    type Value = usize;
    type Found = ();
    type Output = OwnedLockGuard<T, S>;

    fn cell(&self) -> &Self::Cell {
        &self.0.as_ref().expect(KEPT).state
    }

    fn queue(state: &mut LockState) -> &mut WaitQueue<usize> {
        &mut state.waiting
    }

    fn value(&self) -> usize {
        1
    }

    fn look(&self, state: &mut LockState, place: Place, _: &mut Wakes) -> Option<()> {
        look(state, place)
    }

    fn finish(&mut self, (): ()) -> Self::Output {
        OwnedLockGuard::new(self.0.take().expect(KEPT))
    }

    fn left(&self, state: &mut LockState, place: Place, wakes: &mut Wakes) {
        state.left(1, place, wakes);
    }
}

const KEPT: &str = "the pointer is kept until the lock was taken";

#[inline]
fn look(state: &mut LockState, place: Place) -> Option<()> {
    let taken = state.look(1, place)?;
    debug_assert_ne!(taken, Err(Refused::Closed), "a lock is never closed");
    state.extra.word = coro::running();
    Some(())
}

impl<T: Default, S: Sharing> Default for Lock<T, S> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T, S: Sharing> From<T> for Lock<T, S> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug, S: Sharing> fmt::Debug for Lock<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Lock");
        match self.try_lock() {
            Some(guard) => shown.field("value", &*guard).finish(),
            None => shown.field("value", &format_args!("<locked>")).finish(),
        }
    }
}

impl<T: fmt::Debug, S: Sharing> fmt::Debug for LockGuard<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug, S: Sharing> fmt::Debug for OwnedLockGuard<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display, S: Sharing> fmt::Display for LockGuard<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
