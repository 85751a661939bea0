//! The latest value of something, for any number who watch it.

use std::{
    fmt,
    future::Future,
    mem,
    ops::Deref,
    task::{Context, Poll},
};

use super::{
    budget::Spending,
    sharing::{Pointer, Sharing, StateCell, Threads},
    wait_queue::{Ticket, WaitQueue, Wakes},
    waiting::{Place, Waiting, Wish, poll_wish},
};

/// The state of a watch channel.
pub(super) struct State<P> {
    /// In a pointer, so that nobody has to lock while reading it.
    value: P,
    /// Counts the values sent.
    version: u64,
    is_closed: bool,
    senders: usize,
    receivers: usize,
    changes: WaitQueue<()>,
    /// Senders that wait for the last receiver's end.
    ends: WaitQueue<()>,
}

type Cell<T, S> = <S as Sharing>::Cell<State<<S as Sharing>::Pointer<T>>>;
type Shared<T, S> = <S as Sharing>::Pointer<Cell<T, S>>;

/// Makes both ends, which share a state.
pub(super) fn pair<T, S: Sharing>(value: T) -> (WatchSender<T, S>, WatchReceiver<T, S>) {
    let state = State {
        value: S::Pointer::new(value),
        version: 0,
        is_closed: false,
        senders: 1,
        receivers: 1,
        changes: WaitQueue::default(),
        ends: WaitQueue::default(),
    };
    let shared = <Shared<T, S>>::new(S::Cell::new(state));
    (WatchSender { shared: shared.clone() }, WatchReceiver::new(shared, 0))
}

/// The end of a watch channel that sends; clones send to the same receivers.
pub struct WatchSender<T, S: Sharing = Threads> {
    shared: Shared<T, S>,
}

/// The end of a watch channel that watches; each clone sees each change for itself.
pub struct WatchReceiver<T, S: Sharing = Threads> {
    shared: Shared<T, S>,
    /// The version that was seen last.
    seen: u64,
    /// The place of `poll_next`.
    ticket: Option<Ticket>,
    spending: Spending,
}

/// The value as it was when it was looked at; it may have changed since. It keeps nobody waiting.
pub struct Snapshot<T, S: Sharing = Threads> {
    value: S::Pointer<T>,
}

/// All senders of a watch channel are gone, and the last value was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchEnded;

/// What `statistics()` of both ends returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchStatistics {
    /// How many values were sent after the first.
    pub version: u64,
    /// How many receivers there are.
    pub receivers: usize,
    /// How many of them wait for a change.
    pub waiting: usize,
}

impl<T, S: Sharing> WatchSender<T, S> {
    /// Puts in the next value and tells the receivers; those that have not looked at the one before
    /// never see that. Works without receivers, too.
    pub fn send(&self, value: T) {
        self.replace(value);
    }

    /// Puts in the next value and tells the receivers; returns the one before if nobody looks at
    /// it.
    pub fn replace(&self, value: T) -> Option<T> {
        let mut next = Some(value);
        let mut wakes = Wakes::default();
        let mut old = self.shared.with(|state| {
            let kept = state.value.only()?;
            let old = next.take().map(|value| mem::replace(kept, value));
            state.tell(&mut wakes);
            old
        });
        if let Some(value) = next {
            // Somebody looks at the present value.
            let pointer = S::Pointer::new(value);
            let before = self.shared.with(|state| {
                state.tell(&mut wakes);
                mem::replace(&mut state.value, pointer)
            });
            old = before.unwrapped().ok();
        }
        wakes.wake();
        old
    }

    /// Returns the present value.
    pub fn borrow(&self) -> Snapshot<T, S> {
        Snapshot { value: self.shared.with(|state| state.value.clone()) }
    }

    /// Makes another receiver, which has seen the present value.
    pub fn subscribe(&self) -> WatchReceiver<T, S> {
        let seen = self.shared.with(|state| {
            state.receivers += 1;
            state.version
        });
        WatchReceiver::new(self.shared.clone(), seen)
    }

    /// Tells whether there is no receiver; `subscribe` makes one.
    pub fn is_closed(&self) -> bool {
        self.shared.with(|state| state.receivers == 0)
    }

    /// Waits until there is no receiver.
    ///
    /// # Cancel
    /// Nothing happens.
    pub fn closed(&self) -> impl Future<Output = ()> + Unpin {
        Waiting::new(Unwatched(self))
    }

    /// Tells how many values were sent, and how many watch.
    pub fn statistics(&self) -> WatchStatistics {
        self.shared.with(|state| state.statistics())
    }
}

impl<T, S: Sharing> WatchReceiver<T, S> {
    fn new(shared: Shared<T, S>, seen: u64) -> Self {
        Self { shared, seen, ticket: None, spending: Spending::default() }
    }

    /// Waits for a value that this receiver has not seen, and counts it as seen; then
    /// [`borrow`](Self::borrow) it. If several were sent, it sees the last.
    ///
    /// # Errors
    /// [`WatchEnded`] when all senders are gone and it has seen the last value.
    ///
    /// # Cancel
    /// Nothing was seen.
    pub fn changed(&mut self) -> impl Future<Output = Result<(), WatchEnded>> + Unpin {
        Waiting::new(Change { receiver: self })
    }

    /// Polls for a value that this receiver has not seen, and returns it; `None` when all senders
    /// are gone. For futures written by hand; [`changed`](Self::changed) is for coroutines.
    pub fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<Option<Snapshot<T, S>>> {
        let mut ticket = self.ticket.take();
        let mut spending = mem::take(&mut self.spending);
        let change = Change { receiver: self };
        let polled = poll_wish(&change, &mut ticket, &mut spending, context.waker());
        self.ticket = ticket;
        match polled {
            Poll::Pending => {
                self.spending = spending;
                Poll::Pending
            }
            Poll::Ready(found) => Poll::Ready(found.ok().map(|_| self.latest())),
        }
    }

    /// Tells whether there is a value that it has not seen.
    pub fn has_changed(&self) -> bool {
        self.shared.with(|state| state.version) != self.seen
    }

    /// Returns the present value, without counting it as seen.
    pub fn borrow(&self) -> Snapshot<T, S> {
        Snapshot { value: self.shared.with(|state| state.value.clone()) }
    }

    /// Returns the present value, and counts it as seen.
    pub fn latest(&mut self) -> Snapshot<T, S> {
        let (value, version) = self.shared.with(|state| (state.value.clone(), state.version));
        self.seen = version;
        Snapshot { value }
    }

    /// Waits until `is_wanted` returns true for the value, beginning with the present one.
    ///
    /// ```
    /// use asyncoro::sync::local::watch;
    ///
    /// asyncoro::run(async {
    ///     let (progress, mut watched) = watch(0);
    ///     asyncoro::spawn(async move {
    ///         for percent in 1..=100 {
    ///             progress.send(percent);
    ///             asyncoro::coro::yield_now().await;
    ///         }
    ///     });
    ///     assert_eq!(*watched.wait_for(|percent| *percent >= 50).await.unwrap(), 50);
    /// });
    /// ```
    ///
    /// # Errors
    /// [`WatchEnded`] when all senders are gone and the last value is not wanted.
    ///
    /// # Cancel
    /// Values for which `is_wanted` was asked are seen.
    pub async fn wait_for(
        &mut self,
        mut is_wanted: impl FnMut(&T) -> bool,
    ) -> Result<Snapshot<T, S>, WatchEnded> {
        loop {
            let value = self.latest();
            if is_wanted(&value) {
                return Ok(value);
            }
            self.changed().await?;
        }
    }

    /// Tells how many values were sent, and how many watch.
    pub fn statistics(&self) -> WatchStatistics {
        self.shared.with(|state| state.statistics())
    }
}

impl<P> State<P> {
    fn tell(&mut self, wakes: &mut Wakes) {
        self.version += 1;
        self.changes.drain(wakes);
    }

    fn statistics(&self) -> WatchStatistics {
        let Self { version, receivers, .. } = *self;
        WatchStatistics { version, receivers, waiting: self.changes.len() }
    }

    fn changed(&self, seen: u64) -> Option<Result<u64, WatchEnded>> {
        if self.version != seen {
            return Some(Ok(self.version));
        }
        self.is_closed.then_some(Err(WatchEnded))
    }
}

/// Waits for a change.
struct Change<'a, T, S: Sharing> {
    receiver: &'a mut WatchReceiver<T, S>,
}

impl<T, S: Sharing> Wish for Change<'_, T, S> {
    type State = State<S::Pointer<T>>;
    type Cell = Cell<T, S>;
    type Value = ();
    type Found = Result<u64, WatchEnded>;
    type Output = Result<(), WatchEnded>;

    #[inline]
    fn cell(&self) -> &Self::Cell {
        &self.receiver.shared
    }

    #[inline]
    fn queue(state: &mut Self::State) -> &mut WaitQueue<()> {
        &mut state.changes
    }

    fn value(&self) {}

    #[inline]
    fn look(&self, state: &mut Self::State, _: Place, _: &mut Wakes) -> Option<Self::Found> {
        state.changed(self.receiver.seen)
    }

    #[inline]
    fn finish(&mut self, found: Self::Found) -> Self::Output {
        self.receiver.seen = found?;
        Ok(())
    }
}

/// Waits for the end of the last receiver.
struct Unwatched<'a, T, S: Sharing>(&'a WatchSender<T, S>);

impl<T, S: Sharing> Wish for Unwatched<'_, T, S> {
    type State = State<S::Pointer<T>>;
    type Cell = Cell<T, S>;
    type Value = ();
    type Found = ();
    type Output = ();

    fn cell(&self) -> &Self::Cell {
        &self.0.shared
    }

    fn queue(state: &mut Self::State) -> &mut WaitQueue<()> {
        &mut state.ends
    }

    fn value(&self) {}

    fn look(&self, state: &mut Self::State, place: Place, _: &mut Wakes) -> Option<()> {
        (state.receivers == 0 || place == Place::Chosen).then_some(())
    }

    fn finish(&mut self, (): ()) {}
}

impl<T, S: Sharing> Clone for WatchSender<T, S> {
    fn clone(&self) -> Self {
        self.shared.with(|state| state.senders += 1);
        Self { shared: self.shared.clone() }
    }
}

impl<T, S: Sharing> Clone for WatchReceiver<T, S> {
    fn clone(&self) -> Self {
        self.shared.with(|state| state.receivers += 1);
        Self::new(self.shared.clone(), self.seen)
    }
}

impl<T, S: Sharing> Drop for WatchSender<T, S> {
    fn drop(&mut self) {
        let mut wakes = Wakes::default();
        self.shared.with_at_end(|state| {
            state.senders -= 1;
            if state.senders == 0 {
                state.is_closed = true;
                state.changes.drain(&mut wakes);
            }
        });
        wakes.wake();
    }
}

impl<T, S: Sharing> Drop for WatchReceiver<T, S> {
    fn drop(&mut self) {
        let mut wakes = Wakes::default();
        let ticket = self.ticket.take();
        let _entry = self.shared.with_at_end(|state| {
            state.receivers -= 1;
            if state.receivers == 0 {
                state.ends.drain(&mut wakes);
            }
            ticket.and_then(|ticket| state.changes.remove(ticket))
        });
        wakes.wake();
    }
}

impl<T, S: Sharing> Deref for Snapshot<T, S> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T, S: Sharing> Clone for Snapshot<T, S> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone() }
    }
}

impl<T: fmt::Debug, S: Sharing> fmt::Debug for Snapshot<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T, S: Sharing> fmt::Debug for WatchSender<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchSender").field("version", &self.statistics().version).finish()
    }
}

impl<T, S: Sharing> fmt::Debug for WatchReceiver<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchReceiver").field("seen", &self.seen).finish()
    }
}

impl fmt::Display for WatchEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("all senders are gone, and the last value was seen")
    }
}

impl std::error::Error for WatchEnded {}
