//! A queue of wakers that wait for one thing, first come, first served, each with a value.
//!
//! A [`WaitQueue`] is behind the lock of its owner, so it runs no foreign code: it returns wakers
//! and values, which the caller wakes or drops once the lock is released, and takes wakers already
//! cloned. Tickets grow by one and are never reused, so the queue is sorted by them.

use std::{collections::VecDeque, mem, task::Waker};

/// The queue; the first to come is at the front.
pub(crate) struct WaitQueue<V> {
    next: u64,
    entries: VecDeque<Entry<V>>,
}

/// An entry of the queue.
pub(crate) struct Entry<V> {
    ticket: Ticket,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl<V> Default for WaitQueue<V> {
    fn default() -> Self {
        Self { next: 0, entries: VecDeque::new() }
    }
}

impl<V> WaitQueue<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends an entry.
    pub(crate) fn push(&mut self, value: V, waker: Waker) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.entries.push_back(Entry { ticket, value, waker });
        ticket
    }

    /// Removes the entry at the front.
    pub(crate) fn pop(&mut self) -> Option<Entry<V>> {
        self.entries.pop_front()
    }

    /// Removes an entry; `None` if it was taken out already.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Entry<V>> {
        let index = self.index(ticket)?;
        self.entries.remove(index)
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
        let Some(index) = self.index(ticket) else { return Renewed::Removed };
        let stored = &mut self.entries[index].waker;
        if stored.will_wake(waker) {
            return Renewed::Waiting;
        }
        let Some(own) = own else { return Renewed::NeedsWaker };
        mem::swap(stored, own);
        Renewed::Waiting
    }

    /// Takes all wakers, and leaves all entries in the queue.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        let silent = |entry: &mut Entry<V>| mem::replace(&mut entry.waker, Waker::noop().clone());
        self.entries.iter_mut().map(silent).collect()
    }

    fn index(&self, ticket: Ticket) -> Option<usize> {
        // Nearly always it is the front entry.
        if self.entries.front().is_some_and(|entry| entry.ticket == ticket) {
            return Some(0);
        }
        self.entries.binary_search_by_key(&ticket, |entry| entry.ticket).ok()
    }
}

impl WaitQueue<()> {
    /// Renews the waker of the entry that `ticket` names, or appends one; `own` as for
    /// [`renew`](WaitQueue::renew). `false` means that it needs a clone of `waker` in `own`.
    pub(crate) fn wait(
        &mut self,
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
                *ticket = Some(self.push((), own));
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
    fn an_alarm_leaves_everybody_in_place() {
        let (mut queue, tickets) = queue_of(&[1, 2]);
        assert_eq!(queue.take_wakers().len(), 2);
        assert_ne!(renew(&mut queue, tickets[0]), Renewed::Removed);
        assert_ne!(renew(&mut queue, tickets[1]), Renewed::Removed);
    }
}
