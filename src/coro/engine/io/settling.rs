//! Dropped sources that have sent everything and are not closed yet. No event tells that it has
//! arrived, so each is checked after pauses that grow. The next to be checked is first, so that
//! their number does not affect the cost of a turn.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    mem,
    rc::Rc,
    time::{Duration, Instant},
};

/// The first pause between two checks; each is twice as long as the one before.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_micros(500);

/// The longest pause.
pub(crate) const LAST_PAUSE: Duration = Duration::from_millis(50);

/// Dropped sources that wait for what they have sent to arrive.
pub(in crate::coro::engine) struct Settling<S: ?Sized>(BinaryHeap<Waiting<S>>);

/// A source, its next check, and its deadline.
pub(in crate::coro::engine) struct Waiting<S: ?Sized> {
    pub(in crate::coro::engine) source: Rc<S>,
    look: Instant,
    pause: Duration,
    until: Instant,
}

impl<S: ?Sized> Settling<S> {
    pub(super) fn new() -> Settling<S> {
        Settling(BinaryHeap::new())
    }

    /// Adds a source, to be checked after the first pause, and until `until`.
    pub(in crate::coro::engine) fn insert(&mut self, source: Rc<S>, now: Instant, until: Instant) {
        self.0.push(Waiting { source, look: now + FIRST_PAUSE, pause: FIRST_PAUSE, until });
    }

    /// Returns the time of the next check.
    pub(in crate::coro::engine) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|first| first.look)
    }

    /// Removes the sources that are due for a check.
    pub(in crate::coro::engine) fn take_due(&mut self, now: Instant) -> Vec<Waiting<S>> {
        let mut due = Vec::new();
        while self.next().is_some_and(|look| look <= now) {
            due.extend(self.0.pop());
        }
        due
    }

    /// Puts back a source that was checked, for a longer pause.
    pub(in crate::coro::engine) fn put_back(&mut self, mut one: Waiting<S>, now: Instant) {
        one.pause = (2 * one.pause).min(LAST_PAUSE);
        one.look = (now + one.pause).min(one.until);
        self.0.push(one);
    }

    /// Removes all sources.
    pub(in crate::coro::engine) fn take(&mut self) -> impl Iterator<Item = Rc<S>> + use<S> {
        mem::take(&mut self.0).into_iter().map(|one| one.source)
    }
}

impl<S: ?Sized> Waiting<S> {
    /// Tells whether its deadline has passed.
    pub(in crate::coro::engine) fn is_late(&self, now: Instant) -> bool {
        self.until <= now
    }
}

impl<S: ?Sized> Ord for Waiting<S> {
    /// Orders the first check as the greatest, which a heap returns first.
    fn cmp(&self, other: &Waiting<S>) -> Ordering {
        other.look.cmp(&self.look)
    }
}

impl<S: ?Sized> PartialOrd for Waiting<S> {
    fn partial_cmp(&self, other: &Waiting<S>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S: ?Sized> PartialEq for Waiting<S> {
    fn eq(&self, other: &Waiting<S>) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<S: ?Sized> Eq for Waiting<S> {}
