//! Deadlines: arm, disarm, next, fire. A hierarchical timing wheel over ticks.
//!
//! Eight levels of 64 slots; a slot of level `n` spans 64^n ticks of 65.5 us, so the wheel holds
//! any deadline. Arming puts a node into the list of one slot, disarming takes it out: both O(1).
//! Most timers are disarmed long before they are due and never move. One that stays moves down a
//! level each time its slot is reached, at most seven times.
//!
//! Deadlines are rounded up to a tick: a timer never fires early.
//!
//! No clock and no unsafe here; nodes are linked by index. The idea is from Varghese and Lauck,
//! "Hashed and Hierarchical Timing Wheels", SOSP 1987.

use std::{
    mem,
    task::Waker,
    time::{Duration, Instant},
};

use crate::coro::waiter::Waiter;

/// The name of an armed timer. After the timer has fired it stays valid, as "not armed".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::coro) struct TimerKey {
    index: u32,
    generation: u32,
}

struct Node {
    /// The tick at which it is due.
    due: u64,
    /// Neighbours in the slot's list; a free node's `next` is the next free one.
    previous: u32,
    next: u32,
    generation: u32,
    level: u8,
    slot: u8,
    waiter: Option<Waiter>,
}

/// All armed timers.
pub(super) struct Wheel {
    origin: Instant,
    /// The tick up to which everything has fired.
    now: u64,
    nodes: Vec<Node>,
    free: u32,
    armed: usize,
    /// Which slots of a level are not empty.
    occupied: [u64; LEVELS],
    heads: [[u32; SLOTS]; LEVELS],
}

impl Wheel {
    /// Makes a wheel whose tick 0 is `origin`.
    pub(super) fn new(origin: Instant) -> Wheel {
        Wheel {
            origin,
            now: 0,
            nodes: Vec::new(),
            free: NONE,
            armed: 0,
            occupied: [0; LEVELS],
            heads: [[NONE; SLOTS]; LEVELS],
        }
    }

    /// Returns the number of armed timers.
    pub(super) fn armed(&self) -> usize {
        self.armed
    }

    /// Arms a timer that wakes `waiter` once `deadline` has come.
    pub(super) fn arm(&mut self, deadline: Instant, waiter: Waiter) -> TimerKey {
        let due = self.tick_after(deadline).max(self.now + 1);
        let index = self.allocate(waiter);
        self.armed += 1;
        TimerKey { index, generation: self.link(index, due) }
    }

    /// Tells whether the timer has neither fired nor been disarmed.
    pub(super) fn is_armed(&self, key: TimerKey) -> bool {
        self.nodes[key.index as usize].generation == key.generation
    }

    /// Tells whether the timer would wake this waker, or is no longer armed.
    pub(super) fn wakes(&self, key: TimerKey, waker: &Waker) -> bool {
        let node = &self.nodes[key.index as usize];
        node.generation != key.generation
            || node.waiter.as_ref().is_some_and(|old| old.will_wake(waker))
    }

    /// Makes the armed timer wake `waiter`; returns the old one, to be dropped with no borrow.
    pub(super) fn set_waker(&mut self, key: TimerKey, waiter: Waiter) -> Option<Waiter> {
        debug_assert!(self.is_armed(key), "only an armed timer wakes somebody");
        self.nodes[key.index as usize].waiter.replace(waiter)
    }

    /// Disarms the timer; returns its waiter, to be dropped with nothing borrowed.
    pub(super) fn disarm(&mut self, key: TimerKey) -> Option<Waiter> {
        let Node { previous, next, generation, level, slot, .. } = self.nodes[key.index as usize];
        if generation != key.generation {
            return None;
        }
        let waiter = self.release(key.index);
        self.close_gap(previous, next, level.into(), slot.into());
        waiter
    }

    /// Returns when to look again: when the next timer is due, or earlier.
    pub(super) fn next(&self) -> Option<Instant> {
        let (_, _, tick) = self.next_slot()?;
        self.origin.checked_add(Duration::from_nanos(tick.saturating_mul(TICK_NS)))
    }

    /// Fires what is due at `now`: moves the waiters to `due`, in the order of their ticks.
    pub(super) fn fire(&mut self, now: Instant, due: &mut Vec<Waiter>) {
        let until = self.tick_before(now);
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > until {
                break;
            }
            self.now = tick;
            self.empty_slot(level, slot, due);
        }
        self.now = self.now.max(until);
    }

    /// Fires all timers, whenever they are due; no other is armed after that.
    pub(super) fn fire_all(&mut self, due: &mut Vec<Waiter>) {
        while let Some((level, slot, tick)) = self.next_slot() {
            self.now = tick;
            self.empty_slot(level, slot, due);
        }
    }

    /// Fires or moves down the timers in a slot that has been reached.
    fn empty_slot(&mut self, level: usize, slot: usize, due: &mut Vec<Waiter>) {
        let mut index = self.heads[level][slot];
        self.heads[level][slot] = NONE;
        self.occupied[level] &= !(1 << slot);
        // Slots are filled at the front; reversed, timers of a tick fire in the order of arming.
        let mut turned = NONE;
        while index != NONE {
            let next = self.nodes[index as usize].next;
            self.nodes[index as usize].next = turned;
            turned = index;
            index = next;
        }
        while turned != NONE {
            let Node { next, due: its_due, .. } = self.nodes[turned as usize];
            if its_due <= self.now {
                due.extend(self.release(turned));
            } else {
                self.link(turned, its_due);
            }
            turned = next;
        }
    }

    /// Returns the slot that is reached first, and its tick.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        if self.armed == 0 {
            return None;
        }
        (0..LEVELS).find(|&level| self.occupied[level] != 0).map(|level| {
            let here = (self.now >> (BITS * level)) & (SLOTS as u64 - 1);
            let ahead = self.occupied[level].rotate_right(here as u32).trailing_zeros() as u64;
            let slot = (here + ahead) % SLOTS as u64;
            let span = (BITS * (level + 1)) as u32;
            let start = self.now.checked_shr(span).unwrap_or(0).checked_shl(span).unwrap_or(0);
            (level, slot as usize, start + (slot << (BITS * level)))
        })
    }

    /// Puts a node into the slot of its tick, relative to now; returns its generation.
    #[inline]
    fn link(&mut self, index: u32, due: u64) -> u32 {
        let differing = (self.now ^ due) | (SLOTS as u64 - 1);
        let level = differing.ilog2() as usize / BITS;
        let slot = (due >> (BITS * level)) as usize % SLOTS;
        self.occupied[level] |= 1 << slot;
        let head = mem::replace(&mut self.heads[level][slot], index);
        if head != NONE {
            self.nodes[head as usize].previous = index;
        }
        let node = &mut self.nodes[index as usize];
        node.due = due;
        (node.previous, node.next) = (NONE, head);
        (node.level, node.slot) = (level as u8, slot as u8);
        node.generation
    }

    /// Links the neighbours of a node that is taken out of a slot's list.
    #[inline]
    fn close_gap(&mut self, previous: u32, next: u32, level: usize, slot: usize) {
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
            return;
        }
        self.heads[level][slot] = next;
        if next == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }

    #[inline]
    fn allocate(&mut self, waiter: Waiter) -> u32 {
        let index = self.free;
        if index == NONE {
            return self.grow(waiter);
        }
        let node = &mut self.nodes[index as usize];
        self.free = node.next;
        debug_assert!(node.waiter.is_none(), "a free node wakes nobody");
        mem::forget(node.waiter.replace(waiter));
        index
    }

    #[inline(never)]
    fn grow(&mut self, waiter: Waiter) -> u32 {
        let index = u32::try_from(self.nodes.len()).ok().filter(|&index| index != NONE);
        let index = index.expect("fewer than 4 billion timers");
        let (previous, next) = (NONE, NONE);
        let waiter = Some(waiter);
        self.nodes.push(Node { due: 0, previous, next, generation: 0, level: 0, slot: 0, waiter });
        index
    }

    #[inline]
    fn release(&mut self, index: u32) -> Option<Waiter> {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.next = self.free;
        self.free = index;
        self.armed -= 1;
        node.waiter.take()
    }

    /// Returns the first tick that is not before `instant`.
    fn tick_after(&self, instant: Instant) -> u64 {
        self.nanoseconds(instant).div_ceil(TICK_NS)
    }

    /// Returns the last tick that is not after `instant`.
    fn tick_before(&self, instant: Instant) -> u64 {
        self.nanoseconds(instant) / TICK_NS
    }

    fn nanoseconds(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.origin);
        let nanoseconds = since.as_secs().saturating_mul(1_000_000_000);
        // Half of the range is 292 years; the rest keeps sums of ticks from overflowing.
        nanoseconds.saturating_add(since.subsec_nanos().into()).min(u64::MAX / 2)
    }
}

/// No node.
const NONE: u32 = u32::MAX;
/// Bits of a tick that choose the slot of a level.
const BITS: usize = 6;
const SLOTS: usize = 1 << BITS;
/// 8 levels of 6 bits and ticks of 16 bits hold any number of nanoseconds in 64 bits.
const LEVELS: usize = 8;
/// A tick, in nanoseconds: fine enough for deadlines of 100 us, coarse enough for few levels.
const TICK_NS: u64 = 1 << 16;

#[cfg(all(test, not(loom)))]
mod tests;
