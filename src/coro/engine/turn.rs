//! The end of a turn, and the end of a scheduler: all work other than resumes.

use std::{io, os::fd::OwnedFd, time::Instant};

use super::parts::Engine;
use crate::{
    coro::{
        cell::body::publish_places,
        inbox::{Post, drop_caught},
    },
    driver::{Driver, FULL},
};

impl Engine {
    /// Completes a turn after its resumes; if no coroutine is ready, waits until `limit` at most.
    ///
    /// # Panics
    /// If the driver fails: its descriptor was closed by other code, or the kernel is out of
    /// memory. No coroutine could continue after that.
    pub(in crate::coro) fn end_turn(&self, limit: Option<Instant>) {
        self.run.refill_bytes();
        self.do_chores();
        self.timers.fire();
        self.read_inbox();
        // After the inbox, which brings the question: the driver may sleep for long.
        self.run.tell_idle();
        let is_idle = self.run.is_idle() && !self.has_unfinished();
        // Without a source the driver could only report a ring, and the inbox was read just now.
        if is_idle || self.io.registered() > 0 {
            self.ask_driver(limit, is_idle).expect("the driver can be asked");
        }
    }

    /// Makes a turn for a host: takes in what has come (if there is nothing to do, waits for it
    /// until `limit` at most, where it `may_wait`), then calls `resume`, and sends what that has
    /// queued. Returns whether more is to be done at once.
    ///
    /// The driver comes first here, since a host calls when there is something: what it reports is
    /// handled in the same call.
    pub(in crate::coro) fn turn_of_host(
        &self,
        limit: Option<Instant>,
        may_wait: bool,
        resume: impl FnOnce(),
    ) -> io::Result<bool> {
        self.run.refill_bytes();
        self.take_in();
        let waits = may_wait && self.run.is_idle() && !self.has_unfinished();
        let before = self.io.events.get();
        // Asked even if there is no source: the descriptor stays readable after a ring until then.
        self.ask_driver(limit, waits)?;
        let events = self.io.events.get().wrapping_sub(before);
        self.has_more_events.set(events >= FULL as u64);
        if waits {
            self.take_in();
        }
        resume();
        self.flush_dirty();
        self.run.tell_idle();
        Ok(self.has_work())
    }

    /// Takes in what needs no driver: chores, timers that are due, posts of other threads. Nothing
    /// stays queued, since the driver may wait for long.
    fn take_in(&self) {
        self.do_chores();
        self.timers.fire();
        self.read_inbox();
        self.run.tell_idle();
        self.flush_dirty();
    }

    /// Tells whether a turn would have something to do at once.
    pub(in crate::coro) fn has_work(&self) -> bool {
        !self.run.is_idle()
            || self.has_dirty()
            || self.timers.has_overdue()
            || self.inbox.has_mail()
            || self.has_more_events.get()
    }

    /// Returns when the host has to make a turn, or `None` if it may wait for an event, and notes
    /// that it was told.
    pub(in crate::coro) fn tell_host_deadline(&self) -> Option<Instant> {
        let deadline = if self.has_work() { Some(Driver::now()) } else { self.next_deadline() };
        self.host_waits_until.set(deadline);
        deadline
    }

    /// Makes the scheduler one that a host drives: until its first turn, it is between two.
    pub(in crate::coro) fn begin_hosting(&self) -> io::Result<OwnedFd> {
        let mut driver = self.io.driver.borrow_mut();
        driver.never_spin();
        let descriptor = driver.descriptor()?;
        drop(driver);
        let is_asleep = self.leave_to_host();
        if self.has_work() || !is_asleep {
            self.inbox.ring_asleep();
        }
        Ok(descriptor)
    }

    /// Ends that.
    pub(in crate::coro) fn end_hosting(&self) {
        self.take_from_host();
        self.inbox.set_host(None);
    }

    /// Begins a turn: nobody else has to be woken for what is to be done.
    pub(in crate::coro) fn take_from_host(&self) {
        self.is_between_turns.set(false);
        self.host_waits_until.set(None);
        self.inbox.wake_up();
    }

    /// Ends a turn: from now on, what is to be done wakes the host. Returns `false` if something
    /// was posted during the turn, for which nobody will be woken.
    pub(in crate::coro) fn leave_to_host(&self) -> bool {
        self.is_between_turns.set(true);
        self.run.refill();
        self.inbox.fall_asleep()
    }

    /// Begins a call that tells the host whether a turn is needed; returns whether it is within
    /// another one.
    pub(in crate::coro) fn begin_telling(&self) -> bool {
        self.is_host_told.replace(true)
    }

    /// Ends that. Returns whether a turn is needed, which a call `within` another one leaves to
    /// that.
    pub(in crate::coro) fn end_telling(&self, within: bool) -> bool {
        self.is_host_told.set(within);
        !within && (self.host_has_work.take() || self.has_work())
    }

    /// Does the rare work at the end of a turn, if there is any.
    #[inline]
    fn do_chores(&self) {
        if self.chores.get() {
            self.do_some_chores();
        }
    }

    #[cold]
    #[inline(never)]
    fn do_some_chores(&self) {
        self.timers.wake_overdue();
        self.retry_due();
        self.look_after_lingering();
        self.look_after_settling();
        self.chores.set(self.timers.has_overdue() || self.io.next_chore().is_some());
    }

    /// Reads the posts of other threads.
    pub(in crate::coro) fn read_inbox(&self) {
        if !self.inbox.has_mail() {
            return;
        }
        let mut posts = self.spare_posts.take();
        self.inbox.take(&mut posts);
        for post in posts.drain(..) {
            match post {
                Post::Wake(key) => self.run.local.table.borrow_mut().wake(key),
                Post::Start(unstarted) => self.run.take_in(unstarted.into_body()),
                Post::Drop(value) => drop_caught(value),
                Post::TellIdle(done) => self.run.when_idle(done),
                Post::EndAll { stop, done } => {
                    self.end_all();
                    if stop {
                        self.run.stop();
                    }
                    done.give(());
                }
                Post::Statistics(answer) => answer.give(self.statistics()),
                Post::Stop => self.run.stop(),
            }
        }
        publish_places();
        self.spare_posts.replace(posts);
    }

    /// Ends every coroutine. One spawned meanwhile ends at once.
    pub(in crate::coro) fn end_all(&self) {
        self.run.end_all();
    }

    /// Wakes whoever still waits for a source or a timer, at the end of the scheduler: a future in
    /// another executor, which would never be woken again.
    pub(in crate::coro) fn wake_left(&self) {
        let living: Vec<_> = self.io.sources.borrow().living().collect();
        for source in living {
            source.scheduler_ends();
        }
        self.timers.wake_all();
    }

    /// Sends all that is queued, until `until` at most. No coroutine is resumed meanwhile; one that
    /// becomes ready is resumed at the next entry.
    pub(in crate::coro) fn drain(&self, until: Instant) -> io::Result<()> {
        self.flush_dirty();
        while !self.has_drained(until) {
            self.timers.fire();
            self.read_inbox();
            self.run.tell_idle();
            self.ask_driver(Some(until), !self.has_unfinished())?;
            self.flush_dirty();
        }
        Ok(())
    }

    /// Returns the end of the time that the builder has set for that, from now on.
    pub(in crate::coro) fn drains_until(&self) -> Instant {
        Driver::after(self.settings.drain)
    }

    /// Tells whether all that was queued has been sent; after `until`, gives up the rest.
    pub(in crate::coro) fn has_drained(&self, until: Instant) -> bool {
        // First, since it may drop the last socket, and then nothing would end a wait.
        self.do_chores();
        let unsent = self.unsent();
        if unsent.is_empty() && !self.is_settling() {
            self.give_up_dropped();
            return true;
        }
        let is_late = Driver::now() >= until;
        if is_late {
            self.abandon_all(unsent);
            self.give_up_dropped();
        }
        is_late
    }
}
