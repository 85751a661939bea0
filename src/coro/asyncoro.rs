//! `AsynCoro`: a handle to a scheduler for any thread, and the builder that makes schedulers.

use std::{
    fmt,
    future::{self, Future},
    io, mem,
    panic::Location,
    sync::{Mutex, PoisonError, mpsc},
    task::Poll,
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    batching::Batching,
    cell, current,
    engine::{Around, Engine, EngineSettings},
    handle::Coro,
    inbox::{self, Answer, Inbox, Post},
    key::Key,
    scheduler::Scheduler,
    statistics::Statistics,
};
use crate::{driver::BackendKind, log, primitives::Arc};

/// A handle to a scheduler, for any thread: starts coroutines in it, waits for them, ends them.
///
/// [`AsynCoro::start`] runs a scheduler on a thread of its own, for a program that is not
/// asynchronous otherwise. The thread ends when the last handle is dropped and all coroutines other
/// than daemons have ended, or with [`AsynCoro::terminate`].
///
/// ```
/// use asyncoro::AsynCoro;
///
/// # fn main() -> std::io::Result<()> {
/// let scheduler = AsynCoro::start()?;
/// let greeting = scheduler.spawn(|| async { "from the scheduler's thread" });
/// assert_eq!(greeting.value().unwrap(), "from the scheduler's thread");
/// scheduler.join();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AsynCoro {
    inbox: Arc<Inbox>,
    slot: u16,
    thread: Option<std::sync::Arc<Background>>,
}

/// A scheduler's own thread. After the drop the thread ends once its coroutines have.
struct Background {
    inbox: Arc<Inbox>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl AsynCoro {
    /// Starts a scheduler on a thread of its own.
    ///
    /// # Errors
    /// The system's, if there is no thread or descriptor left.
    pub fn start() -> io::Result<AsynCoro> {
        Builder::new().start()
    }

    /// Makes a builder, for a scheduler with other settings.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Returns a handle to the scheduler that runs on this thread.
    ///
    /// # Panics
    /// Outside a running scheduler.
    #[track_caller]
    pub fn current() -> AsynCoro {
        current::expect("AsynCoro::current", AsynCoro::of)
    }

    fn of(engine: &Engine) -> AsynCoro {
        AsynCoro { inbox: Arc::clone(&engine.inbox), slot: engine.run.local.slot, thread: None }
    }

    /// Starts a coroutine in the scheduler's thread; `make` is sent there and makes the future.
    ///
    /// The coroutine goes on if the handle is dropped; that of [`crate::on()`] does not.
    ///
    /// If the scheduler has ended, the handle returns
    /// [`Ended::Terminated`](super::Ended::Terminated).
    #[track_caller]
    pub fn spawn<M, F>(&self, make: M) -> Coro<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send,
    {
        let key = Key::of_scheduler(self.slot).pack();
        let (unstarted, joint) = cell::new_unstarted(make, key, Location::caller());
        if let Err(Post::Start(unstarted)) = self.inbox.send(Post::Start(unstarted)) {
            unstarted.refuse();
        }
        Coro::new(joint)
    }

    /// Waits, in a plain thread, until only daemons are left. The scheduler continues.
    ///
    /// # Panics
    /// On the scheduler's own thread, which would wait for itself.
    #[track_caller]
    pub fn join(&self) {
        self.ask("join", Post::TellIdle);
    }

    /// Ends all coroutines, including daemons, in the scheduler's thread; their clean-ups
    /// ([`on_end`](super::on_end)) go on. A scheduler with a thread
    /// of its own then stops, and this waits until the thread has ended.
    ///
    /// A scheduler that runs in a call of `run` has no thread of its own. There this ends the
    /// coroutines, but not `run`'s own future, which decides for itself when to return.
    ///
    /// # Panics
    /// On the scheduler's own thread.
    #[track_caller]
    pub fn terminate(&self) {
        let stop = self.thread.is_some();
        self.ask("terminate", |done| Post::EndAll { stop, done });
        // In a child of fork(2) there is no such thread.
        if let Some(thread) = &self.thread
            && !self.inbox.is_inherited()
        {
            // Held during the wait, so that a second caller waits for the same end.
            let mut handle = thread.handle.lock().unwrap_or_else(PoisonError::into_inner);
            if handle.take().is_some_and(|handle| handle.join().is_err()) {
                log::error(format_args!("the scheduler's thread has panicked"));
            }
        }
    }

    /// Returns the counts of the scheduler; all zero when it has ended.
    ///
    /// From another thread this waits until the scheduler's present turn ends.
    ///
    /// # Panics
    /// On the scheduler's own thread while it is not entered; use [`Scheduler::statistics`] there.
    pub fn statistics(&self) -> Statistics {
        let own = current::with(|engine| self.is(engine).then(|| engine.statistics())).flatten();
        if let Some(statistics) = own {
            return statistics;
        }
        self.ask("statistics", Post::Statistics).unwrap_or_default()
    }

    fn is(&self, engine: &Engine) -> bool {
        Arc::ptr_eq(&self.inbox, &engine.inbox)
    }

    /// Sends a question to the scheduler's thread and waits for the answer; `None` if the scheduler
    /// has ended, or ends before it answers.
    #[track_caller]
    fn ask<T>(&self, call: &str, question: impl FnOnce(Answer<T>) -> Post) -> Option<T> {
        assert!(
            !self.inbox.is_own(),
            "{call}() would block the scheduler it waits for: call it in another thread"
        );
        let (answer, wait) = inbox::answer();
        self.inbox.send(question(answer)).ok()?;
        wait.recv().ok()
    }
}

impl Scheduler {
    /// Returns a handle to this scheduler for other threads.
    pub fn handle(&self) -> AsynCoro {
        AsynCoro::of(&self.engine)
    }
}

impl fmt::Debug for AsynCoro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsynCoro").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.inbox.is_inherited() {
            // Only the parent has the thread; the child must not detach it.
            return mem::forget(mem::take(&mut self.handle));
        }
        let _ = self.inbox.send(Post::Stop);
    }
}

/// Settings for a scheduler; the default of each suits most programs.
///
/// ```
/// use std::time::Duration;
/// use asyncoro::AsynCoro;
///
/// # fn main() -> std::io::Result<()> {
/// let scheduler = AsynCoro::builder().spin(Duration::ZERO).build()?;
/// scheduler.run(async { /* ... */ });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    settings: EngineSettings,
}

impl Builder {
    /// Makes a builder with the defaults.
    #[allow(clippy::new_without_default, reason = "AsynCoro::builder() is the one way to say it")]
    fn new() -> Builder {
        Builder { name: "asyncoro".to_owned(), settings: EngineSettings::new() }
    }

    /// Names the thread that [`Builder::start`] makes (default `asyncoro`).
    #[must_use]
    pub fn name(mut self, name: &str) -> Builder {
        name.clone_into(&mut self.name);
        self
    }

    /// Uses the portable driver, on the `polling` crate, instead of the system's own, like the
    /// environment variable `ASYNCORO_DRIVER=poll`.
    #[must_use]
    pub fn portable_driver(mut self) -> Builder {
        self.settings.driver = BackendKind::Portable;
        self
    }

    /// Sets how long an idle scheduler polls before it sleeps, while answers arrive that fast
    /// (default 100 us; zero for never). Polling saves the cost of waking a sleeping processor. It
    /// is not done where it does not pay, and never on a machine with one processor.
    #[must_use]
    pub fn spin(mut self, time: Duration) -> Builder {
        self.settings.spin = time;
        self
    }

    /// Sets how the calls of several ready sockets are made (default [`Batching::Auto`]).
    ///
    /// ```
    /// use asyncoro::{AsynCoro, coro::Batching};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let scheduler = AsynCoro::builder().batching(Batching::Off).build()?;
    /// scheduler.run(async { /* each verb makes its own calls */ });
    /// assert_eq!(scheduler.statistics().batches, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn batching(mut self, how: Batching) -> Builder {
        self.settings.batching.how = how;
        self
    }

    /// Sets how many sockets must be ready for their calls to be made together (default 4, and at
    /// least 1).
    #[must_use]
    pub fn batch_from(mut self, ready: usize) -> Builder {
        self.settings.batching.from = ready.max(1);
        self
    }

    /// Sets how long the end of the scheduler waits until queued messages are sent (default 1 s).
    #[must_use]
    pub fn drain(mut self, time: Duration) -> Builder {
        self.settings.drain = time;
        self
    }

    /// Sets how long a dropped socket may continue to send what it has queued (default 5 s).
    #[must_use]
    pub fn linger(mut self, time: Duration) -> Builder {
        self.settings.linger = time;
        self
    }

    /// Makes [the log](crate::coro#the-log) warn of a coroutine that runs for longer than `bound`
    /// without waiting (no warning by default, or if zero).
    ///
    /// Such a coroutine, in a blocking call or a long computation, delays all others of its thread.
    /// The warning has its name or the place where it was spawned. With a bound, each resume reads
    /// the clock twice, about 50 ns; without one, this costs nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use asyncoro::AsynCoro;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let builder = AsynCoro::builder().slow_resume(Duration::from_millis(10));
    /// builder.build()?.run(async {
    ///     std::thread::sleep(Duration::from_millis(20)); // WARN: the future of run ran for 20.1ms
    /// });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn slow_resume(mut self, bound: Duration) -> Builder {
        self.settings.slow_resume = (!bound.is_zero()).then_some(bound);
        self
    }

    /// Notes which coroutine has spawned which, for [`Current::parent`](super::Current::parent) and
    /// [`Current::children`](super::Current::children) (off by default: it takes an entry of a map
    /// for each coroutine).
    #[must_use]
    pub fn keep_parents(mut self) -> Builder {
        self.settings.keeps_parents = true;
        self
    }

    /// Calls `before` when the scheduler's thread is about to wait for the kernel, and `after` as
    /// soon as it has waited. They are not called if something is ready already.
    ///
    /// This is for embedders that must release something during the wait, such as the lock of an
    /// interpreter. No coroutine of this scheduler runs then. Their panics are logged.
    ///
    /// ```
    /// use asyncoro::AsynCoro;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let builder = AsynCoro::builder().around_waits(|| println!("idle"), || println!("busy"));
    /// builder.build()?.run(asyncoro::time::sleep(std::time::Duration::from_millis(1)));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn around_waits(
        mut self,
        before: impl Fn() + Send + Sync + 'static,
        after: impl Fn() + Send + Sync + 'static,
    ) -> Builder {
        self.settings.around_waits = Some(Around::new(before, after));
        self
    }

    /// Calls `first` when a coroutine has queued the first bytes that the end of the turn will
    /// send, and `sent` when it has sent them. Bytes that continue in the next turn are announced
    /// by `first` again.
    ///
    /// This is for embedders whose coroutines may block the thread: if `sent` is late, something
    /// else, that the thread gives way to, calls [`Scheduler::flush_queued`]. Their panics are
    /// logged.
    ///
    /// ```
    /// use asyncoro::AsynCoro;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (first, sent) = (|| print!("queued"), || println!(", sent"));
    /// let scheduler = AsynCoro::builder().around_queueing(first, sent).build()?;
    /// scheduler.run(async { /* ... */ });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn around_queueing(
        mut self,
        first: impl Fn() + Send + Sync + 'static,
        sent: impl Fn() + Send + Sync + 'static,
    ) -> Builder {
        self.settings.around_queueing = Some(Around::new(first, sent));
        self
    }

    /// Makes a scheduler for this thread.
    ///
    /// # Errors
    /// The system's, if there is no descriptor left for its driver.
    pub fn build(self) -> io::Result<Scheduler> {
        Ok(Scheduler { engine: Engine::new(self.settings)? })
    }

    /// Starts a scheduler on a thread of its own.
    ///
    /// # Errors
    /// The system's, if there is no thread or descriptor left.
    pub fn start(self) -> io::Result<AsynCoro> {
        let (report, started) = mpsc::sync_channel(1);
        let name = self.name.clone();
        let handle = thread::Builder::new().name(name).spawn(move || {
            let scheduler = match self.build() {
                Ok(scheduler) => scheduler,
                Err(error) => return drop(report.send(Err(error))),
            };
            let _ = report.send(Ok(scheduler.handle()));
            drop(report);
            scheduler.run(stopped());
        })?;
        let ended = || io::Error::other("the scheduler's thread ended at once");
        let mut asyncoro = started.recv().map_err(|_| ended())??;
        let inbox = Arc::clone(&asyncoro.inbox);
        let background = Background { inbox, handle: Mutex::new(Some(handle)) };
        asyncoro.thread = Some(std::sync::Arc::new(background));
        Ok(asyncoro)
    }
}

/// Ends when the scheduler is told to stop.
fn stopped() -> impl Future<Output = ()> {
    future::poll_fn(|_| {
        let stopped = current::expect("stopped", |engine| engine.run.is_stopped());
        if stopped { Poll::Ready(()) } else { Poll::Pending }
    })
}

const _: () = {
    const fn crosses_threads<T: Send + Sync>() {}
    crosses_threads::<AsynCoro>();
};
