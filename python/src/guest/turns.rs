//! The turns of a guest, which it asks its loop for: soon, or at a deadline.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::{
    known,
    object::{Guest, Inner, closed},
    wakes::{Ends, Shared, is_done, set_result},
};
use crate::{engine, log, once::interned};

/// The time in which this thread looks at what was woken when it is over.
pub(super) struct Looking<'a> {
    shared: &'a Shared,
    is_outermost: bool,
}

impl Looking<'_> {
    pub(super) fn begin(shared: &Shared) -> Looking<'_> {
        let is_outermost = !shared.set_looks(true);
        Looking { shared, is_outermost }
    }

    /// Ends it; returns whether it is time to look.
    fn end(self) -> bool {
        self.is_outermost
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        if self.is_outermost {
            self.shared.set_looks(false);
        }
    }
}

impl Inner {
    /// Ends what was woken.
    pub(super) fn look(&self, py: Python<'_>) {
        let mut woken = self.spare.take();
        while self.shared.take(&mut woken) {
            for wake in woken.drain(..) {
                if !wake.is_woken() {
                    // Its task has gone on since, and waits anew.
                    continue;
                }
                let ends = self.waits.borrow_mut().replace(wake.place(), Ends::Nothing);
                let ended = match &ends {
                    Ends::Nothing => continue,
                    Ends::Future(future) => set_result(py, future),
                    Ends::Run(run) => run.call_method0(py, interned!(py, "_interrupt")).map(drop),
                };
                if let Err(error) = ended {
                    let is_cancelled = matches!(&ends, Ends::Future(future) if is_done(py, future));
                    if !is_cancelled {
                        error.write_unraisable(py, None);
                    }
                }
            }
        }
        self.spare.set(woken);
    }

    /// Asks the loop for a turn.
    fn call_soon(&self, py: Python<'_>) {
        if self.turn_is_due.replace(true) || self.is_driven.get() {
            return;
        }
        let turn = self.turn.borrow().as_ref().map(|turn| turn.clone_ref(py));
        let asked = match (turn, self.running(py)) {
            (Some(turn), Ok(running)) => {
                running.call_method1(interned!(py, "call_soon"), (turn,)).map(drop)
            }
            _ => Ok(()),
        };
        if let Err(error) = asked {
            self.turn_is_due.set(false);
            error.write_unraisable(py, None);
        }
    }

    /// Lets the loop call for a turn when `deadline` has come.
    fn call_at(&self, py: Python<'_>, ring: &Bound<'_, PyAny>, deadline: Instant) -> PyResult<()> {
        if self.deadline.borrow().as_ref().is_some_and(|(at, _)| *at <= deadline) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now()).as_secs_f64();
        let running = self.running(py)?;
        let handle = running.call_method1(interned!(py, "call_later"), (left, ring))?;
        let old = self.deadline.replace(Some((deadline, handle.unbind())));
        if let Some((_, old)) = old {
            old.call_method0(py, interned!(py, "cancel"))?;
        }
        Ok(())
    }
}

impl Guest {
    /// Calls `f` with the scheduler entered, and sees to what that leaves to do.
    pub(crate) fn enter<R>(&self, py: Python<'_>, f: impl FnOnce() -> R) -> PyResult<R> {
        let inner = self.inner(py);
        inner.refuse_in_child(py)?;
        let hosted = inner.hosted.borrow().clone().ok_or_else(closed)?;
        let looking = Looking::begin(&inner.shared);
        let (value, has_work) = engine::entered(|| hosted.within_told(f));
        if looking.end() {
            log::pass_on_left(py);
            inner.look(py);
            if has_work {
                inner.call_soon(py);
            }
        }
        Ok(value)
    }

    /// Calls `f` with the scheduler of this thread entered, if there is one: the verbs of its
    /// sockets are polled in it.
    #[inline]
    pub(crate) fn entered<R>(py: Python<'_>, f: impl FnOnce() -> R) -> R {
        if engine::is_entered() {
            return f();
        }
        let guest = known::last(py);
        let mut f = Some(f);
        let mut call = || f.take().expect("it is called once")();
        let entered = match guest {
            Some(guest) => guest.get().enter(py, &mut call).ok(),
            None => Guest::entered_as_garbage(py, &mut call),
        };
        entered.unwrap_or_else(call)
    }

    /// Calls `f` with the scheduler of this thread entered, if its guest is being collected: what
    /// else is garbage may end first, and still need it.
    #[cold]
    fn entered_as_garbage<R>(py: Python<'_>, f: impl FnOnce() -> R) -> Option<R> {
        let hosted = known::collected(py)?;
        Some(engine::entered(|| hosted.within(f)))
    }

    /// Calls `f` as in the thread of its loop, which does not run.
    pub(crate) fn visit<R>(&self, py: Python<'_>, f: impl FnOnce() -> R) -> PyResult<R> {
        let outer = engine::here();
        engine::stay(self.home(py));
        let result = self.enter(py, f);
        engine::stay(outer);
        result
    }
}

#[pymethods]
impl Guest {
    /// Makes a turn, for the loop.
    fn _turn(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, inner) = (slf.py(), slf.get().inner(slf.py()));
        inner.turn_is_due.set(false);
        let Some(hosted) = inner.hosted.borrow().clone() else { return Ok(()) };
        if inner.generation != known::generation(py) {
            return Ok(());
        }
        let looking = Looking::begin(&inner.shared);
        if !looking.is_outermost {
            // A loop runs inside of a step of the outer one's; that will make it.
            return Ok(());
        }
        Guest::stays(slf)?;
        let has_more = engine::entered(|| hosted.turn(Duration::ZERO));
        looking.end();
        inner.in_a_row.set(0);
        log::pass_on_left(py);
        inner.look(py);
        if has_more {
            inner.call_soon(py);
        } else if let Some(deadline) = hosted.next_deadline() {
            inner.call_at(py, &slf.getattr(interned!(py, "_ring"))?, deadline)?;
        }
        Ok(())
    }

    /// Makes a turn, since the deadline has come.
    fn _ring(slf: &Bound<'_, Self>) -> PyResult<()> {
        drop(slf.get().inner(slf.py()).deadline.take());
        Guest::_turn(slf)
    }
}
