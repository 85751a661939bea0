//! A place where a number of coroutines wait for each other.

use std::{fmt, future::Future};

use super::{
    sharing::{Sharing, StateCell, Threads},
    wait_queue::{WaitQueue, Wakes},
    waiting::{Place, Waiting, Wish},
};

/// A place where a number of coroutines wait for each other, again and again.
///
/// # Example
/// ```
/// use std::rc::Rc;
///
/// use asyncoro::{coro::Coros, sync::local::Barrier};
///
/// asyncoro::run(async {
///     let start = Rc::new(Barrier::new(3));
///     let mut racers = Coros::new();
///     for _ in 0..3 {
///         let start = start.clone();
///         racers.spawn(async move { start.wait().await.is_leader() }).await;
///     }
///     let mut leaders = 0;
///     while let Some(is_leader) = racers.next().await {
///         leaders += usize::from(is_leader.unwrap());
///     }
///     assert_eq!(leaders, 1); // the last to come
/// });
/// ```
pub struct Barrier<S: Sharing = Threads> {
    arrived: S::Cell<WaitQueue<()>>,
    parties: usize,
}

/// What [`Barrier::wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWait {
    is_leader: bool,
}

impl BarrierWait {
    /// Tells whether this was the last to arrive; one of each round is.
    pub fn is_leader(self) -> bool {
        self.is_leader
    }
}

/// What [`Barrier::statistics`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BarrierStatistics {
    /// For how many it waits in each round.
    pub parties: usize,
    /// How many of them have arrived and wait.
    pub waiting: usize,
}

impl<S: Sharing> Barrier<S> {
    /// Makes a barrier for a number of parties; one for 0 holds up nobody, as one for 1.
    pub fn new(parties: usize) -> Self {
        Self { arrived: S::Cell::new(WaitQueue::default()), parties }
    }

    /// Waits until all parties have arrived; then all go on, and the next round begins.
    ///
    /// # Cancel
    /// It has not arrived: the others wait for another one. If all had arrived, they go on.
    pub fn wait(&self) -> impl Future<Output = BarrierWait> + Unpin {
        Waiting::new(Arrival(self))
    }

    /// Tells how many have arrived.
    pub fn statistics(&self) -> BarrierStatistics {
        let waiting = self.arrived.with(|arrived| arrived.len());
        BarrierStatistics { parties: self.parties, waiting }
    }
}

struct Arrival<'a, S: Sharing>(&'a Barrier<S>);

impl<S: Sharing> Wish for Arrival<'_, S> {
    type State = WaitQueue<()>;
    type Cell = S::Cell<WaitQueue<()>>;
    type Value = ();
    type Found = BarrierWait;
    type Output = BarrierWait;

    fn cell(&self) -> &Self::Cell {
        &self.0.arrived
    }

    fn queue(state: &mut WaitQueue<()>) -> &mut WaitQueue<()> {
        state
    }

    fn value(&self) {}

    fn look(
        &self,
        arrived: &mut WaitQueue<()>,
        place: Place,
        wakes: &mut Wakes,
    ) -> Option<BarrierWait> {
        match place {
            Place::New if arrived.len() + 1 >= self.0.parties => {
                arrived.drain(wakes);
                Some(BarrierWait { is_leader: true })
            }
            Place::Chosen => Some(BarrierWait { is_leader: false }),
            Place::New | Place::Waiting => None,
        }
    }

    fn finish(&mut self, found: BarrierWait) -> BarrierWait {
        found
    }
}

impl<S: Sharing> fmt::Debug for Barrier<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BarrierStatistics { parties, waiting } = self.statistics();
        f.debug_struct("Barrier").field("parties", &parties).field("waiting", &waiting).finish()
    }
}
