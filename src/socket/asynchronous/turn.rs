//! Whose turn it is in one direction of a socket.
//!
//! A verb that has to wait takes its direction's turn and keeps it until it is done or dropped.
//! Others stand in line, first come, first served. Whoever leaves, by whatever way, passes the turn
//! on; a verb that is forgotten (`mem::forget`) keeps it until the socket is closed: `close` seizes
//! the turn, and what the one before does with it from then on is ignored. Nobody in line costs
//! nothing: the line is made when the second verb comes.

use std::{collections::VecDeque, task::Waker};

use crate::coro::Waiter;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Turn {
    taken: bool,
    /// Taken away for the close; only closing verbs have it from then on.
    seized: bool,
    /// The last ticket given out.
    last: u32,
    /// Whom readiness wakes: the verb that has the turn.
    waiter: Option<Waiter>,
    line: Option<Box<Line>>,
}

/// A place in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u32);

#[derive(Default)]
struct Line {
    /// Whom the turn was passed to; it has not looked yet.
    called: Option<Ticket>,
    waiting: VecDeque<(Ticket, Waiter)>,
}

impl Turn {
    /// Whether a verb has the turn, or was called to it.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken
    }

    /// Takes a turn that is free.
    pub(crate) fn take(&mut self) {
        debug_assert!(!self.taken, "a turn is taken when it is free");
        self.taken = true;
    }

    /// Has readiness wake `waker`; the caller has the turn. Gives back what is to be dropped
    /// outside.
    pub(crate) fn wait(&mut self, waiter: Waiter) -> Option<Waiter> {
        debug_assert!(self.taken, "who waits has the turn");
        self.waiter.replace(waiter)
    }

    /// Whether readiness would wake this waker.
    pub(crate) fn wakes(&self, waker: &Waker) -> bool {
        self.waiter.as_ref().is_some_and(|waiter| waiter.will_wake(waker))
    }

    /// Whoever waits for readiness.
    pub(crate) fn waiter(&mut self) -> Option<Waiter> {
        self.waiter.take()
    }

    /// Stands in line.
    pub(crate) fn queue(&mut self, waiter: Waiter) -> Ticket {
        let line = self.line.get_or_insert_default();
        self.last = self.last.wrapping_add(1);
        let ticket = Ticket(self.last);
        line.waiting.push_back((ticket, waiter));
        ticket
    }

    /// Whether the turn was passed to `ticket`, which then has it; else its waker is replaced. The
    /// waker that is of no use is given back, to be dropped outside.
    pub(crate) fn called(&mut self, ticket: Ticket, waiter: Waiter) -> (bool, Option<Waiter>) {
        let Some(line) = &mut self.line else { return (false, Some(waiter)) };
        if line.called == Some(ticket) {
            line.called = None;
            self.forget_empty_line();
            return (true, Some(waiter));
        }
        match line.waiting.iter_mut().find(|(waiting, _)| *waiting == ticket) {
            Some((_, old)) => (false, Some(std::mem::replace(old, waiter))),
            None => (false, Some(waiter)),
        }
    }

    /// Leaves the line; if the turn had been passed to it, it is passed on. The wakers are to be
    /// woken and dropped outside.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Left {
        let Some(line) = &mut self.line else { return Left::default() };
        if line.called == Some(ticket) {
            line.called = None;
            return self.pass();
        }
        let place = line.waiting.iter().position(|(waiting, _)| *waiting == ticket);
        let own = place.and_then(|place| line.waiting.remove(place)).map(|(_, waker)| waker);
        self.forget_empty_line();
        Left { wake: None, drop: own }
    }

    /// Gives the turn back: to the first in line, else to nobody.
    #[inline]
    pub(crate) fn pass(&mut self) -> Left {
        debug_assert!(self.taken, "who passes the turn has it");
        let mut left = Left { wake: None, drop: self.waiter.take() };
        self.taken = false;
        if let Some(line) = &mut self.line {
            if let Some((ticket, waker)) = line.waiting.pop_front() {
                self.taken = true;
                line.called = Some(ticket);
                left.wake = Some(waker);
            }
            self.forget_empty_line();
        }
        left
    }

    /// Everybody who waits here, for the close of the socket. The turn stays taken by whoever has
    /// it.
    pub(crate) fn all(&mut self) -> Vec<Waiter> {
        let line = self.line.as_mut().map(|line| line.waiting.drain(..).map(|(_, waker)| waker));
        self.waiter.take().into_iter().chain(line.into_iter().flatten()).collect()
    }

    /// Takes the turn from whoever has it and does not leave, for the close of the socket, once.
    /// The wakers are to be dropped outside.
    pub(crate) fn seize(&mut self) -> Vec<Waiter> {
        if std::mem::replace(&mut self.seized, true) {
            return Vec::new();
        }
        self.taken = false;
        if let Some(line) = &mut self.line {
            line.called = None;
        }
        self.all()
    }

    /// Whether a verb that does not close has lost its turn to one that does.
    pub(crate) fn is_seized(&self) -> bool {
        self.seized
    }

    fn forget_empty_line(&mut self) {
        if self.line.as_ref().is_some_and(|line| line.called.is_none() && line.waiting.is_empty()) {
            self.line = None;
        }
    }
}

/// What is left to do after somebody has left, with no borrow held.
#[derive(Default)]
#[must_use = "the next in line must be woken"]
pub(crate) struct Left {
    pub(crate) wake: Option<Waiter>,
    pub(crate) drop: Option<Waiter>,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A waiter, its waker, and how often it was woken.
    fn waiter() -> (Waiter, Waker, Arc<Count>) {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        (Waiter::of(&waker), waker, count)
    }

    fn is(found: Option<Waiter>, waker: &Waker) -> bool {
        found.is_some_and(|found| found.will_wake(waker))
    }

    #[test]
    fn a_turn_is_taken_passed_and_free_again() {
        let mut turn = Turn::default();
        assert!(!turn.is_taken() && !turn.is_seized());
        turn.take();
        assert!(turn.is_taken());
        let (own, waker, _) = waiter();
        assert!(turn.wait(own).is_none());
        assert!(turn.wakes(&waker) && !turn.wakes(&waiter().1));
        let (other, ..) = waiter();
        assert!(is(turn.wait(other), &waker), "the one before is given back");
        assert!(turn.waiter().is_some() && turn.waiter().is_none());
        let (own, waker, _) = waiter();
        turn.wait(own);
        let left = turn.pass();
        assert!(left.wake.is_none() && is(left.drop, &waker));
        assert!(!turn.is_taken());
    }

    #[test]
    fn those_in_line_are_called_in_their_order() {
        let mut turn = Turn::default();
        turn.take();
        let ((first, first_waker, _), (second, second_waker, _)) = (waiter(), waiter());
        let (first, second) = (turn.queue(first), turn.queue(second));
        assert_ne!(first, second);
        // Who asks before it is called leaves its new waker and gets the old one back.
        let (new, new_waker, _) = waiter();
        assert!(is(turn.called(second, new).1, &second_waker));
        assert!(is(turn.pass().wake, &first_waker));
        assert!(turn.is_taken(), "it is the turn of who was called");
        assert!(!turn.called(second, Waiter::of(&new_waker)).0);
        assert!(turn.called(first, Waiter::of(&first_waker)).0);
        assert!(is(turn.pass().wake, &new_waker));
        assert!(turn.called(second, Waiter::of(&new_waker)).0);
        assert!(turn.line.is_none(), "an empty line is forgotten");
        assert!(turn.pass().wake.is_none() && !turn.is_taken());
        // A ticket of a line that is no more gets its waker back.
        assert!(is(turn.called(second, Waiter::of(&new_waker)).1, &new_waker));
    }

    #[test]
    fn whoever_leaves_holds_up_nobody() {
        let mut turn = Turn::default();
        turn.take();
        let [(a, a_waker, _), (b, b_waker, _), (c, c_waker, _)] = [waiter(), waiter(), waiter()];
        let [a, b, c] = [a, b, c].map(|waiter| turn.queue(waiter));
        let left = turn.leave(b);
        assert!(left.wake.is_none() && is(left.drop, &b_waker));
        assert!(is(turn.pass().wake, &a_waker));
        // The called one leaves before it has looked: the turn goes on to the next.
        assert!(is(turn.leave(a).wake, &c_waker));
        assert!(turn.is_taken());
        assert!(turn.leave(c).wake.is_none());
        assert!(!turn.is_taken() && turn.line.is_none());
        let left = turn.leave(c);
        assert!(left.wake.is_none() && left.drop.is_none());
    }

    #[test]
    fn the_close_takes_the_turn_and_everybody_who_waits() {
        let mut turn = Turn::default();
        turn.take();
        let [(own, ..), (a, a_waker, _), (b, ..)] = [waiter(), waiter(), waiter()];
        turn.wait(own);
        let [a, _] = [a, b].map(|waiter| turn.queue(waiter));
        assert!(is(turn.pass().wake, &a_waker));
        assert_eq!(turn.all().len(), 1, "one in line; the called one has been woken");
        assert!(turn.is_taken());
        assert_eq!(turn.seize().len(), 0);
        assert!(turn.is_seized() && !turn.is_taken());
        assert!(!turn.called(a, Waiter::of(&a_waker)).0, "its call was taken away");
        turn.take();
        let (own, ..) = waiter();
        turn.wait(own);
        assert_eq!(turn.seize().len(), 0, "it is seized once");
        assert!(turn.is_taken());
        assert_eq!(turn.all().len(), 1);
    }
}
