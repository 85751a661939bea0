//! The end of a coroutine: its clean-up, after it was terminated, and what becomes of its result.
//!
//! A coroutine that is terminated gets GeneratorExit, the innermost generator first. What its
//! `finally` yields or awaits goes on, until the drain time is over.

use std::{
    future::Future,
    mem,
    task::{Context as PollContext, Poll, Waker},
};

use asyncoro::time;
use pyo3::{
    exceptions::{PyBaseException, PyException, PyGeneratorExit, PyRuntimeError},
    prelude::*,
};

use super::{CleanUp, Next, Run, generator_exit};
use crate::{
    call::{self, Given},
    coro::{
        end::{End, Failure},
        object::Coro,
        step::{self, close, inner},
    },
    engine,
    guest::is_cancelled,
    hooks,
};

impl Run {
    /// Raises GeneratorExit in the innermost generator; ready if there is no time for that.
    pub(super) fn begin_clean_up(&mut self, py: Python<'_>, cx: &mut PollContext<'_>) -> Poll<()> {
        let limit = engine::drain(py);
        if limit.is_zero() {
            return self.terminate(py);
        }
        // GeneratorExit closes the inner ones at once, and they could not wait: so each is resumed
        // by itself.
        while let Some(called) = self.top.as_ref().and_then(|top| inner(py, top)) {
            self.callers.extend(self.top.replace(called));
        }
        let mut time = Box::pin(time::sleep(limit));
        let _ = time.as_mut().poll(cx);
        self.clean_up = Some(Box::new(CleanUp { time, callers: self.callers.len() }));
        self.next = match mem::replace(&mut self.next, Next::Nothing) {
            // To throw it would close, and not resume, what is in between.
            Next::Call(waiting) | Next::Turn(waiting)
                if waiting.is_awaited() && self.waits_through(py) =>
            {
                waiting.fail(generator_exit(py));
                Next::With(Ok(py.None()))
            }
            _ => Next::With(Err(generator_exit(py))),
        };
        Poll::Pending
    }

    fn waits_through(&self, py: Python<'_>) -> bool {
        self.top.as_ref().is_some_and(|top| step::waits_through(py, top))
    }

    /// Returns whether the time for the clean-up is over.
    pub(super) fn is_overdue(&mut self, cx: &mut PollContext<'_>) -> bool {
        let clean_up = self.clean_up.as_mut();
        clean_up.is_some_and(|clean_up| clean_up.time.as_mut().poll(cx).is_ready())
    }

    /// Ends a clean-up that takes too long.
    pub(super) fn cut_off(&mut self, py: Python<'_>) {
        if let Some(top) = &self.top {
            hooks::cut_off(py, &self.coro(py).label(py), top);
        }
        self.unwind(py);
    }

    pub(super) fn terminate(&mut self, py: Python<'_>) -> Poll<()> {
        self.unwind(py);
        self.end(py, None)
    }

    /// Closes the generators, inner ones first. What their `finally` yields is not waited for.
    pub(super) fn unwind(&mut self, py: Python<'_>) {
        self.next = Next::Nothing;
        let cx = &mut PollContext::from_waker(Waker::noop());
        while let Some(top) = self.top.take() {
            let closing = || {
                let error = close(py, &top);
                drop(top);
                error
            };
            let error = self.frame.enter(cx, || call::quietly(py, closing));
            if let Some(error) = error {
                self.coro(py).report(py, &error);
            }
            self.top = self.callers.pop();
        }
    }

    /// Ends the coroutine with what it has given or raised; `None` if it was terminated.
    pub(super) fn end(&mut self, py: Python<'_>, given: Option<Given>) -> Poll<()> {
        self.top = None;
        self.next = Next::Nothing;
        if self.in_task
            && self.clean_up.is_none()
            && let Some(Err(error)) = &given
        {
            self.raised = passes_on(py, error).then(|| error.clone_ref(py));
            if self.raised.is_some() {
                // It is told of by whoever runs the loop.
                self.coro(py).observe(py);
            }
        }
        if !self.in_task
            && let Some(Err(error)) = &given
        {
            tell_of_loop(py, error);
        }
        let end = match (self.clean_up.take(), given) {
            (None, Some(Ok(value))) => End::Value(value),
            (None, Some(Err(error))) if self.in_task && is_cancelled(py, &error) => End::Terminated,
            (None, Some(Err(error))) => End::Failed(Failure::new(py, error)),
            (Some(_), Some(Err(error))) => {
                if !error.bind(py).is_instance_of::<PyGeneratorExit>() {
                    let error = PyErr::from_value(error.into_bound(py).into_any());
                    self.coro(py).report(py, &error);
                }
                End::Terminated
            }
            (_, None) | (Some(_), Some(Ok(_))) => End::Terminated,
        };
        if self.frame.has_forked() {
            hooks::leave_child(py, &self.coro(py).label(py), end.error(py));
        }
        Coro::end(&self.coro, py, end);
        Poll::Ready(())
    }
}

/// Returns whether a task raises what our coroutine has raised, as it does of others: it ends the
/// loop, or tells that the task was cancelled. Everything else is told by the coroutine.
fn passes_on(py: Python<'_>, error: &Py<PyBaseException>) -> bool {
    is_cancelled(py, error) || !error.bind(py).is_instance_of::<PyException>()
}

/// Lets asyncio's error that no loop runs say what to do.
fn tell_of_loop(py: Python<'_>, error: &Py<PyBaseException>) {
    let error = error.bind(py);
    if error.is_exact_instance_of::<PyRuntimeError>()
        && error.str().is_ok_and(|text| text == "no running event loop")
    {
        let text = "no running event loop: this coroutine runs on asyncoro's own scheduler, which \
                    has none; run the program by asyncoro.run(main(), asyncio=True), or by \
                    asyncio.run(), to use what needs one";
        let _ = error.setattr("args", (text,));
    }
}
