//! What the driver's events are about: a table of registered sources, by token.
//!
//! The scheduler knows a source only as the trait below, which sockets implement. The table holds
//! weak references: a socket that is dropped takes itself out. A place's generation is
//! part of the token, so an event that was under way when a descriptor was closed finds nobody,
//! even if the kernel has given the number away again.

use std::rc::{Rc, Weak};

use super::{engine::Engine, table::make_room};
use crate::driver::{Ready, Token};

/// Something with a descriptor that the scheduler watches and flushes.
pub(crate) trait Source {
    /// The driver says that something is ready.
    fn ready(self: Rc<Self>, ready: Ready, engine: &Engine);
    /// The pause is over that it has asked for ([`Engine::retry_later`]): what the system had no
    /// memory for may go now.
    fn retry(self: Rc<Self>, engine: &Engine);
    /// The turn ends: send what is queued, as far as it goes.
    fn flush(self: Rc<Self>, engine: &Engine);
    /// Whether something is queued that could still be sent.
    fn has_unsent(&self) -> bool;
    /// Looks whether what was sent by a dropped socket has arrived, so that it can be closed.
    fn settle(&self) -> bool;
    /// Gives up what is queued, and closes; says what it was for the log.
    fn abandon(&self) -> String;
}

struct Place {
    source: Option<Weak<dyn Source>>,
    generation: u32,
    next_free: u32,
}

/// See the module's page.
pub(super) struct Sources {
    places: Vec<Place>,
    free: u32,
    registered: usize,
}

impl Sources {
    pub(super) fn new() -> Sources {
        Sources { places: Vec::new(), free: NONE, registered: 0 }
    }

    /// Sources in the table.
    pub(super) fn registered(&self) -> usize {
        self.registered
    }

    pub(super) fn insert(&mut self, source: Weak<dyn Source>) -> Token {
        self.registered += 1;
        let index = if self.free == NONE {
            let index = u32::try_from(self.places.len()).ok().filter(|&index| index != NONE);
            make_room(&mut self.places);
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

    /// The source of a token, unless it is gone.
    pub(super) fn get(&self, token: Token) -> Option<Rc<dyn Source>> {
        let place = self.places.get(token.0 as u32 as usize)?;
        if u64::from(place.generation) != token.0 >> 32 {
            return None;
        }
        place.source.as_ref()?.upgrade()
    }

    pub(super) fn remove(&mut self, token: Token) {
        let index = token.0 as u32;
        let Some(place) = self.places.get_mut(index as usize) else { return };
        if u64::from(place.generation) == token.0 >> 32 && place.source.take().is_some() {
            place.generation = place.generation.wrapping_add(1);
            place.next_free = self.free;
            self.free = index;
            self.registered -= 1;
        }
    }

    /// All sources that still have something to send.
    pub(super) fn unsent(&self) -> Vec<Rc<dyn Source>> {
        let living = self.places.iter().filter_map(|place| place.source.as_ref()?.upgrade());
        living.filter(|source| source.has_unsent()).collect()
    }
}

const NONE: u32 = u32::MAX;
