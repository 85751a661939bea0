//! `Entry`: a call of `run` that somebody else's loop drives, for schedulers that are guests.
//!
//! It is to [`Hosted`] what `Scheduler::run` is to a turn: it has `run`'s own future, waits for the
//! other coroutines, and drains; each in steps that never wait. `interop/guest.rs` makes the steps.

use std::{
    any::Any,
    future::Future,
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    current,
    hosted::Hosted,
    scheduler::{Main, Scheduler, Until},
};
use crate::driver::Driver;

/// What is next.
pub(crate) enum Step<T> {
    /// A step, as soon as others had their turn.
    Again,
    /// A step when the host is woken, the descriptor is readable, or this instant has come.
    Wait(Option<Instant>),
    /// Nothing: all coroutines have ended. The value, or the panic, of `run`'s own future.
    Ended(Result<T, Box<dyn Any + Send>>),
}

/// A call of `run` in steps.
pub(crate) struct Entry<F: Future> {
    future: Pin<Box<F>>,
    main: Main<F::Output>,
    /// Until when what is queued is sent, after all coroutines have ended.
    drains_until: Option<Instant>,
    /// Whom a post wakes.
    host: Option<Waker>,
    _attached: current::Attached,
    hosted: Hosted,
}

impl<F: Future> Entry<F> {
    /// Makes a scheduler, attaches it to this thread, and makes `future` its own. `may_go_on` tells
    /// after each resume whether the turn goes on.
    ///
    /// # Panics
    /// If a scheduler is running on this thread, or attached to it.
    #[track_caller]
    pub(crate) fn new(future: Pin<Box<F>>, may_go_on: fn() -> bool) -> io::Result<Entry<F>> {
        let hosted = Hosted::new(Scheduler::new()?)?;
        let engine = &hosted.scheduler.engine;
        let is_free = current::with(|_| ()).is_none();
        let attached = is_free.then(|| current::attach(engine)).flatten().expect(
            "a scheduler is running on this thread already: in its coroutines, and in the tasks of \
             its thread, `.await` the future or `asyncoro::spawn` it",
        );
        engine.run.ask_after_resumes(may_go_on);
        engine.run.begin_main();
        let main = Main::new(engine);
        Ok(Entry { future, main, drains_until: None, host: None, _attached: attached, hosted })
    }

    /// Returns a duplicate of the descriptor to watch.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.hosted.as_fd().try_clone_to_owned()
    }

    /// Sets whom to wake for what is posted between two steps; without one, the descriptor tells.
    pub(crate) fn wake_host_by(&mut self, waker: &Waker) {
        if !self.host.as_ref().is_some_and(|host| host.will_wake(waker)) {
            self.host = Some(waker.clone());
            self.hosted.scheduler.engine.inbox.set_host(Some(waker.clone()));
        }
    }

    /// Makes a step.
    pub(crate) fn step(&mut self) -> Step<F::Output> {
        if let Some(until) = self.drains_until {
            let run = &self.hosted.scheduler.engine.run;
            let more = self.hosted.turn_by(Duration::ZERO, || {
                // The clean-ups of those that have ended.
                while run.cleaning() > 0 && !run.is_idle() && run.resume_ready() {}
            });
            return self.drained(until, more);
        }
        let engine = &self.hosted.scheduler.engine;
        let (main, future) = (&mut self.main, &mut self.future);
        let more = self.hosted.turn_by(Duration::ZERO, || {
            main.resume_ready(engine, &mut future.as_mut(), Until::AllEnded);
            engine.run.look_at_main();
        });
        if main.may_return(engine, Until::AllEnded) {
            engine.run.refuse_in_child();
            let until = engine.drains_until();
            self.drains_until = Some(until);
            self.hosted.entered(|| engine.end_all());
            return self.drained(until, true);
        }
        if more {
            return Step::Again;
        }
        let deadline = engine.tell_host_deadline();
        Step::Wait(deadline.into_iter().chain(main.stragglers_at()).min())
    }

    /// Ends the coroutines, also those that were started meanwhile, and tells what is next while
    /// what is queued is being sent; `more` is what the turn has returned.
    fn drained(&mut self, until: Instant, more: bool) -> Step<F::Output> {
        let engine = &self.hosted.scheduler.engine;
        let is_over = self.hosted.entered(|| {
            if engine.run.cleaning() == 0 || Driver::now() >= until {
                engine.end_all();
                engine.run.end_clean_ups();
                engine.run.forget_main();
            }
            engine.flush_dirty();
            engine.run.cleaning() == 0 && engine.has_drained(until)
        });
        if is_over {
            let result = self.main.result.take();
            return Step::Ended(result.expect("run's own future has ended"));
        }
        if more {
            return Step::Again;
        }
        let deadline = engine.tell_host_deadline();
        Step::Wait(deadline.into_iter().chain([until]).min())
    }
}
