//! The scheduler's loop: a turn, and the ways to run it.
//!
//! A turn makes up to 61 resumes of ready coroutines, first come, first served; flushes the sockets
//! with something to send; fires the timers that are due; reads the posts of other threads; and
//! asks the driver, without waiting if a coroutine is ready (and not at all if no event is
//! possible). With 61, a flood on one connection does not delay others for long, and the driver and
//! the clock cost hardly anything per resume.

use std::{
    any::Any,
    future::Future,
    io,
    panic::{self, AssertUnwindSafe},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    cell::LARGE,
    current,
    engine::{Engine, EngineSettings},
    statistics::Statistics,
};
use crate::{driver::Driver, log};

/// Resumes between two calls of the driver.
pub(super) const RESUMES: usize = 61;

/// How long `run` waits for remaining coroutines before it names them in the log.
const PATIENCE: Duration = Duration::from_secs(1);

/// A scheduler of this thread, for programs that enter it more than once.
///
/// [`run`] makes one, runs it and drops it, which suits most programs. A `Scheduler` can be entered
/// repeatedly: sockets and, with [`Scheduler::enter`], coroutines stay from one entry to the next.
/// Dropping it ends the coroutines that are left.
///
/// ```
/// use asyncoro::coro::Scheduler;
///
/// # fn main() -> std::io::Result<()> {
/// let scheduler = Scheduler::new()?;
/// let twice = scheduler.run(async { asyncoro::spawn(async { 21 }).await.unwrap() * 2 });
/// assert_eq!(twice, 42);
/// assert_eq!(scheduler.run(async { "again" }), "again");
/// # Ok(())
/// # }
/// ```
pub struct Scheduler {
    pub(super) engine: Rc<Engine>,
}

/// The condition that ends an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The future and all coroutines other than daemons have ended.
    AllEnded,
    /// The future has ended; then all others are ended.
    Ended,
    /// The future has ended; the others stay.
    Left,
}

impl Scheduler {
    /// Makes a scheduler with the default settings.
    ///
    /// # Errors
    /// The system's, if there is no descriptor left for its driver.
    pub fn new() -> io::Result<Scheduler> {
        Ok(Scheduler { engine: Engine::new(EngineSettings::new())? })
    }

    /// Runs `future` and returns its value once it and all coroutines other than daemons have
    /// ended.
    ///
    /// Daemons are ended then. Coroutines that take over a second longer than `future` are named in
    /// the log. Messages still queued are sent for at most a second (see
    /// [`Builder::drain`](super::Builder::drain)).
    ///
    /// # Panics
    /// If a scheduler is running on this thread already; with `future`'s own panic, after
    /// everything else has been ended; if the driver fails, which is not expected.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.drive_any(future, Until::AllEnded)
    }

    /// Runs `future`, returns its value when it has ended, and ends all other coroutines.
    ///
    /// # Panics
    /// As [`Scheduler::run`].
    pub fn run_until<F: Future>(&self, future: F) -> F::Output {
        self.drive_any(future, Until::Ended)
    }

    /// Runs `future`, returns its value when it has ended, and leaves the other coroutines as they
    /// are: they continue at the next entry.
    ///
    /// # Panics
    /// As [`Scheduler::run`].
    pub fn enter<F: Future>(&self, future: F) -> F::Output {
        self.drive_any(future, Until::Left)
    }

    /// Sends what is queued now, as far as the system accepts it, rather than at the end of the
    /// turn; returns whether that was all. During a wait, in a function of
    /// [`Builder::around_waits`](super::Builder::around_waits), it does nothing.
    ///
    /// A turn does that by itself. This is for embedders whose coroutines may block the thread
    /// ([`Builder::around_queueing`](super::Builder::around_queueing)).
    pub fn flush_queued(&self) -> bool {
        self.engine.flush_queued()
    }

    /// Returns the counts of the scheduler.
    pub fn statistics(&self) -> Statistics {
        self.engine.statistics()
    }

    /// Boxes a large future first, as [`spawn`](super::spawn) does.
    #[track_caller]
    #[inline]
    fn drive_any<F: Future>(&self, future: F, until: Until) -> F::Output {
        if size_of::<F>() > LARGE {
            self.drive(Box::pin(future), until)
        } else {
            self.drive(future, until)
        }
    }

    #[track_caller]
    fn drive<F: Future>(&self, future: F, until: Until) -> F::Output {
        let engine = &self.engine;
        assert!(
            current::with(|_| ()).is_none(),
            "a scheduler is running on this thread already: inside it, `.await` the future or \
             `asyncoro::spawn` it instead of calling run"
        );
        assert!(
            !engine.is_inherited(),
            "this scheduler belongs to the parent of a fork: make a new one in the child"
        );
        let _entered = current::enter(engine);
        match self.turns(pin!(future), until) {
            Ok(value) => value,
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    fn turns<F: Future>(
        &self,
        mut future: Pin<&mut F>,
        until: Until,
    ) -> Result<F::Output, Box<dyn Any + Send>> {
        let engine = &self.engine;
        let mut main = Main::new(engine);
        engine.run.begin_main();
        loop {
            engine.run.begin_turn(RESUMES);
            main.resume_ready(engine, &mut future, until);
            engine.run.look_at_main();
            engine.flush_dirty();
            if main.may_return(engine, until) {
                break;
            }
            engine.end_turn(main.stragglers_at());
        }
        if until != Until::Left || !matches!(main.result, Some(Ok(_))) {
            let until = engine.drains_until();
            engine.end_all();
            engine.run.refuse_in_child();
            self.clean_up(until);
            engine.drain(until).expect("the driver can be asked");
        }
        main.result.expect("the loop ends with a result")
    }
}

impl Scheduler {
    /// Runs the clean-ups of coroutines that have ended, until `until` at most; then ends all that
    /// is left, coroutines that they have spawned among it.
    fn clean_up(&self, until: Instant) {
        let engine = &self.engine;
        while engine.run.cleaning() > 0 && Driver::now() < until {
            engine.run.begin_turn(RESUMES);
            while !engine.run.is_idle() && engine.run.resume_ready() {}
            engine.flush_dirty();
            if engine.run.cleaning() > 0 {
                engine.end_turn(Some(until));
            }
        }
        engine.end_all();
        engine.run.end_clean_ups();
    }
}

/// The state of `run`'s own future, and of the wait for the remaining coroutines.
pub(super) struct Main<T> {
    waker: std::task::Waker,
    pub(super) result: Option<Result<T, Box<dyn Any + Send>>>,
    name_stragglers_at: Option<Instant>,
    named: bool,
}

impl<T> Main<T> {
    pub(super) fn new(engine: &Engine) -> Main<T> {
        Main {
            waker: engine.run.main_waker(),
            result: None,
            name_stragglers_at: None,
            named: false,
        }
    }

    pub(super) fn resume_ready<F>(
        &mut self,
        engine: &Engine,
        future: &mut Pin<&mut F>,
        until: Until,
    ) where
        F: Future<Output = T>,
    {
        while !engine.run.is_idle() && engine.run.resume_ready() {
            self.resume(engine, future.as_mut());
            match &self.result {
                Some(Ok(_)) if until == Until::AllEnded => {}
                Some(_) => break,
                None => {}
            }
            engine.run.refuse_in_child();
        }
    }

    fn resume<F: Future<Output = T>>(&mut self, engine: &Engine, future: Pin<&mut F>) {
        if self.result.is_some() {
            return;
        }
        engine.run.resume_main(|| {
            let cx = &mut Context::from_waker(&self.waker);
            match panic::catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(value)) => {
                    self.result = Some(Ok(value));
                    self.name_stragglers_at = Some(Driver::now() + PATIENCE);
                }
                Err(payload) => self.result = Some(Err(payload)),
            }
        });
        if self.result.is_some() {
            engine.run.end_main();
        }
    }

    pub(super) fn may_return(&mut self, engine: &Engine, until: Until) -> bool {
        match &self.result {
            None => false,
            Some(Err(_)) => true,
            Some(Ok(_)) if until == Until::AllEnded => {
                self.name_stragglers(engine);
                engine.run.holding() == 0
            }
            Some(Ok(_)) => true,
        }
    }

    pub(super) fn stragglers_at(&self) -> Option<Instant> {
        self.name_stragglers_at.filter(|_| !self.named)
    }

    fn name_stragglers(&mut self, engine: &Engine) {
        if self.stragglers_at().is_some_and(|at| Driver::now() >= at) && engine.run.holding() > 0 {
            self.named = true;
            let names = engine.run.stragglers();
            log::warn(format_args!(
                "run waits for {} coroutines that have not ended: {}",
                names.len(),
                names[..names.len().min(20)].join(", ")
            ));
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        if self.engine.is_inherited() {
            return Engine::leave_to_parent(&self.engine);
        }
        // Another scheduler may be running on this thread; it is current again afterwards.
        let _entered = current::enter(&self.engine);
        let until = self.engine.drains_until();
        self.engine.end_all();
        self.clean_up(until);
        // Drops what has come back from other threads while it is still in its scheduler.
        self.engine.read_inbox();
        // An error of the driver has no recipient here, and does no more harm.
        let _ = self.engine.drain(until);
        // Ends coroutines that other threads have started meanwhile.
        self.engine.end_all();
        self.engine.run.end_clean_ups();
        self.engine.wake_left();
        log::settle();
    }
}

/// Runs `future` and returns its value once it and all coroutines other than daemons have ended.
///
/// This is where a program enters asyncoro: the future takes the place of `main`.
///
/// ```
/// let sum = asyncoro::run(async {
///     let one = asyncoro::spawn(async { 1 });
///     let two = asyncoro::spawn(async { 2 });
///     one.await.unwrap() + two.await.unwrap()
/// });
/// assert_eq!(sum, 3);
/// ```
///
/// # Panics
/// As [`Scheduler::run`], and if no scheduler can be made because the process has no descriptor
/// left.
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    fresh().drive_any(future, Until::AllEnded)
}

/// Runs `future`, returns its value when it has ended, and ends all other coroutines.
///
/// ```
/// let value = asyncoro::run_until(async {
///     asyncoro::spawn(std::future::pending::<()>());
///     "not kept waiting"
/// });
/// assert_eq!(value, "not kept waiting");
/// ```
///
/// # Panics
/// As [`run`].
#[track_caller]
pub fn run_until<F: Future>(future: F) -> F::Output {
    fresh().drive_any(future, Until::Ended)
}

#[track_caller]
fn fresh() -> Scheduler {
    Scheduler::new().expect("a scheduler needs two descriptors")
}
