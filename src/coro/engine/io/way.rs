//! How the calls of a batch are made, one after the other or through a ring: as set, or as tried.

use std::time::{Duration, Instant};

use crate::{coro::batching::Batching, driver::Driver, sys::ring};

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
    pub(super) fn new(how: Batching) -> Way {
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

    pub(super) fn may_use_ring(&self) -> bool {
        !matches!(self, Way::Direct | Way::Settled { ring: false, .. })
    }

    /// Notes that a batch of so many calls is done; tells whether that ends a trial.
    pub(super) fn end(&mut self, began: Option<Instant>, ring: bool, calls: usize) -> bool {
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
