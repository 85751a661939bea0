//! An iteration of a loop: the wait for what happens next, and the calls that are due.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::{
    handle::{Handle, TimerHandle},
    object::{Inner, Loop},
};
use crate::{error::raised, exiting, guest::Guest, once::interned};

impl Loop {
    /// Waits for what happens next, for no time if there is something to do.
    fn wait(slf: &Bound<'_, Loop>, is_busy: bool) -> PyResult<()> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        let guest = inner.guest(py)?;
        let until = if is_busy { None } else { inner.timers.next() };
        if !inner.watches.is_any() {
            let limit = match until {
                _ if is_busy || guest.get().is_due(py) => Duration::ZERO,
                Some(until) => until.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            return Guest::turn_for(&guest, limit);
        }
        let is_due = guest.get().is_due(py);
        let limit = match is_busy || is_due {
            true => Some(Duration::ZERO),
            false => {
                let until = until.into_iter().chain(guest.get().deadline(py)).min();
                until.map(|until| until.saturating_duration_since(Instant::now()))
            }
        };
        let is_own = inner.wait_for_descriptors(py, limit)?;
        let is_late = || guest.get().deadline(py).is_some_and(|at| at <= Instant::now());
        if is_own || is_due || is_late() {
            Guest::turn_for(&guest, Duration::ZERO)?;
        }
        Ok(())
    }

    /// Calls a callback of the queue.
    #[inline]
    fn call(slf: &Bound<'_, Loop>, handle: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if slf.get().is_debug(py) {
            return slf.call_method1(interned!(py, "_run_in_debug"), (handle,)).map(drop);
        }
        if let Ok(handle) = handle.cast_exact::<Handle>() {
            return Handle::run(handle);
        }
        if let Ok(timer) = handle.cast_exact::<TimerHandle>() {
            return Handle::run(timer.as_super());
        }
        if handle.getattr(interned!(py, "_cancelled"))?.is_truthy()? {
            return Ok(());
        }
        handle.call_method0(interned!(py, "_run")).map(drop)
    }
}

impl Inner {
    /// Waits for readers, writers, calls and the scheduler; returns whether that has something.
    fn wait_for_descriptors(&self, py: Python<'_>, limit: Option<Duration>) -> PyResult<bool> {
        let own = *self.own.get().expect("it was begun");
        {
            let (epoll, events) = (self.watches.epoll(), &mut *self.watches.events().borrow_mut());
            let waited = match limit == Some(Duration::ZERO) {
                true => epoll.wait(limit, events),
                false => exiting::detach(py, || epoll.wait(limit, events)),
            };
            waited.map_err(|error| raised(py, &error))?;
        }
        let mut woken = self.woken.take();
        let (is_own, cancelled) = {
            let ready = &mut *self.ready.borrow_mut();
            self.watches.take_in(py, own, |handle| ready.push_back(handle), &mut woken)
        };
        drop(cancelled);
        if !woken.is_empty() {
            self.guest(py)?.get().wake_all(py, &mut woken);
        }
        self.woken.set(woken);
        Ok(is_own)
    }
}

#[pymethods]
impl Loop {
    /// Makes an iteration: waits, if nothing is to do, and calls what is in the queue.
    fn _run_once(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        let is_busy = !inner.ready.borrow().is_empty()
            || inner.timers.has_overdue()
            || slf.getattr(interned!(py, "_stopping"))?.is_truthy()?;
        Loop::wait(slf, is_busy)?;
        let mut due = inner.due.take();
        inner.timers.fire(py, &mut due);
        inner.ready.borrow_mut().extend(due.drain(..));
        inner.due.set(due);
        // What they put into it is called in the next iteration.
        let count = inner.ready.borrow().len();
        for _ in 0..count {
            let handle = inner.ready.borrow_mut().pop_front();
            let Some(handle) = handle else { break };
            Loop::call(slf, handle.bind(py))?;
            drop(handle);
        }
        Ok(())
    }
}
