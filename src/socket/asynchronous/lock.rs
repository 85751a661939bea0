//! The lock of one direction of a socket.
//!
//! A verb that has to wait takes its direction's lock and keeps it until it is done or dropped.
//! Others wait in a queue, first come, first served. A verb that leaves in any way passes the lock
//! on. A verb that is forgotten (`mem::forget`) keeps it until `close` seizes the lock; whatever
//! that verb does with the lock afterwards is ignored. The queue is created when a second verb
//! comes, and takes no memory while it is empty.
//!
//! A poll method never has the lock, since nothing would release it if its caller lost interest. It
//! leaves its waiter here, the last one wins: where the verb with the lock would leave its own,
//! while there is none, and else beside the queue, until the lock is free.

use std::{collections::VecDeque, task::Waker};

use crate::coro::Waiter;

/// The lock of one direction, and the verbs that wait for it.
#[derive(Default)]
pub(crate) struct Lock {
    taken: bool,
    /// Seized by `close`; only closing verbs may take it from then on.
    seized: bool,
    /// A poll method has let others go first.
    pub(crate) has_stepped_back: bool,
    /// The last ticket handed out.
    last: u32,
    /// The waiter that readiness wakes: that of the verb with the lock or, while the lock is free,
    /// that of a poll method.
    waiter: Option<Waiter>,
    line: Option<Box<WaitLine>>,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u32);

#[derive(Default)]
struct WaitLine {
    /// The ticket that the lock was passed to, until its verb has noticed.
    called: Option<Ticket>,
    waiting: VecDeque<(Ticket, Waiter)>,
    /// The waiter of a poll method that has found the lock taken.
    polled: Option<Waiter>,
}

impl Lock {
    /// Tells whether a verb has the lock, or it was passed to one.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken
    }

    /// Takes the lock, which must be free.
    pub(crate) fn take(&mut self) {
        debug_assert!(!self.taken, "a lock is taken when it is free");
        if self.waiter.is_some() {
            self.set_polled_aside();
        }
        self.taken = true;
    }

    #[cold]
    fn set_polled_aside(&mut self) {
        let waiter = self.waiter.take();
        self.line.get_or_insert_default().polled = waiter;
    }

    /// Makes readiness, or the release of the lock if it is taken, wake the `waiter` of a poll
    /// method. Returns the one before, to be dropped with nothing borrowed.
    pub(crate) fn poll(&mut self, waiter: Waiter) -> Option<Waiter> {
        if self.taken {
            self.line.get_or_insert_default().polled.replace(waiter)
        } else {
            self.waiter.replace(waiter)
        }
    }

    /// Takes the waiter of a poll method, if the lock is free.
    pub(crate) fn polled(&mut self) -> Option<Waiter> {
        if self.taken { None } else { self.waiter.take() }
    }

    /// Makes readiness wake `waiter`; the caller has the lock. Returns the old waiter, to be
    /// dropped with nothing borrowed.
    pub(crate) fn wait(&mut self, waiter: Waiter) -> Option<Waiter> {
        debug_assert!(self.taken, "who waits has the lock");
        self.waiter.replace(waiter)
    }

    /// Tells whether readiness would wake this waker.
    pub(crate) fn wakes(&self, waker: &Waker) -> bool {
        self.waiter.as_ref().is_some_and(|waiter| waiter.will_wake(waker))
    }

    /// Tells whether readiness would wake anybody.
    pub(crate) fn has_waiter(&self) -> bool {
        self.waiter.is_some()
    }

    /// Takes the waiter that readiness wakes.
    pub(crate) fn waiter(&mut self) -> Option<Waiter> {
        self.waiter.take()
    }

    /// Joins the queue.
    pub(crate) fn queue(&mut self, waiter: Waiter) -> Ticket {
        let line = self.line.get_or_insert_default();
        self.last = self.last.wrapping_add(1);
        let ticket = Ticket(self.last);
        line.waiting.push_back((ticket, waiter));
        ticket
    }

    /// Tells whether the lock was passed to `ticket`, which then has it; otherwise replaces its
    /// waiter. Returns the waiter that is no longer needed, to be dropped with nothing borrowed.
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

    /// Leaves the queue; passes the lock on if it was passed to `ticket`. The waiters must be woken
    /// and dropped with nothing borrowed.
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

    /// Releases the lock and passes it to the first in the queue, if there is one.
    #[inline]
    pub(crate) fn pass(&mut self) -> Left {
        debug_assert!(self.taken, "who passes the lock has it");
        let mut left = Left { wake: None, drop: self.waiter.take() };
        self.taken = false;
        if let Some(line) = &mut self.line {
            if let Some((ticket, waker)) = line.waiting.pop_front() {
                self.taken = true;
                line.called = Some(ticket);
                left.wake = Some(waker);
            } else {
                left.wake = line.polled.take();
            }
            self.forget_empty_line();
        }
        left
    }

    /// Takes all waiters, for the close of the socket. The lock stays taken by the verb that has
    /// it.
    pub(crate) fn all(&mut self) -> Vec<Waiter> {
        let own = self.waiter.take();
        let polled = self.line.as_mut().and_then(|line| line.polled.take());
        let line = self.line.as_mut().map(|line| line.waiting.drain(..).map(|(_, waker)| waker));
        own.into_iter().chain(polled).chain(line.into_iter().flatten()).collect()
    }

    /// Takes the lock from a verb that does not release it, once, for the close of the socket. The
    /// waiters must be dropped with nothing borrowed.
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

    /// Tells whether a verb that does not close has lost the lock to `close`.
    pub(crate) fn is_seized(&self) -> bool {
        self.seized
    }

    fn forget_empty_line(&mut self) {
        if self.line.as_ref().is_some_and(|line| line.is_empty()) {
            self.line = None;
        }
    }
}

impl WaitLine {
    fn is_empty(&self) -> bool {
        self.called.is_none() && self.waiting.is_empty() && self.polled.is_none()
    }
}

/// Waiters to be woken and dropped after a verb has left, with nothing borrowed.
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
    fn a_lock_is_taken_passed_and_free_again() {
        let mut lock = Lock::default();
        assert!(!lock.is_taken() && !lock.is_seized());
        lock.take();
        assert!(lock.is_taken());
        let (own, waker, _) = waiter();
        assert!(lock.wait(own).is_none());
        assert!(lock.wakes(&waker) && !lock.wakes(&waiter().1));
        let (other, ..) = waiter();
        assert!(is(lock.wait(other), &waker), "the one before is given back");
        assert!(lock.waiter().is_some() && lock.waiter().is_none());
        let (own, waker, _) = waiter();
        lock.wait(own);
        let left = lock.pass();
        assert!(left.wake.is_none() && is(left.drop, &waker));
        assert!(!lock.is_taken());
    }

    #[test]
    fn those_in_line_are_called_in_their_order() {
        let mut lock = Lock::default();
        lock.take();
        let ((first, first_waker, _), (second, second_waker, _)) = (waiter(), waiter());
        let (first, second) = (lock.queue(first), lock.queue(second));
        assert_ne!(first, second);
        // An early call replaces the waker and returns the old one.
        let (new, new_waker, _) = waiter();
        assert!(is(lock.called(second, new).1, &second_waker));
        assert!(is(lock.pass().wake, &first_waker));
        assert!(lock.is_taken(), "who was called has the lock");
        assert!(!lock.called(second, Waiter::of(&new_waker)).0);
        assert!(lock.called(first, Waiter::of(&first_waker)).0);
        assert!(is(lock.pass().wake, &new_waker));
        assert!(lock.called(second, Waiter::of(&new_waker)).0);
        assert!(lock.line.is_none(), "an empty line is forgotten");
        assert!(lock.pass().wake.is_none() && !lock.is_taken());
        // A ticket of a queue that no longer exists gets its waker back.
        assert!(is(lock.called(second, Waiter::of(&new_waker)).1, &new_waker));
    }

    #[test]
    fn whoever_leaves_holds_up_nobody() {
        let mut lock = Lock::default();
        lock.take();
        let [(a, a_waker, _), (b, b_waker, _), (c, c_waker, _)] = [waiter(), waiter(), waiter()];
        let [a, b, c] = [a, b, c].map(|waiter| lock.queue(waiter));
        let left = lock.leave(b);
        assert!(left.wake.is_none() && is(left.drop, &b_waker));
        assert!(is(lock.pass().wake, &a_waker));
        // The verb leaves before it notices the lock: the lock goes to the next.
        assert!(is(lock.leave(a).wake, &c_waker));
        assert!(lock.is_taken());
        assert!(lock.leave(c).wake.is_none());
        assert!(!lock.is_taken() && lock.line.is_none());
        let left = lock.leave(c);
        assert!(left.wake.is_none() && left.drop.is_none());
    }

    #[test]
    fn a_poll_method_waits_beside_verbs_and_is_woken_when_the_lock_is_free() {
        let mut lock = Lock::default();
        let ((first, first_waker, _), (second, second_waker, _)) = (waiter(), waiter());
        assert!(lock.poll(first).is_none());
        assert!(is(lock.poll(second), &first_waker), "the last one wins");
        assert!(lock.has_waiter() && !lock.is_taken());
        lock.take();
        assert!(lock.polled().is_none() && !lock.has_waiter(), "it was set aside");
        let ((own, own_waker, _), (next, next_waker, _)) = (waiter(), waiter());
        assert!(lock.wait(own).is_none());
        let next = lock.queue(next);
        assert!(is(lock.waiter(), &own_waker), "readiness wakes the verb with the lock");
        assert!(is(lock.pass().wake, &next_waker), "verbs come first");
        assert!(lock.called(next, Waiter::of(&next_waker)).0);
        assert!(is(lock.pass().wake, &second_waker));
        assert!(lock.line.is_none() && !lock.is_taken());
        let ((a, a_waker, _), (b, b_waker, _)) = (waiter(), waiter());
        lock.take();
        assert!(lock.poll(a).is_none());
        assert!(is(lock.poll(b), &a_waker));
        assert!(is(lock.all().pop(), &b_waker), "the close wakes it as well");
    }

    #[test]
    fn the_close_takes_the_lock_and_everybody_who_waits() {
        let mut lock = Lock::default();
        lock.take();
        let [(own, ..), (a, a_waker, _), (b, ..)] = [waiter(), waiter(), waiter()];
        lock.wait(own);
        let [a, _] = [a, b].map(|waiter| lock.queue(waiter));
        assert!(is(lock.pass().wake, &a_waker));
        assert_eq!(lock.all().len(), 1, "one in line; the called one has been woken");
        assert!(lock.is_taken());
        assert_eq!(lock.seize().len(), 0);
        assert!(lock.is_seized() && !lock.is_taken());
        assert!(!lock.called(a, Waiter::of(&a_waker)).0, "its call was taken away");
        lock.take();
        let (own, ..) = waiter();
        lock.wait(own);
        assert_eq!(lock.seize().len(), 0, "it is seized once");
        assert!(lock.is_taken());
        assert_eq!(lock.all().len(), 1);
    }
}
