//! Deadlines and what they are for: a hierarchical timing wheel over ticks.
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
    fmt, mem,
    time::{Duration, Instant},
};

/// The name of an armed timer of a [`TimingWheel`]. After the timer has fired it stays valid, as
/// "not armed".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    index: u32,
    generation: u32,
}

struct Node<T> {
    /// The tick at which it is due.
    due: u64,
    /// Neighbours in the slot's list; a free node's `next` is the next free one.
    previous: u32,
    next: u32,
    generation: u32,
    level: u8,
    slot: u8,
    value: Option<T>,
}

/// Timers, each with a value: what is due by then, in the order of its ticks.
///
/// Arming and disarming take constant time, also with a million timers, and whatever their
/// deadlines are. So it fits timers that are mostly disarmed before they are due: timeouts of
/// requests, of idle connections, retransmissions. It knows no clock and waits for nothing; a
/// program that waits asks for [`next`](TimingWheel::next). The scheduler's own timers are one.
///
/// A tick is 65.5 us: a deadline is rounded up to the next one, so that no timer fires early.
///
/// ```
/// use std::time::{Duration, Instant};
/// use asyncoro::time::TimingWheel;
///
/// let now = Instant::now();
/// let mut wheel = TimingWheel::new(now);
/// wheel.arm(now + Duration::from_millis(20), "ping");
/// let late = wheel.arm(now + Duration::from_secs(60), "close");
/// assert!(wheel.next().unwrap() <= now + Duration::from_millis(21));
///
/// let mut due = Vec::new();
/// wheel.fire(now + Duration::from_millis(21), &mut due);
/// assert_eq!(due, ["ping"]);
/// assert_eq!(wheel.disarm(late), Some("close"));
/// assert_eq!(wheel.disarm(late), None);
/// ```
pub struct TimingWheel<T> {
    origin: Instant,
    /// The tick up to which everything has fired.
    now: u64,
    nodes: Vec<Node<T>>,
    free: u32,
    armed: usize,
    /// Which slots of a level are not empty.
    occupied: [u64; LEVELS],
    heads: [[u32; SLOTS]; LEVELS],
}

impl<T> TimingWheel<T> {
    /// Makes a wheel whose time begins with `origin`: a deadline before that is due at once.
    pub fn new(origin: Instant) -> TimingWheel<T> {
        TimingWheel {
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
    pub fn armed(&self) -> usize {
        self.armed
    }

    /// Arms a timer for `value`, due once `deadline` has come.
    ///
    /// # Panics
    /// If 4 billion timers are armed.
    pub fn arm(&mut self, deadline: Instant, value: T) -> TimerKey {
        let due = self.tick_after(deadline).max(self.now + 1);
        let index = self.allocate(value);
        self.armed += 1;
        TimerKey { index, generation: self.link(index, due) }
    }

    /// Returns the value of a timer; `None` if it has fired or was disarmed.
    pub fn get(&self, key: TimerKey) -> Option<&T> {
        let node = self.nodes.get(key.index as usize)?;
        if node.generation == key.generation { node.value.as_ref() } else { None }
    }

    /// Returns the value of a timer, to be changed; `None` if it has fired or was disarmed.
    pub fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let node = self.nodes.get_mut(key.index as usize)?;
        if node.generation == key.generation { node.value.as_mut() } else { None }
    }

    /// Returns the values of all armed timers, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.nodes.iter().filter_map(|node| node.value.as_ref())
    }

    /// Disarms a timer; returns its value, or `None` if it has fired or was disarmed before.
    pub fn disarm(&mut self, key: TimerKey) -> Option<T> {
        let node = self.nodes.get(key.index as usize)?;
        let Node { previous, next, generation, level, slot, .. } = *node;
        if generation != key.generation {
            return None;
        }
        let value = self.release(key.index);
        self.close_gap(previous, next, level.into(), slot.into());
        value
    }

    /// Returns when to look again: when the next timer is due, or earlier; `None` if none is armed.
    pub fn next(&self) -> Option<Instant> {
        let (_, _, tick) = self.next_slot()?;
        self.origin.checked_add(Duration::from_nanos(tick.saturating_mul(TICK_NS)))
    }

    /// Fires what is due at `now`: moves the values to `due`, in the order of their ticks, and of
    /// arming within one.
    pub fn fire(&mut self, now: Instant, due: &mut Vec<T>) {
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

    /// Fires all timers, whenever they are due. What is armed after that is due at the last of
    /// their deadlines at the earliest.
    pub fn fire_all(&mut self, due: &mut Vec<T>) {
        while let Some((level, slot, tick)) = self.next_slot() {
            self.now = tick;
            self.empty_slot(level, slot, due);
        }
    }

    /// Fires or moves down the timers in a slot that has been reached.
    fn empty_slot(&mut self, level: usize, slot: usize, due: &mut Vec<T>) {
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
    fn allocate(&mut self, value: T) -> u32 {
        let index = self.free;
        if index == NONE {
            return self.grow(value);
        }
        let node = &mut self.nodes[index as usize];
        self.free = node.next;
        debug_assert!(node.value.is_none(), "a free node has no value");
        mem::forget(node.value.replace(value));
        index
    }

    #[inline(never)]
    fn grow(&mut self, value: T) -> u32 {
        let index = u32::try_from(self.nodes.len()).ok().filter(|&index| index != NONE);
        let index = index.expect("fewer than 4 billion timers");
        let (previous, next) = (NONE, NONE);
        let value = Some(value);
        self.nodes.push(Node { due: 0, previous, next, generation: 0, level: 0, slot: 0, value });
        index
    }

    #[inline]
    fn release(&mut self, index: u32) -> Option<T> {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.next = self.free;
        self.free = index;
        self.armed -= 1;
        node.value.take()
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

impl<T> fmt::Debug for TimingWheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimingWheel").field("armed", &self.armed).finish_non_exhaustive()
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
