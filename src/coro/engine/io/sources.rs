//! The table of registered sources, by the token of the driver's events.
//!
//! The table holds weak references: a socket that is dropped takes itself out. The generation of a
//! place is part of the token, so a pending event of a closed descriptor finds no source, even if
//! the kernel has reused the number.

use std::rc::{Rc, Weak};

use crate::{coro::table::reserve_an_eighth, driver::Token};

struct Place<S: ?Sized> {
    source: Option<Weak<S>>,
    generation: u32,
    next_free: u32,
}

/// The registered sources.
pub(in crate::coro::engine) struct Sources<S: ?Sized> {
    places: Vec<Place<S>>,
    free: u32,
    registered: usize,
}

impl<S: ?Sized> Sources<S> {
    pub(super) fn new() -> Sources<S> {
        Sources { places: Vec::new(), free: NONE, registered: 0 }
    }

    /// Returns the number of sources in the table.
    pub(in crate::coro::engine) fn registered(&self) -> usize {
        self.registered
    }

    pub(in crate::coro::engine) fn insert(&mut self, source: Weak<S>) -> Token {
        self.registered += 1;
        let index = if self.free == NONE {
            let index = u32::try_from(self.places.len()).ok().filter(|&index| index != NONE);
            reserve_an_eighth(&mut self.places);
            self.places.push(Place { source: None, generation: 0, next_free: NONE });
            index.expect("fewer than 4 billion sources")
        } else {
            self.free
        };
        let place = &mut self.places[index as usize];
        self.free = place.next_free;
        place.next_free = NONE;
        place.source = Some(source);
        Token(u64::from(place.generation) << 32 | u64::from(index))
    }

    /// Returns the source of a token, unless it is gone.
    pub(in crate::coro::engine) fn get(&self, token: Token) -> Option<Rc<S>> {
        let place = self.places.get(token.0 as u32 as usize)?;
        if u64::from(place.generation) != token.0 >> 32 {
            return None;
        }
        place.source.as_ref()?.upgrade()
    }

    pub(in crate::coro::engine) fn remove(&mut self, token: Token) {
        let index = token.0 as u32;
        let Some(place) = self.places.get_mut(index as usize) else { return };
        if u64::from(place.generation) == token.0 >> 32 && place.source.take().is_some() {
            place.generation = place.generation.wrapping_add(1);
            place.next_free = self.free;
            self.free = index;
            self.registered -= 1;
        }
    }

    /// Returns all living sources.
    pub(in crate::coro::engine) fn living(&self) -> impl Iterator<Item = Rc<S>> {
        self.places.iter().filter_map(|place| place.source.as_ref()?.upgrade())
    }
}

const NONE: u32 = u32::MAX;
