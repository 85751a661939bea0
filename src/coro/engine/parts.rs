//! `Engine`: the parts of a scheduler put together, and what sockets and verbs ask for where no
//! source is called.

use std::{
    cell::{Cell, RefCell},
    mem,
    num::NonZeroU32,
    rc::{Rc, Weak},
    task::Waker,
};

use super::{io::Io, run::Run, settings::Settings, timers::Timers};
use crate::{
    coro::{
        inbox::{self, Inbox, Post},
        statistics::Statistics,
        waiter::Waiter,
    },
    driver::{Driver, Ready},
    fork,
    primitives::Arc,
};

/// Something with a descriptor that the scheduler watches and flushes; a socket implements it.
pub(crate) trait Source {
    /// Says what the driver has found ready.
    fn ready(self: Rc<Self>, ready: Ready, engine: &Engine);
    /// Says that the pause is over that it has asked for ([`Engine::retry_later`]): what the system
    /// had no memory for may go now.
    fn retry(self: Rc<Self>, engine: &Engine);
    /// Sends what is queued, as far as it goes, at the end of a turn.
    fn flush(self: Rc<Self>, engine: &Engine);
    /// Tells whether something is queued that could still be sent.
    fn has_unsent(&self) -> bool;
    /// Looks whether what was sent by a dropped socket has arrived, so that it can be closed.
    fn settle(&self) -> bool;
    /// Gives up what is queued, and closes; says what it was for the log.
    fn abandon(&self) -> String;
}

/// The state of a scheduler.
pub(crate) struct Engine {
    own: Weak<Engine>,
    pub(super) settings: Settings,
    pub(in crate::coro) inbox: Arc<Inbox>,
    pub(in crate::coro) run: Run,
    pub(in crate::coro) timers: Timers,
    pub(super) io: Io<dyn Source>,
    /// Whether somebody may be in one of the four lists of those who are looked after at the end of
    /// a turn: the overdue ones of `timers`, and those that linger, retry and settle, of `io`.
    /// Mostly nobody is.
    pub(super) chores: Cell<bool>,
    /// An emptied vector, kept for its memory.
    pub(super) spare_posts: RefCell<Vec<Post>>,
}

impl Engine {
    pub(in crate::coro) fn new(settings: Settings) -> std::io::Result<Rc<Engine>> {
        fork::watch();
        let driver = Driver::new(settings.driver, settings.spin)?;
        let inbox = Arc::new(Inbox::new(driver.bell()));
        let slot = inbox::register(&inbox).ok_or_else(|| {
            std::io::Error::other("65,535 schedulers are running in this process")
        })?;
        Ok(Rc::new_cyclic(|own| Engine {
            own: Weak::clone(own),
            inbox,
            run: Run::new(slot, settings.slow_resume),
            settings,
            timers: Timers::new(),
            io: Io::new(driver),
            chores: Cell::new(false),
            spare_posts: RefCell::default(),
        }))
    }

    /// Makes a reference that does not keep this engine.
    pub(crate) fn weak(&self) -> Weak<Engine> {
        Weak::clone(&self.own)
    }

    /// Tells whether this process is a child that inherited the scheduler by fork(2).
    pub(crate) fn is_inherited(&self) -> bool {
        self.run.is_inherited()
    }

    /// Lets go of a scheduler in the child of a fork. The memory stays, and with it the inbox,
    /// whose lock another thread may have held at the fork, and the driver, the end of which would
    /// take things out of the kernel's list that the parent still needs.
    pub(in crate::coro) fn leave_to_parent(own: &Rc<Engine>) {
        mem::forget(Rc::clone(own));
    }

    /// Spends one immediate completion of the coroutine that runs; `false` when it must let others
    /// go first.
    #[inline]
    pub(crate) fn spend(&self) -> bool {
        self.run.spend()
    }

    /// Charges what a verb has moved; with all bytes of the turn spent, the turn ends.
    #[inline]
    pub(crate) fn charge(&self, bytes: usize) {
        self.run.charge(bytes);
    }

    /// Has the coroutine that runs let others go first at its next verb.
    pub(crate) fn exhaust(&self) {
        self.run.exhaust();
    }

    /// Ends the turn with the coroutine that is resumed now: what it has done has taken long, and
    /// the driver and the timers are asked before anybody else is resumed.
    pub(crate) fn end_turn_now(&self) {
        self.run.end_turn_now();
    }

    /// Gives the number of this turn, as far as it fits: only whether it changes matters.
    pub(crate) fn turn(&self) -> NonZeroU32 {
        NonZeroU32::new(self.run.turns.get() as u32).unwrap_or(NonZeroU32::MAX)
    }

    /// Wakes `waker` at the end of this turn, before the driver is asked: for those whose time is
    /// over already, so that others have run, and what has come has been seen, when they go on.
    pub(crate) fn wake_after_turn(&self, waker: &Waker) {
        self.timers.add_overdue(waker);
        self.chores.set(true);
    }

    /// Counts for `statistics`.
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
            driver: self.io.driver.try_borrow().map_or("", |driver| driver.name()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        inbox::unregister(self.run.local.slot);
        for post in self.inbox.close() {
            if let Post::Start(unstarted) = post {
                unstarted.refuse();
            }
        }
    }
}

impl Waiter {
    /// Wakes whom the waiter is for, who most likely is a coroutine of `engine`.
    #[inline]
    pub(crate) fn wake_on(self, engine: &Engine) {
        if self.is_key() && engine.run.local.wake_own(self.word().addr()) {
            mem::forget(self);
        } else {
            self.wake();
        }
    }
}
