//! Batches of calls: which sources they were made for, and how the calls are made.

use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    coro::batching::{BatchSettings, Batching},
    driver::{Driver, Token},
    sys::{
        ahead::Batch,
        ring::{self, Ring},
    },
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
pub(in crate::coro::engine) struct Ahead {
    /// The batches, the one that was used last at the end.
    recent: VecDeque<Received>,
    pub(in crate::coro::engine) batches: u64,
    /// Opened at the first use, on the thread that uses it.
    ring: Option<Ring>,
    pub(in crate::coro::engine) receiving: Way,
    pub(in crate::coro::engine) sending: Way,
}

impl Ahead {
    pub(super) fn new(settings: BatchSettings) -> Ahead {
        Ahead {
            recent: VecDeque::new(),
            batches: 0,
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
        self.batches += u64::from(calls > 0);
        self.recent.push_back(received);
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

/// How the calls of a batch are made.
pub(in crate::coro::engine) enum Way {
    Direct,
    Ring,
    /// Both are tried, in turns.
    Tried(Box<Trial>),
    /// The better one is used, for so many batches, until both are tried again.
    Settled {
        ring: bool,
        left: u32,
    },
}

impl Way {
    fn new(how: Batching) -> Way {
        match how {
            Batching::Off | Batching::Direct => Way::Direct,
            Batching::Ring => Way::Ring,
            Batching::Auto if ring::EXISTS => Way::Tried(Box::default()),
            Batching::Auto => Way::Direct,
        }
    }

    /// Tells whether the next batch, of so many calls at most, goes through the ring.
    pub(in crate::coro::engine) fn is_ring(&mut self, calls: usize) -> bool {
        match self {
            Way::Direct => false,
            Way::Ring => true,
            // For a few calls the ring's own system call costs more than it saves.
            Way::Tried(_) | Way::Settled { .. } if calls < WORTH_A_RING => false,
            Way::Tried(trial) => trial.is_rings_turn,
            Way::Settled { ring, left } => {
                let ring = *ring;
                *left -= 1;
                if *left == 0 {
                    *self = Way::Tried(Box::default());
                }
                ring
            }
        }
    }

    /// Starts the clock for a batch, if that is tried.
    pub(in crate::coro::engine) fn begin(&self, calls: usize) -> Option<Instant> {
        (calls >= WORTH_A_RING && matches!(self, Way::Tried(_))).then(Driver::now)
    }

    fn may_use_ring(&self) -> bool {
        !matches!(self, Way::Direct | Way::Settled { ring: false, .. })
    }

    /// Notes that a batch of so many calls is done; tells whether that ends a trial.
    fn end(&mut self, began: Option<Instant>, ring: bool, calls: usize) -> bool {
        let (Some(began), Way::Tried(trial)) = (began, &mut *self) else { return false };
        trial.note(ring, Driver::now() - began, calls);
        let Some(ring) = trial.result() else { return false };
        *self = Way::Settled { ring, left: UNTIL_NEXT_TRIAL };
        true
    }
}

/// Fewest calls that are worth a ring.
const WORTH_A_RING: usize = 8;

/// How many batches of either way are a trial.
const SAMPLES: usize = 33;

/// How many batches use its result.
const UNTIL_NEXT_TRIAL: u32 = 1 << 14;

/// The ring must take less than this part of the time, in 64ths, since a trial is no long one.
const CLEARLY_LESS: u32 = 62;

/// The times that batches took for each call, in picoseconds, made directly and with a ring.
#[derive(Default)]
pub(in crate::coro::engine) struct Trial {
    direct: Vec<u32>,
    ring: Vec<u32>,
    is_rings_turn: bool,
}

impl Trial {
    /// Adds a batch, unless it had too few calls; then it is the other way's turn.
    fn note(&mut self, ring: bool, took: Duration, calls: usize) {
        self.is_rings_turn = !ring;
        let times = if ring { &mut self.ring } else { &mut self.direct };
        if calls >= WORTH_A_RING && times.len() < SAMPLES {
            let each = took.as_nanos().saturating_mul(1000) / calls as u128;
            times.push(u32::try_from(each).unwrap_or(u32::MAX));
        }
    }

    /// Returns, at the end, whether the ring is better.
    fn result(&mut self) -> Option<bool> {
        if self.direct.len() < SAMPLES || self.ring.len() < SAMPLES {
            return None;
        }
        let [direct, ring] = [&mut self.direct, &mut self.ring].map(|times| {
            let middle = times.len() / 2;
            *times.select_nth_unstable(middle).1
        });
        Some(u64::from(ring) * 64 < u64::from(direct) * u64::from(CLEARLY_LESS))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Lets batches of 64 calls take these times, and returns whether the ring is used then.
    fn settled(direct: Duration, ring: Duration) -> bool {
        let mut way = Way::Tried(Box::default());
        for _ in 0..2 * SAMPLES {
            let is_ring = way.is_ring(64);
            let Way::Tried(trial) = &mut way else { panic!("a trial takes longer") };
            trial.note(is_ring, if is_ring { ring } else { direct }, 64);
            if let Some(ring) = trial.result() {
                way = Way::Settled { ring, left: 2 };
            }
        }
        let first = way.is_ring(64);
        assert!(!way.is_ring(WORTH_A_RING - 1), "few calls are made directly");
        assert_eq!(way.is_ring(64), first);
        assert!(matches!(way, Way::Tried(_)), "and then both are tried again");
        first
    }

    #[test]
    fn batches_of_few_calls_are_no_samples_and_end_no_turn_for_ever() {
        let mut way = Way::Tried(Box::default());
        let mut rings = 0;
        for _ in 0..1000 {
            let is_ring = way.is_ring(64);
            rings += usize::from(is_ring);
            let Way::Tried(trial) = &mut way else { panic!("there was no sample") };
            trial.note(is_ring, Duration::from_nanos(9), WORTH_A_RING - 1);
            assert_eq!(trial.result(), None);
        }
        assert_eq!(rings, 500);
    }

    #[test]
    fn the_ring_is_used_where_it_is_clearly_faster() {
        let time = Duration::from_nanos;
        assert!(settled(time(64_000), time(60_000)));
        assert!(!settled(time(64_000), time(63_000)), "not clearly");
        assert!(!settled(time(64_000), time(64_000)));
        assert!(!settled(time(64_000), time(80_000)));
    }
}
