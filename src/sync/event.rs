//! Something that has happened, or not yet.

use std::{fmt, future::Future};

use super::{
    sharing::{Sharing, StateCell, Threads},
    wait_queue::{WaitQueue, Wakes},
    waiting::{Place, Waiting, Wish},
};

/// A flag that coroutines wait for.
///
/// Whoever waits when it is set goes on, also if it is cleared before they run.
///
/// # Example
/// ```
/// use std::rc::Rc;
///
/// use asyncoro::sync::local::Event;
///
/// asyncoro::run(async {
///     let ready = Rc::new(Event::new());
///     let waits = ready.clone();
///     let waiting = asyncoro::spawn(async move { waits.wait().await });
///     asyncoro::coro::yield_now().await;
///     ready.set();
///     ready.clear();
///     waiting.await.unwrap();
///     assert!(!ready.is_set());
/// });
/// ```
pub struct Event<S: Sharing = Threads> {
    state: S::Cell<State>,
}

#[derive(Default)]
struct State {
    is_set: bool,
    waiting: WaitQueue<()>,
}

/// What [`Event::statistics`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStatistics {
    /// Whether it is set.
    pub is_set: bool,
    /// How many wait for it.
    pub waiting: usize,
}

impl<S: Sharing> Event<S> {
    /// Makes an event that is not set.
    pub fn new() -> Self {
        Self { state: S::Cell::new(State::default()) }
    }

    /// Sets it: all who wait go on, and who waits later does not wait at all.
    pub fn set(&self) {
        let mut wakes = Wakes::default();
        self.state.with(|state| {
            state.is_set = true;
            state.waiting.drain(&mut wakes);
        });
        wakes.wake();
    }

    /// Clears it: who waits from now on waits for the next [`set`](Self::set).
    pub fn clear(&self) {
        self.state.with(|state| state.is_set = false);
    }

    /// Tells whether it is set.
    pub fn is_set(&self) -> bool {
        self.state.with(|state| state.is_set)
    }

    /// Waits until it is set.
    ///
    /// # Cancel
    /// Nothing happens.
    pub fn wait(&self) -> impl Future<Output = ()> + Unpin {
        Waiting::new(Set(self))
    }

    /// Tells whether it is set and how many wait.
    pub fn statistics(&self) -> EventStatistics {
        self.state
            .with(|state| EventStatistics { is_set: state.is_set, waiting: state.waiting.len() })
    }
}

struct Set<'a, S: Sharing>(&'a Event<S>);

impl<S: Sharing> Wish for Set<'_, S> {
    type State = State;
    type Cell = S::Cell<State>;
    type Value = ();
    type Found = ();
    type Output = ();

    #[inline]
    fn cell(&self) -> &Self::Cell {
        &self.0.state
    }

    #[inline]
    fn queue(state: &mut State) -> &mut WaitQueue<()> {
        &mut state.waiting
    }

    fn value(&self) {}

    #[inline]
    fn look(&self, state: &mut State, place: Place, _: &mut Wakes) -> Option<()> {
        (state.is_set || place == Place::Chosen).then_some(())
    }

    fn finish(&mut self, (): ()) {}
}

impl<S: Sharing> Default for Event<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Sharing> fmt::Debug for Event<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventStatistics { is_set, waiting } = self.statistics();
        f.debug_struct("Event").field("is_set", &is_set).field("waiting", &waiting).finish()
    }
}
