//! A queue of wakers that wait for one thing, first come, first served, each with a value.
//!
//! A [`WaitQueue`] is behind the lock of its owner, so it runs no foreign code: it returns wakers
//! and values, which the caller wakes or drops once the lock is released, and takes wakers already
//! cloned.
//!
//! The entries are a list by index in one vector, so each operation takes the same time however
//! many wait, and an entry costs no allocation of its own. A ticket has the place of its entry and
//! a serial number, which is never reused: once the entry was taken out, the ticket finds nothing.

use std::{mem, num::NonZeroU64, task::Waker};

use crate::coro;

/// The queue; the first to come is at the front.
pub(crate) struct WaitQueue<V> {
    /// The serial number of the last entry.
    last_serial: u64,
    slots: Vec<Slot<V>>,
    front: u32,
    back: u32,
    /// The first slot without an entry; the next one is its `next`.
    free: u32,
    length: u32,
}

struct Slot<V> {
    entry: Option<Entry<V>>,
    /// That of its entry, or of the last one that it had.
    serial: u64,
    before: u32,
    next: u32,
}

/// An entry of the queue.
pub(crate) struct Entry<V> {
    /// The value that the waiting side passed to [`push`](WaitQueue::push).
    pub(crate) value: V,
    /// The waker of the waiting side.
    pub(crate) waker: Waker,
}

/// The state of an entry after [`WaitQueue::renew`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// It is in the queue, and its waker is the right one.
    Waiting,
    /// It is in the queue, and a clone of the right waker is needed.
    NeedsWaker,
    /// It was taken out of the queue.
    Removed,
}

/// Identifies an entry; a waiting future keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    serial: NonZeroU64,
    index: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;

/// A queue with more slots than this frees them when its last entry has left.
const KEPT_SLOTS: usize = 1024;

impl<V> Default for WaitQueue<V> {
    fn default() -> Self {
        Self { last_serial: 0, slots: Vec::new(), front: NONE, back: NONE, free: NONE, length: 0 }
    }
}

impl<V> WaitQueue<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns how many wait.
    pub(crate) fn len(&self) -> usize {
        self.length as usize
    }

    /// Appends an entry.
    pub(crate) fn push(&mut self, value: V, waker: Waker) -> Ticket {
        self.last_serial += 1;
        let serial = self.last_serial;
        let slot =
            Slot { entry: Some(Entry { value, waker }), serial, before: self.back, next: NONE };
        let index = self.free;
        let index = match self.slots.get_mut(index as usize) {
            Some(place) => {
                self.free = place.next;
                *place = slot;
                index
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 wait for one thing")
            }
        };
        match self.slots.get_mut(self.back as usize) {
            Some(back) => back.next = index,
            None => self.front = index,
        }
        self.back = index;
        self.length += 1;
        let serial = NonZeroU64::new(serial).expect("serial numbers begin with 1");
        Ticket { serial, index }
    }

    /// Returns the value of the entry at the front.
    pub(crate) fn front(&self) -> Option<&V> {
        self.slots.get(self.front as usize)?.entry.as_ref().map(|entry| &entry.value)
    }

    /// Removes the entry at the front.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry<V>> {
        self.take(self.front)
    }

    /// Removes an entry; `None` if it was taken out already.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Entry<V>> {
        if self.contains(ticket) { self.take(ticket.index) } else { None }
    }

    /// Tells whether the entry is in the queue.
    pub(crate) fn contains(&self, ticket: Ticket) -> bool {
        let slot = self.slots.get(ticket.index as usize);
        slot.is_some_and(|slot| slot.serial == ticket.serial.get() && slot.entry.is_some())
    }

    /// Makes sure that the waker of an entry wakes what `waker` wakes.
    ///
    /// If it wakes something else, swaps it with the clone in `own`, where the caller finds the old
    /// one to drop.
    pub(crate) fn renew(
        &mut self,
        ticket: Ticket,
        waker: &Waker,
        own: &mut Option<Waker>,
    ) -> Renewed {
        let slot = self.slots.get_mut(ticket.index as usize);
        let slot = slot.filter(|slot| slot.serial == ticket.serial.get());
        let Some(entry) = slot.and_then(|slot| slot.entry.as_mut()) else {
            return Renewed::Removed;
        };
        if entry.waker.will_wake(waker) {
            return Renewed::Waiting;
        }
        let Some(own) = own else { return Renewed::NeedsWaker };
        mem::swap(&mut entry.waker, own);
        Renewed::Waiting
    }

    /// Takes all wakers, and leaves all entries in the queue, in their order.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::with_capacity(self.len());
        let mut index = self.front;
        while let Some(slot) = self.slots.get_mut(index as usize) {
            let entry = slot.entry.as_mut();
            wakers.extend(entry.map(|entry| mem::replace(&mut entry.waker, Waker::noop().clone())));
            index = slot.next;
        }
        wakers
    }

    /// Removes all entries, and adds their wakers to `wakes` in the order of the queue.
    pub(crate) fn drain(&mut self, wakes: &mut Wakes) {
        if self.length > 1 {
            wakes.rest.reserve(self.len());
        }
        while let Some(entry) = self.pop() {
            wakes.add(entry.waker);
        }
    }

    #[inline]
    fn take(&mut self, index: u32) -> Option<Entry<V>> {
        let slot = self.slots.get_mut(index as usize)?;
        let entry = slot.entry.take()?;
        let (before, next) = (slot.before, slot.next);
        slot.next = self.free;
        self.free = index;
        self.length -= 1;
        if self.length > 0 {
            self.link(before, next);
        } else {
            (self.front, self.back) = (NONE, NONE);
            if self.slots.len() > KEPT_SLOTS {
                // Serial numbers go on, so no ticket finds an entry of the next vector.
                (self.slots, self.free) = (Vec::new(), NONE);
            }
        }
        Some(entry)
    }

    /// Makes two entries neighbours; either may be none.
    fn link(&mut self, before: u32, next: u32) {
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.next = next,
            None => self.front = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(slot) => slot.before = before,
            None => self.back = before,
        }
    }
}

/// Wakers that are to be woken once the lock is released; one alone takes no allocation.
#[derive(Default)]
pub(crate) struct Wakes {
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl Wakes {
    #[inline]
    pub(crate) fn add(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.rest.push(waker),
        }
    }

    /// Wakes them in the order in which they were added. Called without the lock, since a waker may
    /// be foreign code.
    #[inline]
    pub(crate) fn wake(self) {
        let Self { first, rest } = self;
        if let Some(waker) = first {
            coro::waker::wake(waker);
        }
        if !rest.is_empty() {
            wake_all(rest);
        }
    }
}

#[inline(never)]
fn wake_all(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(coro::waker::wake);
}

impl<V> WaitQueue<V> {
    /// Renews the waker of the entry that `ticket` names, or appends one with `value`; `own` as for
    /// [`renew`](WaitQueue::renew). `false` means that it needs a clone of `waker` in `own`.
    pub(crate) fn wait(
        &mut self,
        value: V,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        own: &mut Option<Waker>,
    ) -> bool {
        let renewed = ticket.map_or(Renewed::Removed, |ticket| self.renew(ticket, waker, own));
        match renewed {
            Renewed::Waiting => true,
            Renewed::NeedsWaker => false,
            Renewed::Removed => {
                let Some(own) = own.take() else { return false };
                *ticket = Some(self.push(value, own));
                true
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn queue_of(values: &[u32]) -> (WaitQueue<u32>, Vec<Ticket>) {
        let mut queue = WaitQueue::default();
        let tickets =
            values.iter().map(|&value| queue.push(value, Waker::noop().clone())).collect();
        (queue, tickets)
    }

    fn renew(queue: &mut WaitQueue<u32>, ticket: Ticket) -> Renewed {
        queue.renew(ticket, Waker::noop(), &mut None)
    }

    #[test]
    fn first_come_is_first_called() {
        let (mut queue, _) = queue_of(&[1, 2, 3]);
        let popped: Vec<u32> =
            std::iter::from_fn(|| queue.pop()).map(|entry| entry.value).collect();
        assert_eq!(popped, [1, 2, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn who_leaves_takes_only_its_own_place() {
        let (mut queue, tickets) = queue_of(&[1, 2, 3, 4]);
        assert_eq!(queue.remove(tickets[2]).map(|entry| entry.value), Some(3));
        assert!(queue.remove(tickets[2]).is_none());
        assert_eq!(queue.pop().map(|entry| entry.value), Some(1));
        assert!(queue.remove(tickets[0]).is_none());
        assert_eq!(renew(&mut queue, tickets[0]), Renewed::Removed);
        assert_ne!(renew(&mut queue, tickets[3]), Renewed::Removed);
        assert_eq!(queue.pop().map(|entry| entry.value), Some(2));
        assert_eq!(queue.pop().map(|entry| entry.value), Some(4));
    }

    #[test]
    fn an_old_ticket_finds_nothing_where_another_waits_now() {
        let (mut queue, old) = queue_of(&[1]);
        assert!(queue.pop().is_some());
        let new = queue.push(2, Waker::noop().clone());
        assert_eq!(new.index, old[0].index);
        assert!(!queue.contains(old[0]) && queue.remove(old[0]).is_none());
        assert_eq!((queue.front(), queue.len()), (Some(&2), 1));
        assert!(queue.contains(new));
    }

    #[test]
    fn any_order_of_leaving_keeps_the_order_of_those_who_stay() {
        let mut seed = 7_u64;
        let mut queue = WaitQueue::default();
        let mut expected: Vec<(u64, Ticket)> = Vec::new();
        for number in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = (seed >> 33) as usize;
            match random % 5 {
                0 | 1 => expected.push((number, queue.push(number, Waker::noop().clone()))),
                2 if !expected.is_empty() => {
                    let (value, ticket) = expected.remove(random / 5 % expected.len());
                    assert_eq!(queue.remove(ticket).map(|entry| entry.value), Some(value));
                }
                3 => {
                    let first = (!expected.is_empty()).then(|| expected.remove(0).0);
                    assert_eq!(queue.pop().map(|entry| entry.value), first);
                }
                _ => assert_eq!(queue.front().copied(), expected.first().map(|first| first.0)),
            }
            assert_eq!(queue.len(), expected.len());
        }
    }

    #[test]
    fn many_entries_leave_no_memory_behind() {
        let numbers: Vec<u32> = (0..100_000).collect();
        let (mut queue, tickets) = queue_of(&numbers);
        for ticket in tickets.iter().rev() {
            assert!(queue.remove(*ticket).is_some());
        }
        assert!(queue.is_empty() && queue.slots.capacity() == 0);
        assert!(tickets.iter().all(|ticket| !queue.contains(*ticket)));
        let ticket = queue.push(1, Waker::noop().clone());
        assert!(queue.contains(ticket) && !queue.contains(tickets[0]));
        let mut wakes = Wakes::default();
        queue.drain(&mut wakes);
        assert!(queue.is_empty() && wakes.first.is_some() && wakes.rest.is_empty());
    }

    #[test]
    fn an_alarm_leaves_everybody_in_place() {
        let (mut queue, tickets) = queue_of(&[1, 2]);
        assert_eq!(queue.take_wakers().len(), 2);
        assert_ne!(renew(&mut queue, tickets[0]), Renewed::Removed);
        assert_ne!(renew(&mut queue, tickets[1]), Renewed::Removed);
    }
}
