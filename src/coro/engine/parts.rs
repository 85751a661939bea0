//! `Engine`: the parts of a scheduler put together, and its calls for sockets and verbs that
//! involve no source.

use std::{
    cell::{Cell, RefCell},
    mem,
    num::NonZeroU32,
    rc::{Rc, Weak},
    task::Waker,
    time::Instant,
};

use rustix::io::Errno;

use super::{io::Io, run::Run, settings::EngineSettings, timers::Timers};
use crate::{
    coro::{
        inbox::{self, Inbox, Post, drop_caught},
        statistics::Statistics,
        waiter::Waiter,
    },
    driver::{Driver, Ready},
    fork,
    primitives::Arc,
    sys::Sys,
};

/// An object with a descriptor that the scheduler watches and flushes; sockets implement it.
pub(crate) trait Source {
    /// Calls `receive` with the descriptor and the most bytes that may come, if a verb waits to
    /// receive from a stream, so that they may be received ahead of it.
    fn receive_ahead(&self, receive: &mut dyn FnMut(&Sys, usize));
    /// Notes that its call, made through a ring, has brought nothing, or was not made (`None`).
    fn nothing_ahead(&self, result: Option<Result<usize, Errno>>);
    /// Holds what was received ahead and not taken.
    fn hold_ahead(&self);
    /// Calls `send` with the descriptor and the queue, if one call can send it, so that it may be
    /// sent together with those of other sources.
    fn send_together(&self, send: &mut dyn FnMut(&Sys, &[u8]));
    /// Notes the result of such a call, which was to send `asked` bytes. Runs no foreign code: the
    /// flush that follows does.
    fn sent_together(&self, asked: usize, result: Result<usize, Errno>);
    /// Handles what the driver has found ready.
    fn ready(self: Rc<Self>, ready: Ready, engine: &Engine);
    /// Wakes whoever waits for it, since the scheduler ends.
    fn scheduler_ends(&self);
    /// Continues after a pause ([`Engine::retry_later`]): the system may have memory again.
    fn retry(self: Rc<Self>, engine: &Engine);
    /// Sends the queue, as far as the system accepts it, at the end of a turn.
    fn flush(self: Rc<Self>, engine: &Engine);
    /// Tells whether something is queued that could still be sent.
    fn has_unsent(&self) -> bool;
    /// Tells whether all that a dropped socket has sent has arrived, so that it can be closed.
    fn settle(&self) -> bool;
    /// Drops the queue and closes; returns the text for the log.
    fn abandon(&self) -> String;
}

/// The state of a scheduler.
pub(crate) struct Engine {
    own: Weak<Engine>,
    pub(super) settings: EngineSettings,
    pub(in crate::coro) inbox: Arc<Inbox>,
    pub(in crate::coro) run: Run,
    pub(in crate::coro) timers: Timers,
    pub(super) io: Io<dyn Source>,
    /// Whether one of four lists for the end of a turn may have an entry: the overdue ones of
    /// `timers`, and those of `io` that linger, retry and settle. Usually all are empty.
    pub(super) chores: Cell<bool>,
    /// Of a scheduler that a host drives: that no turn is being made.
    pub(super) is_between_turns: Cell<bool>,
    /// Of such a scheduler: until when its host waits, as far as it was told.
    pub(super) host_waits_until: Cell<Option<Instant>>,
    /// Of such a scheduler: that its host makes a call which tells it whether a turn is needed, so
    /// that nobody else has to.
    pub(super) is_host_told: Cell<bool>,
    /// What it will be told.
    pub(super) host_has_work: Cell<bool>,
    /// Of such a scheduler: that the driver may have had more events than one call returns.
    pub(super) has_more_events: Cell<bool>,
    /// An emptied vector, kept to reuse its memory.
    pub(super) spare_posts: RefCell<Vec<Post>>,
}

impl Engine {
    pub(in crate::coro) fn new(settings: EngineSettings) -> std::io::Result<Rc<Engine>> {
        fork::watch();
        let driver = Driver::new(settings.driver, settings.spin)?;
        let inbox = Arc::new(Inbox::new(driver.bell()));
        let slot = inbox::register(&inbox).ok_or_else(|| {
            std::io::Error::other("65,535 schedulers are running in this process")
        })?;
        Ok(Rc::new_cyclic(|own| Engine {
            own: Weak::clone(own),
            inbox,
            run: Run::new(slot, &settings),
            io: Io::new(driver, settings.batching),
            settings,
            timers: Timers::new(),
            chores: Cell::new(false),
            is_between_turns: Cell::new(false),
            host_waits_until: Cell::new(None),
            is_host_told: Cell::new(false),
            host_has_work: Cell::new(false),
            has_more_events: Cell::new(false),
            spare_posts: RefCell::default(),
        }))
    }

    /// Returns a reference that does not keep this engine.
    pub(crate) fn weak(&self) -> Weak<Engine> {
        Weak::clone(&self.own)
    }

    /// Tells whether this process is a child that inherited the scheduler by fork(2).
    pub(crate) fn is_inherited(&self) -> bool {
        self.run.is_inherited()
    }

    /// Leaks a scheduler in the child of a fork. This leaves alone the inbox, whose lock another
    /// thread may have held at the fork, and the driver, whose drop would remove entries from the
    /// kernel's list that the parent still needs.
    pub(in crate::coro) fn leave_to_parent(own: &Rc<Engine>) {
        mem::forget(Rc::clone(own));
    }

    /// Uses up one immediate completion of the running coroutine; `false` when it must let others
    /// go first.
    #[inline]
    pub(crate) fn spend(&self) -> bool {
        self.run.spend() || self.spent()
    }

    /// Returns `false`. Between two turns no resume gives a new budget: all who use verbs there,
    /// such as the tasks of another executor, share one, and whoever finds it used up has stepped
    /// back.
    #[cold]
    fn spent(&self) -> bool {
        if self.is_between_turns.get() {
            self.run.refill();
        }
        false
    }

    /// Notes that there is something for a turn to do: if none is being made, wakes the host.
    #[inline]
    pub(crate) fn note_work(&self) {
        if self.is_between_turns.get() {
            self.wake_host();
        }
    }

    /// Notes that a timer was armed: if no turn is being made, and the host would wait for longer,
    /// wakes it.
    #[inline]
    pub(in crate::coro) fn note_armed(&self, deadline: Instant) {
        if self.is_between_turns.get() {
            self.wake_host_by(deadline);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_host_by(&self, deadline: Instant) {
        if self.host_waits_until.get().is_none_or(|until| deadline < until) {
            self.wake_host();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_host(&self) {
        if self.is_host_told.get() {
            return self.host_has_work.set(true);
        }
        if !self.inbox.has_mail() {
            self.inbox.ring();
        }
    }

    /// Notes that one of the lists for the end of a turn has an entry.
    pub(super) fn add_chore(&self) {
        self.chores.set(true);
        self.note_work();
    }

    /// Charges bytes that a verb has moved; the turn ends when its limit is used up.
    #[inline]
    pub(crate) fn charge(&self, bytes: usize) {
        self.run.charge(bytes);
    }

    /// Makes the running coroutine let others go first at its next verb.
    pub(crate) fn exhaust(&self) {
        self.run.exhaust();
    }

    /// Ends the turn after the present resume, which has taken long: the driver and the timers are
    /// asked before the next resume.
    pub(crate) fn end_turn_now(&self) {
        self.run.end_turn_now();
    }

    /// Returns the number of this turn, modulo 2^32: only a change matters.
    pub(crate) fn turn(&self) -> NonZeroU32 {
        NonZeroU32::new(self.run.turns.get() as u32).unwrap_or(NonZeroU32::MAX)
    }

    /// Wakes `waker`, whose time is over already, at the end of this turn, before the driver is
    /// asked. So other coroutines run first, and the waker's sees what has arrived.
    pub(crate) fn wake_after_turn(&self, waker: &Waker) {
        self.timers.add_overdue(waker);
        self.add_chore();
    }

    /// Returns the counts for `statistics`.
    pub(in crate::coro) fn statistics(&self) -> Statistics {
        let (coroutines, daemons) = self.run.alive();
        Statistics {
            coroutines,
            daemons,
            timers: self.timers.armed(),
            sockets: self.io.registered(),
            spawned: self.run.spawned.get(),
            resumes: self.run.resumes.get(),
            turns: self.run.turns.get(),
            sleeps: self.io.sleeps.get(),
            events: self.io.events.get(),
            flushes: self.io.flushes.get(),
            batches: self.io.batches.borrow().made,
            driver: self.io.driver.try_borrow().map_or("", |driver| driver.name()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        inbox::unregister(self.run.local.slot);
        for post in self.inbox.close() {
            match post {
                Post::Start(unstarted) => unstarted.refuse(),
                Post::Drop(value) => drop_caught(value),
                _ => {}
            }
        }
    }
}

impl Waiter {
    /// Wakes; most likely a coroutine of `engine`.
    #[inline]
    pub(crate) fn wake_on(self, engine: &Engine) {
        if self.is_key() && engine.run.local.wake_own(self.word().addr()) {
            mem::forget(self);
        } else {
            self.wake();
        }
    }
}
