//! A value that is made once, by whoever needs it first.

use std::{convert::Infallible, fmt, future::Future};

use super::{
    permits::{Permits, Refused},
    sharing::{OnceSlot, Sharing, StateCell, Threads},
    wait_queue::{WaitQueue, Wakes},
    waiting::{Place, Waiting, Wish},
};

/// A value that is made once, by whoever needs it first; the others wait for it meanwhile.
///
/// If the one who makes it fails, panics, or is dropped, the next one tries. One who needs the
/// value for making it waits for itself, for ever. `OnceCell<()>` does something once.
///
/// # Example
/// ```
/// use asyncoro::sync::local::OnceCell;
///
/// asyncoro::run(async {
///     let config = OnceCell::new();
///     let broken = config.get_or_try_init(async || "x".parse::<u16>()).await;
///     assert!(broken.is_err() && config.get().is_none());
///     assert_eq!(*config.get_or_init(async || 8080).await, 8080);
///     assert_eq!(*config.get_or_init(async || unreachable!("it is there")).await, 8080);
/// });
/// ```
pub struct OnceCell<T, S: Sharing = Threads> {
    value: S::Once<T>,
    /// Whoever has the permit makes the value; closed once it is there.
    making: S::Cell<Permits>,
}

/// What [`OnceCell::statistics`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnceCellStatistics {
    /// Whether the value is there.
    pub is_set: bool,
    /// How many wait for it, without the one who makes it.
    pub waiting: usize,
}

impl<T, S: Sharing> OnceCell<T, S> {
    /// Makes an empty cell.
    pub fn new() -> Self {
        Self { value: S::Once::new(), making: S::Cell::new(Permits::new(1)) }
    }

    /// Returns the value if it is there.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Lends the value if it is there.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Returns the value if it is there.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Puts the value in.
    ///
    /// # Errors
    /// The value, if one is there or is being made.
    pub fn set(&self, value: T) -> Result<(), T> {
        match self.making.with(|making| making.take(1)) {
            Ok(()) => {
                let making = Making(self);
                let set = self.value.set(value);
                drop(making);
                set
            }
            Err(Refused::TooFew | Refused::Closed) => Err(value),
        }
    }

    /// Returns the value, and makes it with `make` if there is none.
    ///
    /// # Cancel
    /// What `make` has done is dropped, and the next one who waits makes the value.
    pub async fn get_or_init(&self, make: impl AsyncFnOnce() -> T) -> &T {
        let made = self.get_or_try_init(async || Ok::<T, Infallible>(make().await)).await;
        match made {
            Ok(value) => value,
        }
    }

    /// Returns the value, and makes it with `make` if there is none.
    ///
    /// # Errors
    /// That of `make`. The next one who waits tries then.
    ///
    /// # Cancel
    /// As [`get_or_init`](Self::get_or_init).
    pub async fn get_or_try_init<E>(
        &self,
        make: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        if let Some(making) = self.turn().await {
            let value = make().await?;
            let is_first = self.value.set(value).is_ok();
            debug_assert!(is_first, "only who has the permit sets the value");
            drop(making);
        }
        Ok(self.value.get().expect("it was made, here or by another one"))
    }

    /// Tells whether the value is there and how many wait.
    pub fn statistics(&self) -> OnceCellStatistics {
        let waiting = self.making.with(|making| making.waiting.len());
        OnceCellStatistics { is_set: self.value.get().is_some(), waiting }
    }

    /// Waits for the permit to make the value; `None` if it is there.
    fn turn(&self) -> impl Future<Output = Option<Making<'_, T, S>>> + Unpin {
        Waiting::new(Turn(self))
    }
}

/// The permit to make the value.
struct Making<'a, T, S: Sharing>(&'a OnceCell<T, S>);

impl<T, S: Sharing> Drop for Making<'_, T, S> {
    fn drop(&mut self) {
        let is_made = self.0.value.get().is_some();
        let mut wakes = Wakes::default();
        self.0.making.with_at_end(|making| match is_made {
            true => making.close(&mut wakes),
            false => making.release(1, &mut wakes),
        });
        wakes.wake();
    }
}

struct Turn<'a, T, S: Sharing>(&'a OnceCell<T, S>);

impl<'a, T, S: Sharing> Wish for Turn<'a, T, S> {
    type State = Permits;
    type Cell = S::Cell<Permits>;
    type Value = usize;
    type Found = Result<(), Refused>;
    type Output = Option<Making<'a, T, S>>;

    fn cell(&self) -> &Self::Cell {
        &self.0.making
    }

    fn queue(making: &mut Permits) -> &mut WaitQueue<usize> {
        &mut making.waiting
    }

    fn value(&self) -> usize {
        1
    }

    fn look(&self, making: &mut Permits, place: Place, _: &mut Wakes) -> Option<Self::Found> {
        making.look(1, place)
    }

    fn finish(&mut self, found: Self::Found) -> Self::Output {
        found.is_ok().then(|| Making(self.0))
    }

    fn left(&self, making: &mut Permits, place: Place, wakes: &mut Wakes) {
        making.left(1, place, wakes);
    }
}

impl<T, S: Sharing> Default for OnceCell<T, S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug, S: Sharing> fmt::Debug for OnceCell<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceCell").field(&self.get()).finish()
    }
}
