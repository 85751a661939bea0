//! Those who wait for something, first come, first served.
//!
//! Whoever stands in a line has a place, a number. It is told when its turn has come, and keeps its
//! place until it looks, or until it is dropped: so a turn that nobody takes can be passed on.
//! Joining, telling and leaving take the same time however many stand in it.

use std::{mem, task::Waker};

use crate::{
    engine::{self, Home},
    gil,
};

/// A line; each who stands in it has left a `T`.
pub(super) struct Line<T = ()> {
    places: Vec<Place<T>>,
    first: usize,
    last: usize,
    free: usize,
    waiting: usize,
    told: usize,
}

enum Place<T> {
    Free { next: usize },
    Waits { before: usize, next: usize, waker: Waker, left: T, home: Home },
    Told,
}

/// What somebody who leaves a line has been.
pub(super) enum Left<T> {
    /// Told, and has not looked.
    Told,
    /// In the line, with this.
    Waiting { _waker: Waker, _left: T },
    /// Not of this line: it was emptied since.
    Nobody,
}

const NONE: usize = usize::MAX;

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line { places: Vec::new(), first: NONE, last: NONE, free: NONE, waiting: 0, told: 0 }
    }
}

impl<T> Line<T> {
    /// Returns how many wait and were not told.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns how many were told and have not looked.
    pub(super) fn told(&self) -> usize {
        self.told
    }

    /// Adds somebody at the end, and returns the place.
    pub(super) fn join(&mut self, waker: &Waker, left: T) -> usize {
        let (before, waker, home) = (self.last, waker.clone(), engine::here());
        let new = Place::Waits { before, next: NONE, waker, left, home };
        let place = match self.places.get(self.free) {
            Some(Place::Free { next }) => {
                let place = mem::replace(&mut self.free, *next);
                self.places[place] = new;
                place
            }
            _ => {
                self.places.push(new);
                self.places.len() - 1
            }
        };
        match self.places.get_mut(self.last) {
            Some(Place::Waits { next, .. }) => *next = place,
            _ => self.first = place,
        }
        self.last = place;
        self.waiting += 1;
        place
    }

    /// Tells the first who waits: its place, the waker to wake, and what it has left. Those whose
    /// scheduler has gone, as a loop of asyncio's that was closed, are passed over.
    pub(super) fn tell_first(&mut self) -> Option<(usize, Waker, T)> {
        loop {
            let place = self.first;
            let Place::Waits { waker, left, home, .. } = self.unlink(place, Place::Told)? else {
                unreachable!("it waits")
            };
            if home.exists(gil::py()) {
                self.told += 1;
                return Some((place, waker, left));
            }
            // Nobody comes back for the place. It would be foreign code that drops these.
            mem::forget((waker, left));
            self.places[place] = Place::Free { next: NONE };
        }
    }

    /// Returns whether the one at `place` was told; then the place is free again. Else `waker` is
    /// the one to be woken; an older one is for the caller to drop.
    pub(super) fn look(&mut self, place: usize, waker: &Waker) -> Result<(), Option<Waker>> {
        match self.places.get_mut(place) {
            Some(Place::Told) => {
                self.told -= 1;
                self.release(place);
                Ok(())
            }
            Some(Place::Waits { waker: own, .. }) if !own.will_wake(waker) => {
                Err(Some(mem::replace(own, waker.clone())))
            }
            _ => Err(None),
        }
    }

    /// Takes somebody out.
    pub(super) fn leave(&mut self, place: usize) -> Left<T> {
        match self.places.get(place) {
            Some(Place::Told) => {
                self.told -= 1;
                self.release(place);
                Left::Told
            }
            Some(Place::Waits { .. }) => {
                let Some(Place::Waits { waker, left, .. }) =
                    self.unlink(place, Place::Free { next: NONE })
                else {
                    unreachable!("it waits")
                };
                self.release(place);
                Left::Waiting { _waker: waker, _left: left }
            }
            _ => Left::Nobody,
        }
    }

    /// Takes one who waits out of the order; `None` if nobody waits there.
    fn unlink(&mut self, place: usize, then: Place<T>) -> Option<Place<T>> {
        let Some(Place::Waits { before, next, .. }) = self.places.get(place) else { return None };
        let (before, next) = (*before, *next);
        match self.places.get_mut(before) {
            Some(Place::Waits { next: of_before, .. }) => *of_before = next,
            _ => self.first = next,
        }
        match self.places.get_mut(next) {
            Some(Place::Waits { before: of_next, .. }) => *of_next = before,
            _ => self.last = before,
        }
        self.waiting -= 1;
        Some(mem::replace(&mut self.places[place], then))
    }

    /// Lets a place be used again; when nobody is left, the memory of a long line is given back.
    fn release(&mut self, place: usize) {
        self.places[place] = Place::Free { next: self.free };
        self.free = place;
        if self.waiting == 0 && self.told == 0 && self.places.len() > FEW {
            self.places = Vec::new();
            self.free = NONE;
        }
    }
}

/// The longest line whose memory is kept.
const FEW: usize = 64;
