//! A scheduler's timers: the wheel of the armed ones, and the waiters whose time is over already.
//!
//! A waker is cloned, woken and dropped while nothing is borrowed, since it may be foreign code.

use std::{cell::RefCell, mem, task::Waker, time::Instant};

use crate::{
    coro::waiter::Waiter,
    driver::Driver,
    wheel::{TimerKey, TimingWheel},
};

/// The timers of a scheduler.
pub(in crate::coro) struct Timers {
    wheel: RefCell<TimingWheel<Waiter>>,
    /// Waiters whose time was over already; they are woken at the end of this turn.
    overdue: RefCell<Vec<Waiter>>,
    /// An emptied vector, kept to reuse its memory.
    spare: RefCell<Vec<Waiter>>,
}

impl Timers {
    pub(super) fn new() -> Timers {
        Timers {
            wheel: RefCell::new(TimingWheel::new(Driver::now())),
            overdue: RefCell::default(),
            spare: RefCell::default(),
        }
    }

    /// Returns the number of armed timers.
    pub(super) fn armed(&self) -> usize {
        self.wheel.borrow().armed()
    }

    /// Returns when to look again: when the next timer is due, or earlier.
    pub(super) fn next(&self) -> Option<Instant> {
        self.wheel.borrow().next()
    }

    /// Arms a timer.
    pub(in crate::coro) fn arm(&self, deadline: Instant, waker: &Waker) -> TimerKey {
        let waiter = Waiter::of(waker);
        self.wheel.borrow_mut().arm(deadline, waiter)
    }

    pub(in crate::coro) fn disarm(&self, key: TimerKey) {
        let waiter = self.wheel.borrow_mut().disarm(key);
        drop(waiter);
    }

    pub(in crate::coro) fn is_armed(&self, key: TimerKey) -> bool {
        self.wheel.borrow().get(key).is_some()
    }

    /// Makes an armed timer wake `waker` from now on.
    pub(in crate::coro) fn set_waker(&self, key: TimerKey, waker: &Waker) {
        if self.wheel.borrow().get(key).is_none_or(|waiter| waiter.will_wake(waker)) {
            return;
        }
        let waiter = Waiter::of(waker);
        let old = match self.wheel.borrow_mut().get_mut(key) {
            Some(place) => mem::replace(place, waiter),
            None => waiter,
        };
        drop(old);
    }

    /// Wakes the waiters of the timers that are due.
    pub(super) fn fire(&self) {
        if self.armed() == 0 {
            return;
        }
        let mut due = self.spare.take();
        self.wheel.borrow_mut().fire(Driver::now(), &mut due);
        due.drain(..).for_each(Waiter::wake);
        self.spare.replace(due);
    }

    /// Wakes the waiters of all timers, for the end of the scheduler.
    pub(super) fn wake_all(&self) {
        let mut due = Vec::new();
        self.wheel.borrow_mut().fire_all(&mut due);
        due.into_iter().for_each(Waiter::wake);
        self.wake_overdue();
    }

    /// Makes the next [`Timers::wake_overdue`] wake `waker`.
    pub(super) fn add_overdue(&self, waker: &Waker) {
        let waiter = Waiter::of(waker);
        self.overdue.borrow_mut().push(waiter);
    }

    /// Wakes the waiters whose time was over already when they were added.
    pub(super) fn wake_overdue(&self) {
        self.overdue.take().into_iter().for_each(Waiter::wake);
    }

    pub(super) fn has_overdue(&self) -> bool {
        !self.overdue.borrow().is_empty()
    }
}
