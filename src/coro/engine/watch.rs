//! The scheduler's work for objects with a descriptor: it watches them through the driver, flushes
//! what a turn has queued, and finishes dropped sockets.
//!
//! A source is called with no cell borrowed, and after it was taken out of its list.

use std::{
    io,
    os::fd::BorrowedFd,
    rc::{Rc, Weak},
    task::Waker,
    time::Instant,
};

use super::{
    io::KernelsList,
    parts::{Engine, Source},
    run::count,
};
use crate::{
    driver::{Driver, Interest, Token},
    foreign, log,
};

/// The thread that flushes: an embedder with a lock of its own may use another one for that, which
/// has no part in the scheduler's ring.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thread {
    Own,
    PerhapsOther,
}

impl Engine {
    // ---- calls of sources

    /// Registers a source with the driver, which then reports present readiness and each change.
    pub(crate) fn register(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        source: Weak<dyn Source>,
    ) -> io::Result<Token> {
        self.io.register(fd, interest, source)
    }

    /// Changes a registered source's interest.
    pub(crate) fn reregister(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        self.io.reregister(fd, interest, token)
    }

    /// Removes a source, before its descriptor is closed or given away.
    pub(crate) fn deregister(&self, fd: BorrowedFd<'_>, token: Token) {
        let inherited = self.is_inherited();
        let list = if inherited { KernelsList::Parents } else { KernelsList::Own };
        self.io.deregister(fd, token, list);
    }

    /// Tells whether the driver distinguishes a hang-up from data.
    pub(crate) fn tells_hangup(&self) -> bool {
        self.io.tells_hangup
    }

    /// Notes that a verb has tried to send, so that an answer may come soon.
    #[inline]
    pub(crate) fn note_sent(&self) {
        self.io.tried_to_send.set(true);
    }

    /// Makes the end of this turn flush `source`.
    pub(crate) fn mark_dirty(&self, source: Rc<dyn Source>) {
        let is_first = {
            let mut dirty = self.io.dirty.borrow_mut();
            dirty.push(source);
            dirty.len() == 1
        };
        if is_first {
            if let Some(around) = &self.settings.around_queueing {
                foreign::contain("the function after queueing", || (around.before)());
            }
            self.note_work();
        }
    }

    /// Makes the end of the next turn flush `source`, which has used up its share of this one.
    pub(crate) fn flush_next_turn(&self, source: Rc<dyn Source>) {
        self.io.unfinished.borrow_mut().push(source);
    }

    /// Calls `source` ([`Source::retry`]) after [`RETRY_PAUSE`](crate::coro::RETRY_PAUSE).
    pub(crate) fn retry_later(&self, source: Weak<dyn Source>) {
        self.io.retry_later(source);
        self.add_chore();
    }

    /// Keeps a dropped socket until what it has queued was sent, or its time is over.
    pub(crate) fn linger(&self, source: Rc<dyn Source>) {
        if source.has_unsent() {
            let until = Driver::after(self.settings.linger);
            self.io.lingering.borrow_mut().insert(source, until);
            self.add_chore();
        }
    }

    /// Keeps a dropped socket until what it has sent has arrived, or its time is over.
    pub(crate) fn settle(&self, source: Rc<dyn Source>) {
        let until = Driver::after(self.settings.linger);
        self.io.settling.borrow_mut().insert(source, Driver::now(), until);
        self.add_chore();
    }

    /// Wakes `waker` when this process closes a descriptor, for a verb that found no free one.
    pub(crate) fn wake_on_close(&self, waker: &Waker) {
        self.io.wake_on_close(waker);
    }

    /// Wakes the verbs that wait for a descriptor, since one was closed.
    pub(crate) fn descriptor_closed(&self) {
        self.io.descriptor_closed();
    }

    // ---- flushing

    /// Tells whether sockets must be flushed without an event.
    pub(super) fn has_unfinished(&self) -> bool {
        !self.io.unfinished.borrow().is_empty()
    }

    /// Tells whether the end of this turn, or of the next one, has sockets to flush.
    pub(super) fn has_dirty(&self) -> bool {
        self.has_unfinished() || !self.io.dirty.borrow().is_empty()
    }

    /// Sends what the turn has queued: one call for each dirty socket.
    pub(in crate::coro) fn flush_dirty(&self) {
        self.flush_dirty_in(Thread::Own);
    }

    fn flush_dirty_in(&self, thread: Thread) {
        let io = &self.io;
        if !io.unfinished.borrow().is_empty() {
            let mut unfinished = io.unfinished.take();
            io.dirty.borrow_mut().append(&mut unfinished);
        }
        while !io.dirty.borrow().is_empty() {
            let mut dirty = io.dirty.take();
            count(&io.flushes, dirty.len());
            self.note_sent();
            let flushed = dirty.len();
            let is_batch = thread == Thread::Own && self.batches(flushed);
            let began = is_batch.then(|| self.begin_flush(&dirty));
            for source in dirty.drain(..) {
                if self.chores.get() {
                    Rc::clone(&source).flush(self);
                    self.look_after(&source);
                } else {
                    source.flush(self);
                }
            }
            if let Some((began, is_ring)) = began {
                io.batches.borrow_mut().sent(began, is_ring, flushed);
            }
            let is_last = {
                let mut place = io.dirty.borrow_mut();
                let is_last = place.is_empty();
                if is_last {
                    *place = dirty;
                }
                is_last
            };
            if is_last && let Some(around) = &self.settings.around_queueing {
                let call = if self.has_unfinished() { &around.before } else { &around.after };
                foreign::contain("the function after sending a queue", || call());
            }
        }
    }

    /// Sends, in the midst of a turn, what is queued, as far as the system accepts it; returns
    /// whether that was all. During a wait it does nothing.
    pub(in crate::coro) fn flush_queued(&self) -> bool {
        if self.is_inherited() || self.io.driver.try_borrow().is_err() {
            return false;
        }
        self.flush_dirty_in(Thread::PerhapsOther);
        // The driver, which would report room, is not asked in the midst of a turn.
        for source in self.unsent() {
            source.retry(self);
        }
        self.flush_dirty_in(Thread::PerhapsOther);
        self.unsent().is_empty()
    }

    /// Calls the sources whose pause is over.
    pub(super) fn retry_due(&self) {
        if self.io.retries.borrow().is_empty() {
            return;
        }
        let now = Driver::now();
        while let Some(due) = self.io.pop_retry(now) {
            if let Some(source) = due.source.upgrade() {
                source.retry(self);
            }
        }
        // Flushed now, since the driver may wait for long; a new pause ends later than `now`.
        self.flush_dirty();
    }

    // ---- events

    /// Asks the driver; waits until something happens if it `may_wait` and the inbox is empty.
    pub(super) fn ask_driver(&self, limit: Option<Instant>, may_wait: bool) -> io::Result<()> {
        let mut driver = self.io.driver.borrow_mut();
        if may_wait && !self.inbox.has_mail() {
            count(&self.io.sleeps, 1);
            self.io.batches.borrow_mut().trim();
            let deadline = self.next_deadline();
            let asked = self.io.tried_to_send.replace(false);
            self.wait(&mut driver, deadline.into_iter().chain(limit).min(), asked)?;
        } else {
            driver.poll()?;
        }
        let events = driver.take_events();
        drop(driver);
        count(&self.io.events, events.len());
        if self.batches(events.len()) {
            self.receive_ahead(&events);
        }
        for event in &events {
            let source = self.io.sources.borrow().get(event.token);
            let Some(source) = source else { continue };
            if self.chores.get() {
                Rc::clone(&source).ready(event.ready, self);
                self.look_after(&source);
            } else {
                source.ready(event.ready, self);
            }
        }
        self.io.driver.borrow_mut().recycle(events);
        Ok(())
    }

    /// Lets the driver wait, and calls the embedder's functions, if there are any.
    fn wait(&self, driver: &mut Driver, deadline: Option<Instant>, asked: bool) -> io::Result<()> {
        let Some(around) = &self.settings.around_waits else {
            return driver.idle(deadline, asked);
        };
        // They may be slow, so they are not called if there is an event already.
        driver.poll()?;
        if driver.has_events() || self.inbox.has_mail() {
            return Ok(());
        }
        foreign::contain("the function before a wait", || (around.before)());
        let result = driver.idle(deadline, asked);
        foreign::contain("the function after a wait", || (around.after)());
        result
    }

    /// Returns when the next timer is due or a socket needs attention.
    pub(in crate::coro) fn next_deadline(&self) -> Option<Instant> {
        let timer = self.timers.next();
        if self.chores.get() { timer.into_iter().chain(self.io.next_chore()).min() } else { timer }
    }

    // ---- dropped sockets

    /// Drops a dropped socket that has sent everything; called after each call of a source.
    #[cold]
    fn look_after(&self, source: &Rc<dyn Source>) {
        if !self.io.lingering.borrow().is_empty() && !source.has_unsent() {
            let done = self.io.lingering.borrow_mut().remove(source);
            drop(done);
        }
    }

    /// Abandons dropped sockets whose time is over.
    pub(super) fn look_after_lingering(&self) {
        if self.io.lingering.borrow().is_empty() {
            return;
        }
        let now = Driver::now();
        loop {
            let Some(late) = self.io.lingering.borrow_mut().pop(now) else { break };
            abandon_unsent(&*late);
        }
    }

    /// Tells whether dropped sockets wait for what they have sent to arrive.
    pub(super) fn is_settling(&self) -> bool {
        self.io.settling.borrow().next().is_some()
    }

    /// Checks the sockets that are due, and drops those that are done.
    pub(super) fn look_after_settling(&self) {
        if !self.is_settling() {
            return;
        }
        let now = Driver::now();
        let due = self.io.settling.borrow_mut().take_due(now);
        for one in due {
            if one.source.settle() {
                continue;
            }
            if one.is_late(now) {
                abandon(&*one.source);
                continue;
            }
            self.io.settling.borrow_mut().put_back(one, now);
        }
    }

    // ---- the end

    /// Returns all sources that still have something to send.
    pub(super) fn unsent(&self) -> Vec<Rc<dyn Source>> {
        let io = &self.io;
        let mut unsent: Vec<_> = io.sources.borrow().living().collect();
        unsent.extend(io.retries.borrow().iter().filter_map(|retry| retry.source.upgrade()));
        unsent.retain(|source| source.has_unsent());
        unsent.extend(io.unfinished.borrow().iter().cloned());
        unsent
    }

    /// Abandons what they have queued.
    pub(super) fn abandon_all(&self, unsent: Vec<Rc<dyn Source>>) {
        unsent.iter().for_each(|source| abandon_unsent(&**source));
    }

    /// Abandons what is left of dropped sockets.
    pub(super) fn give_up_dropped(&self) {
        let lingering = self.io.lingering.borrow_mut().take();
        lingering.for_each(|source| abandon_unsent(&*source));
        let settling: Vec<_> = self.io.settling.borrow_mut().take().collect();
        settling.iter().filter(|source| !source.settle()).for_each(|source| abandon(&**source));
    }
}

fn abandon_unsent(source: &dyn Source) {
    if source.has_unsent() {
        abandon(source);
    }
}

fn abandon(source: &dyn Source) {
    let what = source.abandon();
    log::warn(format_args!("{what}"));
}
