//! Dropped sources that still have something to send. Their number does not affect the cost of a
//! turn: one is checked after its own event or flush, and the first when its time is over.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::Instant,
};

/// Dropped sources that still have something to send, ordered by their deadline.
pub(in crate::coro::engine) struct Lingering<S: ?Sized> {
    by_time: BTreeMap<(Instant, Address), Rc<S>>,
    until: HashMap<Address, Instant>,
}

/// The address of a source in memory.
type Address = usize;

fn address<S: ?Sized>(source: &Rc<S>) -> Address {
    Rc::as_ptr(source).cast::<()>().addr()
}

impl<S: ?Sized> Lingering<S> {
    pub(super) fn new() -> Lingering<S> {
        Lingering { by_time: BTreeMap::new(), until: HashMap::new() }
    }

    pub(in crate::coro::engine) fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    pub(in crate::coro::engine) fn insert(&mut self, source: Rc<S>, until: Instant) {
        let address = address(&source);
        if let Some(before) = self.until.insert(address, until) {
            self.by_time.remove(&(before, address));
        }
        self.by_time.insert((until, address), source);
    }

    pub(in crate::coro::engine) fn remove(&mut self, source: &Rc<S>) -> Option<Rc<S>> {
        let address = address(source);
        let until = self.until.remove(&address)?;
        self.by_time.remove(&(until, address))
    }

    /// Returns the first deadline.
    pub(super) fn first(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((until, _), _)| *until)
    }

    /// Removes a source whose deadline has passed.
    pub(in crate::coro::engine) fn pop(&mut self, now: Instant) -> Option<Rc<S>> {
        let first = self.by_time.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, address), source) = first.remove_entry();
        self.until.remove(&address);
        Some(source)
    }

    /// Removes all sources, in the order of their deadlines.
    pub(in crate::coro::engine) fn take(&mut self) -> impl Iterator<Item = Rc<S>> + use<S> {
        self.until.clear();
        std::mem::take(&mut self.by_time).into_values()
    }
}
