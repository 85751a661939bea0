//! What the scheduler does for those with a descriptor: it watches them through the driver, flushes
//! what a turn has queued, and looks after what is left of dropped sockets.
//!
//! The rules of `engine.rs` hold here too: a source is told something with no cell borrowed, and
//! after it was taken out of the list it stood in.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::{Rc, Weak},
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    engine::{Engine, count},
    sources::Source,
    waker,
};
use crate::{
    driver::{Driver, Interest, Token},
    foreign, log,
};

/// Dropped sockets that still have something to send. A turn costs the same however many there are:
/// they are looked at when an event or a flush has been theirs, and the first when its time is up.
#[derive(Default)]
pub(super) struct Lingering {
    by_time: BTreeMap<(Instant, Address), Rc<dyn Source>>,
    until: HashMap<Address, Instant>,
}

/// Where a source lies in memory.
type Address = usize;

fn address(source: &Rc<dyn Source>) -> Address {
    Rc::as_ptr(source).cast::<()>().addr()
}

impl Lingering {
    fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    fn insert(&mut self, source: Rc<dyn Source>, until: Instant) {
        let address = address(&source);
        if let Some(before) = self.until.insert(address, until) {
            self.by_time.remove(&(before, address));
        }
        self.by_time.insert((until, address), source);
    }

    fn remove(&mut self, source: &Rc<dyn Source>) -> Option<Rc<dyn Source>> {
        let address = address(source);
        let until = self.until.remove(&address)?;
        self.by_time.remove(&(until, address))
    }

    /// When the first one's time is up.
    fn first(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((until, _), _)| *until)
    }

    /// Takes out one whose time is up.
    fn pop(&mut self, now: Instant) -> Option<Rc<dyn Source>> {
        let first = self.by_time.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, address), source) = first.remove_entry();
        self.until.remove(&address);
        Some(source)
    }
}

/// A source that goes on after a pause.
pub(super) struct Retry {
    source: Weak<dyn Source>,
    at: Instant,
}

/// How long a source waits where the system lacks memory, which no event tells the end of.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(20);

impl Engine {
    /// Registers a source with the driver; it then hears of what is ready now, and of each change.
    pub(crate) fn register(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        source: Weak<dyn Source>,
    ) -> io::Result<Token> {
        let token = self.sources.borrow_mut().insert(source);
        let added = self.driver.borrow().add(fd, interest, token);
        let added = match added {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.register_duplicate(fd, interest, token)
            }
            added => added,
        };
        match added {
            Ok(()) => Ok(token),
            Err(error) => {
                self.sources.borrow_mut().remove(token);
                Err(error)
            }
        }
    }

    /// Registers the source of a descriptor that another source has registered, two sockets that
    /// borrow it say: both hear of everything.
    #[cold]
    fn register_duplicate(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        let duplicate = fd.try_clone_to_owned()?;
        self.driver.borrow().add(duplicate.as_fd(), interest, token)?;
        self.duplicates.borrow_mut().insert(token.0, duplicate);
        Ok(())
    }

    fn take_duplicate(&self, token: Token) -> Option<OwnedFd> {
        let mut duplicates = self.duplicates.borrow_mut();
        if duplicates.is_empty() { None } else { duplicates.remove(&token.0) }
    }

    /// Changes a registered source's interest.
    pub(crate) fn reregister(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> io::Result<()> {
        let duplicates = self.duplicates.borrow();
        // Most often there are none, and nothing is looked up then.
        let fd = duplicates.get(&token.0).map_or(fd, AsFd::as_fd);
        self.driver.borrow().modify(fd, interest, token)
    }

    /// Forgets a source, before its descriptor is closed or given away.
    pub(crate) fn deregister(&self, fd: BorrowedFd<'_>, token: Token) {
        let duplicate = self.take_duplicate(token);
        let fd = duplicate.as_ref().map_or(fd, AsFd::as_fd);
        // A child of fork shares the kernel's list with its parent and must leave it alone.
        if !self.is_inherited() {
            self.driver.borrow().remove(fd);
        }
        self.sources.borrow_mut().remove(token);
    }

    /// Whether the driver tells a hang-up from data.
    pub(crate) fn tells_hangup(&self) -> bool {
        self.tells_hangup
    }

    /// Notes that something was sent, so that an answer may come soon.
    #[inline]
    pub(crate) fn note_sent(&self) {
        self.sent.set(true);
    }

    /// Has `source` flushed at the end of this turn.
    pub(crate) fn mark_dirty(&self, source: Rc<dyn Source>) {
        self.dirty.borrow_mut().push(source);
    }

    /// Keeps a dropped socket until what it has queued is sent, or its time is up.
    pub(crate) fn linger(&self, source: Rc<dyn Source>) {
        if source.has_unsent() {
            let until = Driver::after(self.settings.linger);
            self.lingering.borrow_mut().insert(source, until);
            self.chores.set(true);
        }
    }

    /// Has `source` called ([`Source::retry`]) after [`RETRY_PAUSE`].
    pub(crate) fn retry_later(&self, source: Weak<dyn Source>) {
        let at = Driver::after(RETRY_PAUSE);
        self.retries.borrow_mut().push_back(Retry { source, at });
        self.chores.set(true);
    }

    /// Calls the sources whose pause is over.
    pub(super) fn retry_due(&self) {
        if self.retries.borrow().is_empty() {
            return;
        }
        let now = Driver::now();
        loop {
            let is_due = self.retries.borrow().front().is_some_and(|retry| retry.at <= now);
            let due = if is_due { self.retries.borrow_mut().pop_front() } else { None };
            let Some(due) = due else { break };
            if let Some(source) = due.source.upgrade() {
                source.retry(self);
            }
        }
        // Now, since the driver may wait for long: what pauses again comes later than `now`.
        self.flush_dirty();
    }

    /// Wakes `waker` when a descriptor of ours is closed, for those who found no free one.
    pub(crate) fn starve(&self, waker: &Waker) {
        let waker = waker.clone();
        let mut starved = self.starved.borrow_mut();
        if !starved.iter().any(|other| other.will_wake(&waker)) {
            starved.push(waker);
        }
    }

    /// A descriptor of ours was closed.
    pub(crate) fn descriptor_closed(&self) {
        if !self.starved.borrow().is_empty() {
            self.starved.take().into_iter().for_each(waker::wake);
        }
    }

    /// Has `source`, which has had its share of this turn, flushed at the end of the next one.
    pub(crate) fn flush_next_turn(&self, source: Rc<dyn Source>) {
        self.unfinished.borrow_mut().push(source);
    }

    /// Whether sockets are to be flushed without an event that would tell so.
    pub(super) fn has_unfinished(&self) -> bool {
        !self.unfinished.borrow().is_empty()
    }

    /// Sends what the turn has queued: one call for each dirty socket.
    pub(super) fn flush_dirty(&self) {
        if !self.unfinished.borrow().is_empty() {
            let mut unfinished = self.unfinished.take();
            self.dirty.borrow_mut().append(&mut unfinished);
        }
        while !self.dirty.borrow().is_empty() {
            let mut dirty = self.dirty.take();
            count(&self.counters.flushes, dirty.len());
            self.note_sent();
            for source in dirty.drain(..) {
                if self.chores.get() {
                    Rc::clone(&source).flush(self);
                    self.look_after(&source);
                } else {
                    source.flush(self);
                }
            }
            let mut place = self.dirty.borrow_mut();
            if place.is_empty() {
                *place = dirty;
            }
        }
    }

    /// Lets go of a dropped socket that has sent everything; called after it was told something.
    #[cold]
    fn look_after(&self, source: &Rc<dyn Source>) {
        if !self.lingering.borrow().is_empty() && !source.has_unsent() {
            let done = self.lingering.borrow_mut().remove(source);
            drop(done);
        }
    }

    /// Lets go of dropped sockets whose time is up.
    pub(super) fn look_after_lingering(&self) {
        if self.lingering.borrow().is_empty() {
            return;
        }
        let now = Driver::now();
        loop {
            let Some(late) = self.lingering.borrow_mut().pop(now) else { break };
            abandon(&*late);
        }
    }

    /// Asks the driver: until something happens if it `may_wait` and there is no mail, else
    /// without waiting.
    pub(super) fn ask_driver(&self, limit: Option<Instant>, may_wait: bool) -> io::Result<()> {
        let mut driver = self.driver.borrow_mut();
        if may_wait && !self.inbox.has_mail() {
            count(&self.counters.sleeps, 1);
            let deadline = self.next_deadline();
            let asked = self.sent.replace(false);
            self.wait(&mut driver, deadline.into_iter().chain(limit).min(), asked)?;
        } else {
            driver.poll()?;
        }
        let events = driver.take_events();
        drop(driver);
        count(&self.counters.events, events.len());
        for event in &events {
            let source = self.sources.borrow().get(event.token);
            let Some(source) = source else { continue };
            if self.chores.get() {
                Rc::clone(&source).ready(event.ready, self);
                self.look_after(&source);
            } else {
                source.ready(event.ready, self);
            }
        }
        self.driver.borrow_mut().recycle(events);
        Ok(())
    }

    /// Lets the driver wait, and tells the embedder, if there is one.
    fn wait(&self, driver: &mut Driver, deadline: Option<Instant>, asked: bool) -> io::Result<()> {
        let Some(around) = &self.settings.around_waits else {
            return driver.idle(deadline, asked);
        };
        // They may be dear: nobody is called for what has an answer already.
        driver.poll()?;
        if driver.has_events() || self.inbox.has_mail() {
            return Ok(());
        }
        foreign::contain("the function before a wait", || (around.before)());
        let result = driver.idle(deadline, asked);
        foreign::contain("the function after a wait", || (around.after)());
        result
    }

    /// Sources that wait for a pause to be over and have something to send.
    fn unsent_after_pause(&self) -> Vec<Rc<dyn Source>> {
        let retries = self.retries.borrow();
        let living = retries.iter().filter_map(|retry| retry.source.upgrade());
        living.filter(|source| source.has_unsent()).collect()
    }

    /// When the next timer is due, or a socket is to be looked after.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let timer = self.timers.borrow().next();
        if self.chores.get() { timer.into_iter().chain(self.next_chore()).min() } else { timer }
    }

    /// When the next socket is to be looked after.
    #[cold]
    pub(super) fn next_chore(&self) -> Option<Instant> {
        let lingering = self.lingering.borrow().first();
        let retry = self.retries.borrow().front().map(|retry| retry.at);
        lingering.into_iter().chain(retry).chain(self.next_look()).min()
    }

    /// Sends what is queued anywhere, for at most the time that the builder has set. Nobody is
    /// resumed meanwhile: who becomes ready is so at the next entry.
    pub(super) fn drain(&self) -> io::Result<()> {
        self.flush_dirty();
        let until = Driver::after(self.settings.drain);
        loop {
            // First, since it may let go of the last one, and then nothing would end the wait.
            self.do_chores();
            let mut unsent = self.sources.borrow().unsent();
            unsent.extend(self.unsent_after_pause());
            unsent.extend(self.unfinished.borrow().iter().cloned());
            if unsent.is_empty() && self.next_look().is_none() {
                break;
            }
            if Driver::now() >= until {
                unsent.iter().for_each(|source| abandon(&**source));
                break;
            }
            drop(unsent);
            self.fire_timers();
            self.read_inbox();
            self.tell_idle();
            self.ask_driver(Some(until), !self.has_unfinished())?;
            self.flush_dirty();
        }
        let lingering = self.lingering.take();
        lingering.by_time.into_values().for_each(|source| abandon(&*source));
        self.give_up_settling();
        Ok(())
    }
}

fn abandon(source: &dyn Source) {
    if source.has_unsent() {
        let what = source.abandon();
        log::warn(format_args!("{what}"));
    }
}
