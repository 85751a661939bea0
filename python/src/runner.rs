//! A coroutine of the crate's that drives one of Python's: a stack of generators.
//!
//! `yield generator` calls it: the generator goes on the stack, and the yield gives what it returns
//! or raises what it raises. `yield call` waits for the call. `yield` of any other object lets the
//! other coroutines run, and gives that object back.
//!
//! Unsafe: its pinning, on which the place of its calls relies.
#![allow(unsafe_code)]

use std::{
    future::Future,
    marker::PhantomPinned,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use pyo3::{
    exceptions::{PyBaseException, PyTypeError},
    prelude::*,
};

use crate::{
    call::{self, Frame, Given},
    coro::{Coro, End, Order},
    hooks, signal,
    step::{self, Step, close, is_async_def, is_callable_by_yield},
};

/// The most resumes of generators in one resume of the coroutine.
const IN_A_ROW: usize = 256;

/// Drives a stack of generators as a future.
pub(crate) struct Runner {
    frame: Frame,
    /// The generator that runs; `None` when the coroutine has ended.
    top: Option<Py<PyAny>>,
    /// Those that wait for it, the outermost first.
    callers: Vec<Py<PyAny>>,
    next: Next,
    _pinned: PhantomPinned,
}

/// What the coroutine waits for.
enum Next {
    /// To be started.
    Start,
    /// To be resumed with a value or an exception, at its turn.
    With(Given),
    /// For its call.
    Call,
}

impl Runner {
    /// Makes one of a generator that has not been started.
    pub(crate) fn new(coro: Py<Coro>, generator: Py<PyAny>) -> Runner {
        let frame = Frame::new(coro);
        Runner {
            frame,
            top: Some(generator),
            callers: Vec::new(),
            next: Next::Start,
            _pinned: PhantomPinned,
        }
    }

    fn coro<'py>(&'py self, py: Python<'py>) -> &'py Coro {
        self.frame.coro.bind(py).get()
    }

    fn advance(&mut self, py: Python<'_>, cx: &mut Context<'_>) -> Poll<()> {
        self.frame.begin_resume();
        for _ in 0..IN_A_ROW {
            if self.coro(py).has_orders(py) && self.obey(py).is_ready() {
                return Poll::Ready(());
            }
            let with = match mem::replace(&mut self.next, Next::Call) {
                Next::Start => {
                    self.coro(py).set_waker(py, cx.waker());
                    Ok(py.None())
                }
                Next::With(with) => with,
                Next::Call => match self.frame.take(cx) {
                    Some(given) => given,
                    None => return Poll::Pending,
                },
            };
            let Some(top) = &self.top else { return Poll::Ready(()) };
            match self.frame.enter(cx, || step::step(py, top, with)) {
                Step::Yielded(_) if self.frame.has_forked() => {
                    self.next = self.refuse_in_child(py);
                }
                Step::Yielded(value) => {
                    if call::is_marker(py, &value) {
                        if self.frame.is_greedy() {
                            break;
                        }
                        continue;
                    }
                    let value = signal::as_generator(py, value);
                    if is_callable_by_yield(&value) {
                        self.callers.extend(self.top.replace(value));
                        self.next = Next::With(Ok(py.None()));
                        continue;
                    }
                    self.next = Next::With(self.plain(py, value));
                    break;
                }
                Step::Returned(value) => {
                    self.top = self.callers.pop();
                    if self.top.is_none() {
                        return self.end(py, End::Value(value));
                    }
                    self.next = Next::With(Ok(value));
                }
                Step::Failed(error) => {
                    let error = match self.swap(py, error) {
                        Some(error) => error,
                        None => continue,
                    };
                    self.top = self.callers.pop();
                    if self.top.is_none() {
                        return self.end(py, End::Failed(error));
                    }
                    self.next = Next::With(Err(error));
                }
            }
        }
        // Other coroutines run first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Makes the exception for a coroutine that has forked and goes on in the child, which may
    /// catch it once.
    #[cold]
    fn refuse_in_child(&self, py: Python<'_>) -> Next {
        let error = call::forked().into_value(py);
        if call::was_told_of_fork() {
            let end = End::Failed(error.clone_ref(py));
            hooks::leave_child(py, &self.coro(py).label(py), &end);
        }
        Next::With(Err(error))
    }

    /// Returns what a yield of any other object gives.
    fn plain(&self, py: Python<'_>, value: Py<PyAny>) -> Given {
        if value.is_none(py) || !self.top.as_ref().is_some_and(is_async_def) {
            return Ok(value);
        }
        let kind = value.bind(py).get_type().name().map_or_else(|_| "it".into(), |n| n.to_string());
        let error = PyTypeError::new_err(format!(
            "a coroutine of asyncoro cannot await {kind}: for a concurrent.futures.Future use \
             `await asyncoro.wait_future(future)`; in asyncio's loop await \
             `asyncio.wrap_future(coro.future())`"
        ));
        Err(error.into_value(py))
    }

    /// Obeys an order of others; ready if the coroutine has ended by that.
    fn obey(&mut self, py: Python<'_>) -> Poll<()> {
        let started = !matches!(self.next, Next::Start);
        match self.coro(py).take_order(py, started && self.callers.is_empty()) {
            None => {}
            Some(Order::Terminate) => return self.terminate(py),
            Some(Order::Throw(error)) => {
                self.frame.clear();
                let error = error.into_value(py);
                if !started {
                    self.unwind(py);
                    return self.end(py, End::Failed(error));
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

    fn terminate(&mut self, py: Python<'_>) -> Poll<()> {
        self.frame.clear();
        self.unwind(py);
        self.end(py, End::Terminated)
    }

    /// Closes the generators, inner ones first.
    fn unwind(&mut self, py: Python<'_>) {
        let waker = std::task::Waker::noop();
        let cx = &mut Context::from_waker(waker);
        while let Some(top) = self.top.take() {
            if let Some(error) = self.frame.enter(cx, || close(py, &top)) {
                self.coro(py).report(py, &error);
            }
            // A call that its `finally` made cannot be waited for.
            self.frame.clear();
            self.top = self.callers.pop();
        }
    }

    fn end(&mut self, py: Python<'_>, end: End) -> Poll<()> {
        self.top = None;
        if self.frame.has_forked() {
            hooks::leave_child(py, &self.coro(py).label(py), &end);
        }
        if self.frame.clear() {
            let name = self.coro(py).label(py);
            hooks::warn(py, &format!("{name} has ended with a call that was never yielded"));
        }
        Coro::end(&self.frame.coro, py, end);
        Poll::Ready(())
    }
}

impl Future for Runner {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: nothing is moved out of it; the frame, which must stay where it is, is only
        // borrowed.
        unsafe { self.get_unchecked_mut() }.advance(call::py(), cx)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if self.top.is_some() {
            // The scheduler ends.
            let _ = self.terminate(call::py());
        }
    }
}
