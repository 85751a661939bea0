//! Permits that are handed out first come, first served: the state of locks and semaphores.
//!
//! A lock has one permit; a read-write lock has many, of which a reader takes one and a writer all;
//! a semaphore has as many as its owner says. Invariants after every method:
//! - who waits at the front wants more than there are, so nobody waits in vain;
//! - who comes while others wait waits too, so nobody is overtaken.
//!
//! Permits go from hand to hand: who releases them takes the entries of the next out of the queue
//! and gives them theirs, before those run.

use super::wait_queue::{WaitQueue, Wakes};
use super::waiting::Place;

/// Permits, those who wait for some, and what else their owner keeps with them.
pub(super) struct Permits<E = ()> {
    available: usize,
    closed: bool,
    /// Each with the number of permits that it wants.
    pub(super) waiting: WaitQueue<usize>,
    pub(super) extra: E,
}

/// Why there are no permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There are too few now, or others wait for them.
    TooFew,
    /// There will be none any more.
    Closed,
}

impl<E: Default> Permits<E> {
    pub(super) fn new(available: usize) -> Self {
        Self { available, closed: false, waiting: WaitQueue::default(), extra: E::default() }
    }
}

impl<E> Permits<E> {
    pub(super) fn available(&self) -> usize {
        self.available
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes permits without waiting.
    #[inline]
    pub(super) fn take(&mut self, wanted: usize) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if self.available < wanted || !self.waiting.is_empty() {
            return Err(Refused::TooFew);
        }
        self.available -= wanted;
        Ok(())
    }

    /// Looks for permits as a [`Wish`](super::waiting::Wish) does.
    #[inline]
    pub(super) fn look(&mut self, wanted: usize, place: Place) -> Option<Result<(), Refused>> {
        match place {
            Place::Chosen => Some(Ok(())),
            Place::New => match self.take(wanted) {
                Err(Refused::TooFew) => None,
                taken => Some(taken),
            },
            Place::Waiting => self.closed.then_some(Err(Refused::Closed)),
        }
    }

    /// Takes back what a dropped future was given, or lets those behind it move up.
    pub(super) fn left(&mut self, wanted: usize, place: Place, wakes: &mut Wakes) {
        let back = if place == Place::Chosen { wanted } else { 0 };
        self.release(back, wakes);
    }

    /// Adds permits, as [`release`](Self::release) gives them back.
    ///
    /// # Panics
    /// If there are more than `usize::MAX` then.
    pub(super) fn add(&mut self, permits: usize, wakes: &mut Wakes) {
        assert!(self.available.checked_add(permits).is_some(), "too many permits");
        self.release(permits, wakes);
    }

    /// Takes permits back, and gives them to those who wait. Of more than `usize::MAX`, which those
    /// that were added meanwhile can make, the rest is lost.
    #[inline]
    pub(super) fn release(&mut self, permits: usize, wakes: &mut Wakes) {
        self.available = self.available.saturating_add(permits);
        while !self.closed
            && self.waiting.front().is_some_and(|&wanted| wanted <= self.available)
            && let Some(entry) = self.waiting.pop()
        {
            self.available -= entry.value;
            wakes.add(entry.waker);
        }
    }

    /// Takes up to `permits` out of those that are available; returns how many.
    pub(super) fn forget(&mut self, permits: usize) -> usize {
        let forgotten = permits.min(self.available);
        self.available -= forgotten;
        forgotten
    }

    /// Hands out no more permits.
    pub(super) fn close(&mut self, wakes: &mut Wakes) {
        self.closed = true;
        self.waiting.take_wakers().into_iter().for_each(|waker| wakes.add(waker));
    }
}
