//! Batches of calls that were made ahead of their verbs: which sources they were made for, and the
//! ring. `way.rs` has how the calls are made.

use std::{collections::VecDeque, rc::Rc, time::Instant};

use super::way::Way;
use crate::{
    coro::batching::BatchSettings,
    driver::Token,
    sys::{ahead::Batch, ring::Ring},
};

/// Batches whose bytes may be waiting for their verbs at once.
const BATCHES: usize = 4;

/// A batch, and the sources for which something was received in it.
pub(in crate::coro::engine) struct Received {
    pub(in crate::coro::engine) batch: Rc<Batch>,
    pub(in crate::coro::engine) sources: Vec<Token>,
}

impl Received {
    pub(in crate::coro::engine) fn new() -> Received {
        Received { batch: Batch::new(), sources: Vec::new() }
    }
}

/// The state of batching.
pub(in crate::coro::engine) struct Batches {
    /// The batches, the one that was used last at the end.
    recent: VecDeque<Received>,
    /// How many batches had a call.
    pub(in crate::coro::engine) made: u64,
    /// Opened at the first use, on the thread that uses it.
    ring: Option<Ring>,
    pub(in crate::coro::engine) receiving: Way,
    pub(in crate::coro::engine) sending: Way,
}

impl Batches {
    pub(super) fn new(settings: BatchSettings) -> Batches {
        Batches {
            recent: VecDeque::new(),
            made: 0,
            ring: None,
            receiving: Way::new(settings.how),
            sending: Way::new(settings.how),
        }
    }

    /// Takes out a batch whose bytes were all taken, with an emptied list of sources; makes one
    /// while there are few.
    pub(in crate::coro::engine) fn free(&mut self) -> Option<Received> {
        let free = self.recent.iter().position(|received| received.batch.reuse());
        if let Some(mut received) = free.and_then(|free| self.recent.remove(free)) {
            received.sources.clear();
            return Some(received);
        }
        (self.recent.len() < BATCHES).then(Received::new)
    }

    /// Takes out the batch that was used before all others.
    pub(in crate::coro::engine) fn oldest(&mut self) -> Option<Received> {
        self.recent.pop_front()
    }

    /// Keeps a batch that has been used for so many calls.
    pub(in crate::coro::engine) fn keep(&mut self, received: Received, calls: usize) {
        self.made += u64::from(calls > 0);
        self.recent.push_back(received);
    }

    /// Frees the memory of batches that a burst has needed, all but one, before a sleep.
    pub(in crate::coro::engine) fn trim(&mut self) {
        if self.recent.len() > 1 {
            self.free_all_but_one();
        }
    }

    #[cold]
    fn free_all_but_one(&mut self) {
        let mut has_one = false;
        self.recent
            .retain(|received| !received.batch.reuse() || !std::mem::replace(&mut has_one, true));
    }

    /// Takes the ring, if it is open.
    pub(in crate::coro::engine) fn take_ring(&mut self) -> Option<Ring> {
        self.ring.take()
    }

    /// Keeps the ring for the next batch.
    pub(in crate::coro::engine) fn keep_ring(&mut self, mut ring: Ring) {
        ring.clear();
        self.ring = Some(ring);
    }

    /// Notes that so many calls that receive are done.
    pub(in crate::coro::engine) fn received(
        &mut self,
        began: Option<Instant>,
        ring: bool,
        calls: usize,
    ) {
        if self.receiving.end(began, ring, calls) {
            self.close_useless_ring();
        }
    }

    /// Notes that so many sources were flushed.
    pub(in crate::coro::engine) fn sent(
        &mut self,
        began: Option<Instant>,
        ring: bool,
        calls: usize,
    ) {
        if self.sending.end(began, ring, calls) {
            self.close_useless_ring();
        }
    }

    /// Closes the ring if it has turned out to be of no use.
    fn close_useless_ring(&mut self) {
        if !self.receiving.may_use_ring() && !self.sending.may_use_ring() {
            self.ring = None;
        }
    }

    /// Makes calls directly from now on.
    #[cold]
    pub(in crate::coro::engine) fn give_up_ring(&mut self) {
        self.receiving = Way::Direct;
        self.sending = Way::Direct;
    }
}
