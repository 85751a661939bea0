//! A number of permits.

use std::{error::Error, fmt, future::Future};

use super::{
    permits::{Permits, Refused},
    sharing::{Sharing, StateCell, Threads},
    wait_queue::{WaitQueue, Wakes},
    waiting::{Place, Waiting, Wish},
};

/// A number of permits: who takes one gives it back by dropping it, and who finds none waits.
///
/// It is fair: who asks first is served first. One who wants many permits is not overtaken by
/// others who want few, so it gets them in the end.
///
/// # Example
/// ```
/// use std::{cell::Cell, rc::Rc};
///
/// use asyncoro::{coro::{Coros, yield_now}, sync::local::Semaphore};
///
/// asyncoro::run(async {
///     let (slots, busy) = (Rc::new(Semaphore::new(3)), Rc::new(Cell::new(0)));
///     let mut jobs = Coros::new();
///     for _ in 0..10 {
///         let permit = Semaphore::acquire_owned(&slots, 1).await.unwrap();
///         let busy = busy.clone();
///         jobs.spawn(async move {
///             busy.set(busy.get() + 1);
///             assert!(busy.get() <= 3);
///             yield_now().await;
///             busy.set(busy.get() - 1);
///             drop(permit);
///         }).await;
///     }
///     while jobs.next().await.is_some() {}
///     assert_eq!(slots.available(), 3);
/// });
/// ```
pub struct Semaphore<S: Sharing = Threads> {
    state: S::Cell<Permits>,
}

/// The semaphore was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquireError;

/// Why there are no permits at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryAcquireError {
    /// There are fewer than were asked for, or others wait for them.
    NoPermits,
    /// The semaphore was closed.
    Closed,
}

/// What [`Semaphore::statistics`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SemaphoreStatistics {
    /// How many permits there are to take.
    pub available: usize,
    /// How many wait for permits.
    pub waiting: usize,
}

impl<S: Sharing> Semaphore<S> {
    /// Makes a semaphore with a number of permits.
    pub fn new(permits: usize) -> Self {
        Self { state: S::Cell::new(Permits::new(permits)) }
    }

    /// Takes `permits` at once, and waits until there are so many.
    ///
    /// One who asks for more than there will ever be waits until the semaphore is closed, and all
    /// who ask later wait behind.
    ///
    /// # Errors
    /// [`AcquireError`] if the semaphore was closed, before or while this waits.
    ///
    /// # Cancel
    /// Nothing is lost but the place in the queue. If permits were given to this wait already, they
    /// go on to the next.
    pub fn acquire(
        &self,
        permits: usize,
    ) -> impl Future<Output = Result<SemaphorePermit<'_, S>, AcquireError>> + Unpin {
        Waiting::new(Borrowed { semaphore: self, permits })
    }

    /// Takes `permits` if there are so many and nobody waits.
    ///
    /// ```
    /// use asyncoro::sync::{Semaphore, TryAcquireError};
    ///
    /// let seats = Semaphore::new(2);
    /// let two = seats.try_acquire(2).unwrap();
    /// assert_eq!(seats.try_acquire(1).unwrap_err(), TryAcquireError::NoPermits);
    /// drop(two);
    /// seats.try_acquire(1).unwrap().forget(); // never comes back
    /// assert_eq!(seats.available(), 1);
    /// seats.close();
    /// assert_eq!(seats.try_acquire(1).unwrap_err(), TryAcquireError::Closed);
    /// ```
    ///
    /// # Errors
    /// [`TryAcquireError`] says which of both is missing, or that the semaphore was closed.
    pub fn try_acquire(&self, permits: usize) -> Result<SemaphorePermit<'_, S>, TryAcquireError> {
        self.take(permits)?;
        Ok(SemaphorePermit { semaphore: self, permits })
    }

    /// Takes `permits` as [`acquire`](Self::acquire), and borrows nothing: the permit may go into
    /// the coroutine that it allows.
    ///
    /// # Errors
    /// As `acquire`.
    ///
    /// # Cancel
    /// As `acquire`.
    pub fn acquire_owned(
        semaphore: &S::Pointer<Self>,
        permits: usize,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit<S>, AcquireError>> + Unpin + use<S> {
        Waiting::new(Owned::<S> { semaphore: Some(semaphore.clone()), permits })
    }

    /// Takes `permits` as [`try_acquire`](Self::try_acquire), and borrows nothing.
    ///
    /// # Errors
    /// As `try_acquire`.
    pub fn try_acquire_owned(
        semaphore: &S::Pointer<Self>,
        permits: usize,
    ) -> Result<OwnedSemaphorePermit<S>, TryAcquireError> {
        semaphore.take(permits)?;
        Ok(OwnedSemaphorePermit { semaphore: semaphore.clone(), permits })
    }

    /// Returns how many permits there are to take.
    pub fn available(&self) -> usize {
        self.state.with(|state| state.available())
    }

    /// Adds permits, for those who wait first.
    ///
    /// # Panics
    /// If there would be more than `usize::MAX` to take.
    pub fn add_permits(&self, permits: usize) {
        let mut wakes = Wakes::default();
        self.state.with(|state| state.add(permits, &mut wakes));
        wakes.wake();
    }

    /// Takes up to `permits` away for good, of those that nobody has; returns how many.
    ///
    /// ```
    /// let semaphore = asyncoro::sync::Semaphore::new(3);
    /// assert_eq!(semaphore.forget_permits(5), 3);
    /// semaphore.add_permits(1);
    /// assert_eq!(semaphore.available(), 1);
    /// ```
    pub fn forget_permits(&self, permits: usize) -> usize {
        self.state.with(|state| state.forget(permits))
    }

    /// Closes the semaphore: nobody gets permits any more, and those who wait are told.
    pub fn close(&self) {
        let mut wakes = Wakes::default();
        self.state.with(|state| state.close(&mut wakes));
        wakes.wake();
    }

    /// Tells whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.state.with(|state| state.is_closed())
    }

    /// Tells how many permits there are and how many wait.
    pub fn statistics(&self) -> SemaphoreStatistics {
        self.state.with(|state| SemaphoreStatistics {
            available: state.available(),
            waiting: state.waiting.len(),
        })
    }

    fn take(&self, permits: usize) -> Result<(), TryAcquireError> {
        self.state.with(|state| state.take(permits)).map_err(|refused| match refused {
            Refused::TooFew => TryAcquireError::NoPermits,
            Refused::Closed => TryAcquireError::Closed,
        })
    }

    #[inline]
    fn give_back(&self, permits: usize) {
        let mut wakes = Wakes::default();
        self.state.with_at_end(|state| state.release(permits, &mut wakes));
        wakes.wake();
    }
}

/// Permits of a [`Semaphore`], which go back when it is dropped.
#[must_use = "permits go back at once if this is not kept"]
pub struct SemaphorePermit<'a, S: Sharing = Threads> {
    semaphore: &'a Semaphore<S>,
    permits: usize,
}

impl<S: Sharing> SemaphorePermit<'_, S> {
    /// Returns how many permits it is.
    pub fn count(&self) -> usize {
        self.permits
    }

    /// Takes the permits away for good.
    pub fn forget(mut self) {
        self.permits = 0;
    }
}

impl<S: Sharing> Drop for SemaphorePermit<'_, S> {
    #[inline]
    fn drop(&mut self) {
        if self.permits > 0 {
            self.semaphore.give_back(self.permits);
        }
    }
}

/// Permits of a [`Semaphore`] as [`SemaphorePermit`], through a counted pointer.
#[must_use = "permits go back at once if this is not kept"]
pub struct OwnedSemaphorePermit<S: Sharing = Threads> {
    semaphore: S::Pointer<Semaphore<S>>,
    permits: usize,
}

impl<S: Sharing> OwnedSemaphorePermit<S> {
    /// Returns how many permits it is.
    pub fn count(&self) -> usize {
        self.permits
    }

    /// Takes the permits away for good.
    pub fn forget(mut self) {
        self.permits = 0;
    }
}

impl<S: Sharing> Drop for OwnedSemaphorePermit<S> {
    #[inline]
    fn drop(&mut self) {
        if self.permits > 0 {
            self.semaphore.give_back(self.permits);
        }
    }
}

/// Waits for permits of a borrowed semaphore.
struct Borrowed<'a, S: Sharing> {
    semaphore: &'a Semaphore<S>,
    permits: usize,
}

impl<'a, S: Sharing> Wish for Borrowed<'a, S> {
    type State = Permits;
    type Cell = S::Cell<Permits>;
    type Value = usize;
    type Found = Result<(), Refused>;
    type Output = Result<SemaphorePermit<'a, S>, AcquireError>;

    #[inline]
    fn cell(&self) -> &Self::Cell {
        &self.semaphore.state
    }

    #[inline]
    fn queue(state: &mut Permits) -> &mut WaitQueue<usize> {
        &mut state.waiting
    }

    fn value(&self) -> usize {
        self.permits
    }

    #[inline]
    fn look(&self, state: &mut Permits, place: Place, _: &mut Wakes) -> Option<Self::Found> {
        state.look(self.permits, place)
    }

    #[inline]
    fn finish(&mut self, found: Self::Found) -> Self::Output {
        found.map_err(|_| AcquireError)?;
        Ok(SemaphorePermit { semaphore: self.semaphore, permits: self.permits })
    }

    fn left(&self, state: &mut Permits, place: Place, wakes: &mut Wakes) {
        state.left(self.permits, place, wakes);
    }
}

/// Waits for permits of a semaphore behind a counted pointer.
struct Owned<S: Sharing> {
    semaphore: Option<S::Pointer<Semaphore<S>>>,
    permits: usize,
}

impl<S: Sharing> Wish for Owned<S> {
    type State = Permits;
    type Cell = S::Cell<Permits>;
    type Value = usize;
    type Found = Result<(), Refused>;
    type Output = Result<OwnedSemaphorePermit<S>, AcquireError>;

    fn cell(&self) -> &Self::Cell {
        &self.semaphore.as_ref().expect(KEPT).state
    }

    fn queue(state: &mut Permits) -> &mut WaitQueue<usize> {
        &mut state.waiting
    }

    fn value(&self) -> usize {
        self.permits
    }

    fn look(&self, state: &mut Permits, place: Place, _: &mut Wakes) -> Option<Self::Found> {
        state.look(self.permits, place)
    }

    fn finish(&mut self, found: Self::Found) -> Self::Output {
        let semaphore = self.semaphore.take().expect(KEPT);
        found.map_err(|_| AcquireError)?;
        Ok(OwnedSemaphorePermit { semaphore, permits: self.permits })
    }

    fn left(&self, state: &mut Permits, place: Place, wakes: &mut Wakes) {
        state.left(self.permits, place, wakes);
    }
}

const KEPT: &str = "the pointer is kept until the wait has ended";

impl<S: Sharing> fmt::Debug for Semaphore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SemaphoreStatistics { available, waiting } = self.statistics();
        let mut shown = f.debug_struct("Semaphore");
        shown.field("available", &available).field("waiting", &waiting).finish()
    }
}

impl<S: Sharing> fmt::Debug for SemaphorePermit<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SemaphorePermit").field(&self.permits).finish()
    }
}

impl<S: Sharing> fmt::Debug for OwnedSemaphorePermit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedSemaphorePermit").field(&self.permits).finish()
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CLOSED)
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPermits => "the semaphore has too few permits now",
            Self::Closed => CLOSED,
        })
    }
}

impl Error for AcquireError {}
impl Error for TryAcquireError {}

const CLOSED: &str = "the semaphore is closed";
