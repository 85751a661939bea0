//! Those who wait for one thing, first come, first served, each with what it brought along.
//!
//! A [`Line`] stands behind the lock of its owner, so it runs no code of others: wakers and values
//! leave it by being returned, to be woken or dropped once the lock is released, and a waker comes
//! in already cloned. Tickets grow by one and are never reused, so the line is sorted by them.

use std::{collections::VecDeque, mem, task::Waker};

/// The line: whoever came first stands in front.
pub(crate) struct Line<V> {
    next: u64,
    places: VecDeque<Place<V>>,
}

/// One place in a line.
pub(crate) struct Place<V> {
    ticket: Ticket,
    /// What the waiting side brought along.
    pub(crate) value: V,
    /// Whom to wake.
    pub(crate) waker: Waker,
}

/// How a place stands after [`Line::renew`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// It is still there, and its waker is the right one.
    Waiting,
    /// It is still there, and a clone of the right waker is needed.
    NeedsWaker,
    /// Its holder was called.
    Called,
}

/// What a waiting future remembers its place by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl<V> Default for Line<V> {
    fn default() -> Self {
        Self { next: 0, places: VecDeque::new() }
    }
}

impl<V> Line<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Takes the last place.
    pub(crate) fn join(&mut self, value: V, waker: Waker) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.places.push_back(Place { ticket, value, waker });
        ticket
    }

    /// Takes whoever stands in front out of the line.
    pub(crate) fn call(&mut self) -> Option<Place<V>> {
        self.places.pop_front()
    }

    /// Gives up a place; `None` if its holder was called already.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<Place<V>> {
        let index = self.index(ticket)?;
        self.places.remove(index)
    }

    /// Sees to it that the holder of a place is woken by what `waker` wakes.
    ///
    /// If the waker there is another, the clone in `own` takes its place, and the old one is in
    /// `own` then, to be dropped.
    pub(crate) fn renew(
        &mut self,
        ticket: Ticket,
        waker: &Waker,
        own: &mut Option<Waker>,
    ) -> Renewed {
        let Some(index) = self.index(ticket) else { return Renewed::Called };
        let stored = &mut self.places[index].waker;
        if stored.will_wake(waker) {
            return Renewed::Waiting;
        }
        let Some(own) = own else { return Renewed::NeedsWaker };
        mem::swap(stored, own);
        Renewed::Waiting
    }

    /// Takes everybody's waker, and leaves everybody in place.
    pub(crate) fn alarm(&mut self) -> Vec<Waker> {
        let silent = |place: &mut Place<V>| mem::replace(&mut place.waker, Waker::noop().clone());
        self.places.iter_mut().map(silent).collect()
    }

    fn index(&self, ticket: Ticket) -> Option<usize> {
        // Nearly always the one who asks stands in front.
        if self.places.front().is_some_and(|place| place.ticket == ticket) {
            return Some(0);
        }
        self.places.binary_search_by_key(&ticket, |place| place.ticket).ok()
    }
}

impl Line<()> {
    /// Waits in the place that `ticket` holds, or else in the last one, to be woken by what `waker`
    /// wakes; `own` as for [`renew`](Line::renew). `false`: come again with a clone in `own`.
    pub(crate) fn wait(
        &mut self,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        own: &mut Option<Waker>,
    ) -> bool {
        let renewed = ticket.map_or(Renewed::Called, |ticket| self.renew(ticket, waker, own));
        match renewed {
            Renewed::Waiting => true,
            Renewed::NeedsWaker => false,
            Renewed::Called => {
                let Some(own) = own.take() else { return false };
                *ticket = Some(self.join((), own));
                true
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn line_of(values: &[u32]) -> (Line<u32>, Vec<Ticket>) {
        let mut line = Line::default();
        let tickets = values.iter().map(|&value| line.join(value, Waker::noop().clone())).collect();
        (line, tickets)
    }

    fn renew(line: &mut Line<u32>, ticket: Ticket) -> Renewed {
        line.renew(ticket, Waker::noop(), &mut None)
    }

    #[test]
    fn first_come_is_first_called() {
        let (mut line, _) = line_of(&[1, 2, 3]);
        let called: Vec<u32> =
            std::iter::from_fn(|| line.call()).map(|place| place.value).collect();
        assert_eq!(called, [1, 2, 3]);
        assert!(line.is_empty());
    }

    #[test]
    fn who_leaves_takes_only_its_own_place() {
        let (mut line, tickets) = line_of(&[1, 2, 3, 4]);
        assert_eq!(line.leave(tickets[2]).map(|place| place.value), Some(3));
        assert!(line.leave(tickets[2]).is_none());
        assert_eq!(line.call().map(|place| place.value), Some(1));
        assert!(line.leave(tickets[0]).is_none());
        assert_eq!(renew(&mut line, tickets[0]), Renewed::Called);
        assert_ne!(renew(&mut line, tickets[3]), Renewed::Called);
        assert_eq!(line.call().map(|place| place.value), Some(2));
        assert_eq!(line.call().map(|place| place.value), Some(4));
    }

    #[test]
    fn an_alarm_leaves_everybody_in_place() {
        let (mut line, tickets) = line_of(&[1, 2]);
        assert_eq!(line.alarm().len(), 2);
        assert_ne!(renew(&mut line, tickets[0]), Renewed::Called);
        assert_ne!(renew(&mut line, tickets[1]), Renewed::Called);
    }
}
