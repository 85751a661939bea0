//! `Hosted`: a scheduler that somebody else's loop drives, a turn at a time.
//!
//! What must stay true: whatever there is to do between two turns is either told by
//! [`Hosted::next_deadline`], or makes the descriptor readable. The driver sees to events, the
//! doorbell, which is armed between turns, to posts and wakes, and `Engine::note_work` to all else
//! that is changed from outside of a turn. `engine/turn.rs` has the turn itself.

use std::{
    fmt,
    future::Future,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    panic::Location,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    asyncoro::AsynCoro,
    cell::LARGE,
    current,
    engine::Engine,
    handle::Coro,
    scheduler::{RESUMES, Scheduler},
    statistics::Statistics,
};
use crate::driver::Driver;

/// A scheduler that somebody else's loop drives: a GUI's, a game's, another event loop.
///
/// [`run`](super::run) keeps the thread until its future has ended. A host has a loop of its own
/// already. It watches the descriptor of a `Hosted`, together with its own, and makes a
/// [`turn`](Hosted::turn) when the descriptor is readable or
/// [`next_deadline`](Hosted::next_deadline) has come. `docs/host.md` in the repository has a
/// complete loop over poll(2).
///
/// ```
/// use std::time::Duration;
///
/// use asyncoro::{coro::{Hosted, Scheduler}, time::sleep};
///
/// # fn main() -> std::io::Result<()> {
/// let hosted = Hosted::new(Scheduler::new()?)?;
/// let answer = hosted.spawn(async {
///     sleep(Duration::from_millis(5)).await;
///     42
/// });
/// while !answer.is_finished() {
///     // The host's own work comes here; this one has none, and lets the turn wait.
///     hosted.turn(Duration::from_millis(100));
/// }
/// assert_eq!(answer.value().unwrap(), 42);
/// # Ok(())
/// # }
/// ```
///
/// # The descriptor
/// It is readable while an event of a socket waits for a turn, or if something has happened outside
/// of a turn: another thread has posted (woken or started a coroutine, sent into a mailbox), or
/// this one has, for example by [`Coro::terminate`], or by dropping a socket with bytes queued. A
/// turn that returns `false` has emptied it, so it may be watched level-triggered or
/// edge-triggered. There is no need to read from it.
///
/// # Dropping it
/// ends the coroutines, as the drop of a [`Scheduler`] does. Until then a host may stop making
/// turns for as long as it likes: nothing is lost, only late.
pub struct Hosted {
    pub(super) scheduler: Scheduler,
    descriptor: OwnedFd,
}

impl Hosted {
    /// Makes a scheduler one that a host drives. It never polls before it sleeps
    /// ([`Builder::spin`](super::Builder::spin)).
    ///
    /// # Errors
    /// The system's, if there is no descriptor left, and `Unsupported` on a system whose driver has
    /// none that another loop could watch.
    pub fn new(scheduler: Scheduler) -> io::Result<Hosted> {
        let descriptor = scheduler.engine.begin_hosting()?;
        Ok(Hosted { scheduler, descriptor })
    }

    /// Makes a turn: takes in what has come, resumes coroutines that are ready, 61 times at most,
    /// sends what they have queued, and returns whether there is more to do at once.
    ///
    /// If there is nothing to do, it waits for `max` at most; `Duration::MAX` is for as long as it
    /// takes. `Duration::ZERO` never waits; a loop that waits by itself uses that. After `true`, a
    /// fair host looks after its own work and calls again without waiting (`next_deadline` is now).
    ///
    /// # Panics
    /// If a scheduler is running on this thread: in a coroutine, or in [`Hosted::within`]. In the
    /// child of a fork, since the scheduler belongs to the parent. If the driver fails, which is
    /// not expected.
    #[track_caller]
    pub fn turn(&self, max: Duration) -> bool {
        let run = &self.scheduler.engine.run;
        self.turn_by(max, || {
            // The future of a `run` that has ended may still be woken; there is none now.
            while run.resume_ready() {}
        })
    }

    /// Makes a turn in which `resume` resumes.
    #[track_caller]
    pub(super) fn turn_by(&self, max: Duration, resume: impl FnOnce()) -> bool {
        let engine = &self.scheduler.engine;
        assert!(
            !current::is_entered(),
            "a scheduler is running on this thread already: a turn is made by the host's loop, not \
             in a coroutine, which would `.await`, nor in `Hosted::within`"
        );
        self.refuse_in_child();
        let may_wait = !max.is_zero();
        let limit = (may_wait && max != Duration::MAX).then(|| Driver::after(max));
        let turn = Turn::begin(engine);
        let more = {
            let _entered = current::enter(engine);
            engine.run.begin_turn(RESUMES);
            engine.turn_of_host(limit, may_wait, resume).expect("the driver can be asked")
        };
        turn.end() || more
    }

    /// Returns when a turn is needed, unless the descriptor is readable before: for a timer, or a
    /// socket that is looked at by the clock. `None` if nothing but the descriptor tells; now or
    /// earlier if there is something to do at once.
    ///
    /// If that becomes earlier outside of a turn, the descriptor is readable. So it suffices to ask
    /// after each turn, before waiting.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.scheduler.engine.is_inherited() {
            return None;
        }
        self.scheduler.engine.tell_host_deadline()
    }

    /// Starts a coroutine, which the next turn resumes.
    ///
    /// # Panics
    /// In the child of a fork.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Coro<F::Output> {
        self.refuse_in_child();
        let spawned = Location::caller();
        let run = &self.scheduler.engine.run;
        let joint = if size_of::<F>() > LARGE {
            run.spawn(Box::pin(future), spawned)
        } else {
            run.spawn(future, spawned)
        };
        self.scheduler.engine.note_work();
        Coro::new(joint)
    }

    /// Calls `f` with the scheduler running on this thread, so that `f` may call what needs one:
    /// [`spawn`](crate::spawn), or the poll of a verb, by an executor of the host's. But `f` is no
    /// coroutine: [`Local`](super::Local), [`on_end`](super::on_end) and
    /// [`current`](super::current) panic in it.
    ///
    /// # Panics
    /// With `f`'s panic, and in the child of a fork.
    #[track_caller]
    pub fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        self.refuse_in_child();
        let _beside = Beside::begin(&self.scheduler.engine);
        self.entered(f)
    }

    /// Calls `f` as [`within`](Hosted::within) does, and returns with its value whether the host
    /// has to make a turn now. The descriptor is not made readable for that, which would cost
    /// system calls: this is for a host that makes many short calls between two turns. Inside of
    /// another such call it is `false`, and that call tells.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use asyncoro::coro::{Hosted, Scheduler};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let hosted = Hosted::new(Scheduler::new()?)?;
    /// let (coroutine, has_work) = hosted.within_told(|| asyncoro::spawn(async { 42 }));
    /// assert!(has_work);
    /// hosted.turn(Duration::ZERO);
    /// assert_eq!(coroutine.value().unwrap(), 42);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// As [`within`](Hosted::within) does; then the descriptor is readable if a turn is needed.
    #[track_caller]
    pub fn within_told<R>(&self, f: impl FnOnce() -> R) -> (R, bool) {
        self.refuse_in_child();
        let engine = &self.scheduler.engine;
        let telling = Telling { engine, within: engine.begin_telling() };
        let value = {
            let _beside = Beside::begin(engine);
            let _entered = current::enter(engine);
            f()
        };
        (value, telling.end())
    }

    pub(super) fn entered<R>(&self, f: impl FnOnce() -> R) -> R {
        let engine = &self.scheduler.engine;
        // Wakes by `f` find their coroutine without the inbox, so nobody has told the host.
        let _told = Told(engine);
        let _entered = current::enter(engine);
        f()
    }

    /// Sends what is queued now, as [`Scheduler::flush_queued`] does; returns whether that was all.
    pub fn flush_queued(&self) -> bool {
        self.scheduler.flush_queued()
    }

    /// Returns a handle for other threads.
    pub fn handle(&self) -> AsynCoro {
        self.scheduler.handle()
    }

    /// Returns the counts of the scheduler.
    pub fn statistics(&self) -> Statistics {
        self.scheduler.statistics()
    }

    #[track_caller]
    fn refuse_in_child(&self) {
        assert!(
            !self.scheduler.engine.is_inherited(),
            "this scheduler belongs to the parent of a fork: make a new one in the child"
        );
    }
}

impl AsFd for Hosted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Hosted {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        // The drop of the scheduler, which follows, waits by itself.
        if !self.scheduler.engine.is_inherited() {
            self.scheduler.engine.end_hosting();
        }
    }
}

/// A guard: a turn is being made.
struct Turn<'a> {
    engine: &'a Engine,
}

impl<'a> Turn<'a> {
    fn begin(engine: &'a Rc<Engine>) -> Turn<'a> {
        engine.take_from_host();
        Turn { engine }
    }

    /// Ends the turn; returns whether something was posted in it.
    fn end(self) -> bool {
        let is_told = self.engine.leave_to_host();
        std::mem::forget(self);
        !is_told
    }
}

impl Drop for Turn<'_> {
    /// After a panic.
    fn drop(&mut self) {
        self.engine.leave_to_host();
    }
}

/// A guard: when it is dropped, the host is told if there is something to do.
struct Told<'a>(&'a Engine);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if self.0.has_work() {
            self.0.note_work();
        }
    }
}

/// A guard: what runs is none of the coroutines.
struct Beside<'a> {
    engine: &'a Engine,
    before: bool,
}

impl Beside<'_> {
    fn begin(engine: &Engine) -> Beside<'_> {
        Beside { engine, before: engine.run.set_beside(true) }
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        self.engine.run.set_beside(self.before);
    }
}

/// A guard: the host is being told whether a turn is needed.
struct Telling<'a> {
    engine: &'a Engine,
    within: bool,
}

impl Telling<'_> {
    fn end(self) -> bool {
        let has_work = self.engine.end_telling(self.within);
        std::mem::forget(self);
        has_work
    }
}

impl Drop for Telling<'_> {
    /// After a panic.
    fn drop(&mut self) {
        if self.engine.end_telling(self.within) {
            self.engine.note_work();
        }
    }
}
