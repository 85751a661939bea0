//! The end of a turn, and the end of a scheduler: all work other than resumes.

use std::{io, time::Instant};

use super::parts::Engine;
use crate::{
    coro::{
        cell::body::publish_places,
        inbox::{Post, drop_caught},
    },
    driver::Driver,
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

    /// Sends all that is queued, for at most the time that the builder has set. No coroutine is
    /// resumed meanwhile; one that becomes ready is resumed at the next entry.
    pub(in crate::coro) fn drain(&self) -> io::Result<()> {
        self.flush_dirty();
        let until = Driver::after(self.settings.drain);
        loop {
            // First, since it may drop the last socket, and then nothing would end the wait.
            self.do_chores();
            let unsent = self.unsent();
            if unsent.is_empty() && !self.is_settling() {
                break;
            }
            if Driver::now() >= until {
                self.abandon_all(unsent);
                break;
            }
            drop(unsent);
            self.timers.fire();
            self.read_inbox();
            self.run.tell_idle();
            self.ask_driver(Some(until), !self.has_unfinished())?;
            self.flush_dirty();
        }
        self.give_up_dropped();
        Ok(())
    }
}
