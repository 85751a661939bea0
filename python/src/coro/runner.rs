//! Runs a coroutine of Python's as a future of the crate's.
//!
//! It resumes generators one after the other, in the context of the coroutine. What one yields
//! says how to go on. `yield f()` of a generator, or of the object of an `async def`, calls that:
//! it goes on the stack, and the yield gives what it returns or raises what it raises. `yield call`
//! starts the call and waits for it. `yield` of any other object lets the other coroutines run, and
//! gives that object back.
//!
//! How it ends is in `runner/ending.rs`.

mod ending;

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context as PollContext, Poll},
};

use asyncoro::time::Sleep;
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyBaseException, PyGeneratorExit, PyTypeError},
    prelude::*,
};

use super::{
    context::Context,
    object::Coro,
    order::Order,
    step::{self, Step, is_async_def, is_callable_by_yield},
};
use crate::{
    call::{self, Frame, Given, Received, Waiting},
    gil,
    guest::{self, is_done},
    hooks, signal,
};

/// The most resumes of generators in one resume of the coroutine.
const IN_A_ROW: usize = 256;

/// Drives the generators of a coroutine as a future, in its context.
pub(crate) struct Runner {
    context: Context,
    run: Run,
}

struct Run {
    /// Whether a task of asyncio's runs it.
    in_task: bool,
    /// What that task raises when it has ended.
    raised: Option<Py<PyBaseException>>,
    coro: Py<Coro>,
    frame: Frame,
    /// The generator that runs; `None` when the coroutine has ended.
    top: Option<Py<PyAny>>,
    /// Those that wait for it, the outermost first.
    callers: Vec<Py<PyAny>>,
    next: Next,
    /// The clean-up of a coroutine that was terminated.
    clean_up: Option<Box<CleanUp>>,
}

/// What the coroutine waits for.
enum Next {
    /// To be started.
    Start,
    /// To be resumed with a value or an exception, at its turn.
    With(Given),
    /// As above, but before it obeys an order: what a call has given would be lost.
    Value(Given),
    /// For a call.
    Call(Waiting),
    /// For a future of asyncio's, for which its task waits.
    Foreign(Py<PyAny>),
    /// For its turn, after which it fetches the value of a call, or starts it.
    Turn(Waiting),
    /// For nothing: it runs, or has ended.
    Nothing,
}

/// The clean-up of a coroutine that was terminated.
struct CleanUp {
    /// The longest time for it.
    time: Pin<Box<Sleep>>,
    /// How many callers the generator has that got GeneratorExit last; they get it as well.
    callers: usize,
}

/// What comes of resuming a coroutine in a task of asyncio's.
pub(crate) enum Resumed {
    /// It goes on once its waker is woken.
    Pending,
    /// It goes on once this future of asyncio's is done.
    Foreign(Py<PyAny>),
    /// It has ended; the task raises this.
    Ended(Option<Py<PyBaseException>>),
}

impl Runner {
    /// Makes one of a generator that has not been started.
    pub(crate) fn new(
        py: Python<'_>,
        coro: Py<Coro>,
        generator: Py<PyAny>,
        context: Context,
    ) -> Runner {
        let run = Run {
            in_task: false,
            raised: None,
            frame: Frame::new(coro.clone_ref(py).into_any(), coro.get().key()),
            coro,
            top: Some(generator),
            callers: Vec::new(),
            next: Next::Start,
            clean_up: None,
        };
        Runner { context, run }
    }

    /// Lets a task of asyncio's run it.
    pub(crate) fn in_task(mut self) -> Runner {
        self.run.in_task = true;
        self
    }

    /// Resumes it in its task, whose context is as good as its own; with `thrown` by raising that
    /// where it waits.
    pub(crate) fn resume_in_task(
        &mut self,
        py: Python<'_>,
        cx: &mut PollContext<'_>,
        thrown: Option<Py<PyBaseException>>,
    ) -> Resumed {
        let run = &mut self.run;
        let task = guest::running_loop(py).and_then(|running| guest::current_task(py, &running));
        run.frame.set_task(task.as_ref());
        if let Some(error) = thrown {
            run.be_thrown(py, error);
        }
        match run.advance(py, cx) {
            Poll::Ready(()) => Resumed::Ended(run.raised.take()),
            Poll::Pending => match &run.next {
                Next::Foreign(future) => Resumed::Foreign(future.clone_ref(py)),
                _ => Resumed::Pending,
            },
        }
    }

    /// Returns whether a new generator may take over where it waits.
    pub(crate) fn may_swap(&self) -> bool {
        self.run.may_swap()
    }

    /// Shows the collector what it keeps: its generators, and what it waits for.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let run = &self.run;
        run.top.iter().chain(&run.callers).try_for_each(|generator| visit.call(generator))?;
        match &run.next {
            Next::Foreign(future) => visit.call(future),
            Next::With(Ok(value)) | Next::Value(Ok(value)) => visit.call(value),
            Next::With(Err(error)) | Next::Value(Err(error)) => visit.call(error),
            // A call is not collected.
            Next::Start | Next::Call(_) | Next::Turn(_) | Next::Nothing => Ok(()),
        }
    }

    /// Returns the future of asyncio's that it waits for.
    pub(crate) fn foreign(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &self.run.next {
            Next::Foreign(future) => Some(future.clone_ref(py)),
            _ => None,
        }
    }

    pub(crate) fn has_started(&self) -> bool {
        !matches!(self.run.next, Next::Start)
    }

    /// Returns its outermost generator.
    pub(crate) fn outermost(&self) -> Option<&Py<PyAny>> {
        self.run.callers.first().or(self.run.top.as_ref())
    }

    /// Forgets one that has not been started: nothing of it runs.
    pub(crate) fn forget(mut self) {
        self.run.top = None;
    }
}

impl Run {
    fn coro<'py>(&'py self, py: Python<'py>) -> &'py Coro {
        self.coro.bind(py).get()
    }

    fn advance(&mut self, py: Python<'_>, cx: &mut PollContext<'_>) -> Poll<()> {
        self.frame.begin_resume();
        if self.is_overdue(cx) {
            self.cut_off(py);
            return self.end(py, None);
        }
        // In a local, and in `self` only where it has to stay. Nothing of it may outlive the match
        // below: a call that was put off must be let go before `await` starts it.
        let mut next = self.take_next();
        for _ in 0..IN_A_ROW {
            if self.coro(py).has_orders(py) && !matches!(next, Next::Value(_)) {
                self.stay(next);
                if self.obey(py, cx).is_ready() {
                    return Poll::Ready(());
                }
                next = self.take_next();
            }
            let with = match next {
                Next::With(with) | Next::Value(with) => with,
                Next::Call(waiting) => match waiting.poll(py, cx) {
                    Some(given) => given,
                    None => {
                        self.stay(Next::Call(waiting));
                        return Poll::Pending;
                    }
                },
                Next::Turn(waiting) => {
                    drop(waiting);
                    Ok(py.None())
                }
                Next::Foreign(future) => match is_done(py, &future) {
                    true => Ok(py.None()),
                    // An order was withdrawn, or a swap has to wait.
                    false => {
                        self.stay(Next::Foreign(future));
                        return Poll::Pending;
                    }
                },
                Next::Start => {
                    self.coro(py).set_waker(py, cx.waker());
                    Ok(py.None())
                }
                Next::Nothing => unreachable!("what it waits for is set before it waits"),
            };
            let Some(top) = &self.top else { return Poll::Ready(()) };
            let yielded = match self.frame.enter(cx, || step::step(py, top, with)) {
                Step::Yielded(yielded) => yielded,
                ended => {
                    if self.after(py, ended).is_ready() {
                        return Poll::Ready(());
                    }
                    next = self.take_next();
                    continue;
                }
            };
            if self.frame.has_forked() {
                call::quietly(py, || drop(yielded));
                next = self.refuse_in_child(py);
                continue;
            }
            let call = if call::is_call(py, &yielded) {
                yielded
            } else if yielded.is_none(py) {
                next = Next::With(Ok(yielded));
                break;
            } else if is_callable_by_yield(&yielded) {
                self.callers.extend(self.top.replace(yielded));
                next = Next::With(Ok(py.None()));
                continue;
            } else if let Some(call) = signal::as_call(py, &yielded) {
                call
            } else if self.in_task && guest::is_asyncio_future(py, &yielded) {
                self.stay(Next::Foreign(yielded));
                return Poll::Pending;
            } else {
                next = Next::With(self.plain(py, yielded));
                break;
            };
            if self.coro(py).has_orders(py) && Waiting::is_new(&call) {
                let ended = self.obey(py, cx).is_ready();
                next = self.take_next();
                if ended || !matches!(next, Next::Nothing) {
                    Waiting::refuse(&call);
                    if ended {
                        return Poll::Ready(());
                    }
                    continue;
                }
            }
            match Waiting::receive(call, py, &self.frame, cx) {
                Received::Done(given) => next = Next::Value(given),
                Received::Later(waiting) => {
                    next = Next::Turn(waiting);
                    break;
                }
                Received::Waits(waiting) => {
                    self.stay(Next::Call(waiting));
                    return Poll::Pending;
                }
            }
        }
        self.stay(next);
        // Other coroutines run first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Stores what it waits for, where nothing is stored: nothing has to be dropped.
    fn stay(&mut self, next: Next) {
        debug_assert!(matches!(self.next, Next::Nothing), "it runs");
        mem::forget(mem::replace(&mut self.next, next));
    }

    fn take_next(&mut self) -> Next {
        mem::replace(&mut self.next, Next::Nothing)
    }

    /// Raises an exception where it waits, at its next step.
    fn be_thrown(&mut self, py: Python<'_>, error: Py<PyBaseException>) {
        if matches!(self.next, Next::Start) {
            // Nothing of it has run, and nothing will.
            self.unwind(py);
            let _ = self.end(py, Some(Err(error)));
            return;
        }
        // Before an order, which would be raised in its place: asyncio counts cancellations, and
        // whoever has cancelled waits for the effect.
        let waited = mem::replace(&mut self.next, Next::Value(Err(error)));
        drop(waited);
    }

    /// Goes on after the last step of a generator; ready if the coroutine has ended.
    fn after(&mut self, py: Python<'_>, ended: Step) -> Poll<()> {
        let given = match ended {
            Step::Returned(value) => Ok(value),
            Step::Failed(error) => match self.swap(py, error) {
                Some(error) => Err(error),
                None => return Poll::Pending,
            },
            Step::Yielded(_) => unreachable!("it has ended"),
        };
        self.leave(py, given)
    }

    /// Goes on with the caller of a generator that has ended; ready if there is none.
    fn leave(&mut self, py: Python<'_>, given: Given) -> Poll<()> {
        let depth = self.callers.len();
        self.top = self.callers.pop();
        if self.top.is_none() {
            return self.end(py, Some(given));
        }
        self.next = Next::Value(given);
        if let Some(clean_up) = &mut self.clean_up
            && clean_up.callers == depth
        {
            // The caller ends as well, whatever it has called.
            clean_up.callers = depth - 1;
            if matches!(self.next, Next::Value(Ok(_))) {
                self.next = Next::With(Err(generator_exit(py)));
            }
        }
        Poll::Pending
    }

    /// Makes the exception for a coroutine that has forked and goes on in the child, which may
    /// catch it once.
    #[cold]
    fn refuse_in_child(&self, py: Python<'_>) -> Next {
        let error = call::forked().into_value(py);
        if call::was_told_of_fork() {
            let error = error.bind(py).clone();
            hooks::leave_child(py, &self.coro(py).label(py), Some(error));
        }
        Next::With(Err(error))
    }

    /// Returns what a yield of any other object gives.
    fn plain(&self, py: Python<'_>, value: Py<PyAny>) -> Given {
        if !self.top.as_ref().is_some_and(is_async_def) {
            return Ok(value);
        }
        let kind = value.bind(py).get_type().name().map_or_else(|_| "it".into(), |n| n.to_string());
        let error = PyTypeError::new_err(format!(
            "a coroutine of asyncoro cannot await {kind}: for a concurrent.futures.Future use \
             `await asyncoro.wait_future(future)`; for one of asyncio run the program by \
             asyncio.run(), or by asyncoro.run(main(), asyncio=True); in the loop of another \
             thread await `asyncio.wrap_future(coro.future())`"
        ));
        Err(error.into_value(py))
    }

    fn may_swap(&self) -> bool {
        let started = !matches!(self.next, Next::Start);
        started && self.callers.is_empty() && self.clean_up.is_none()
    }

    /// Obeys an order of others; ready if the coroutine has ended by that.
    fn obey(&mut self, py: Python<'_>, cx: &mut PollContext<'_>) -> Poll<()> {
        let started = !matches!(self.next, Next::Start);
        match self.coro(py).take_order(py, self.may_swap()) {
            None => {}
            Some(Order::Terminate) if self.clean_up.is_some() => {}
            Some(Order::Terminate) if started => return self.begin_clean_up(py, cx),
            Some(Order::Terminate) => return self.terminate(py),
            Some(Order::Throw(error)) => {
                let error = error.into_value(py);
                if !started {
                    self.unwind(py);
                    return self.end(py, Some(Err(error)));
                }
                self.next = Next::With(Err(error));
            }
        }
        Poll::Pending
    }

    /// Lets a new generator take over if the old one agrees by `error`; else returns the error.
    fn swap(&mut self, py: Python<'_>, error: Py<PyBaseException>) -> Option<Py<PyBaseException>> {
        if !self.callers.is_empty() {
            return Some(error);
        }
        match self.coro(py).swapped_for(py, &error) {
            Some(generator) => {
                self.top = Some(generator);
                self.next = Next::Start;
                None
            }
            None => Some(error),
        }
    }
}

fn generator_exit(py: Python<'_>) -> Py<PyBaseException> {
    PyGeneratorExit::new_err(()).into_value(py)
}

impl Future for Runner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut PollContext<'_>) -> Poll<()> {
        let py = gil::py();
        self.context.enter(py);
        self.run.advance(py, cx)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if self.run.top.is_some() {
            // The scheduler ends, or has never had it.
            let py = gil::py();
            let Runner { context, run } = self;
            let terminate = || {
                if run.clean_up.is_some() {
                    run.cut_off(py);
                }
                let _ = run.terminate(py);
            };
            call::undisturbed(py, || context.within(terminate));
        }
    }
}
