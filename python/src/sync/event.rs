//! `Event`: a flag that is waited for.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pyo3::prelude::*;

use super::{
    fork::Ours,
    line::Line,
    stand::{Kind, Stand, bool_of},
};
use crate::{
    call::{self, Outcome},
    gil::{self, Gil},
    hooks,
    timer::{Timer, limit},
};

/// A flag that coroutines wait for: `yield event.wait()`.
#[pyclass(frozen, weakref, module = "asyncoro")]
pub(crate) struct Event {
    core: Gil<Rc<Core>>,
}

#[derive(Default)]
struct Core {
    is_set: Cell<bool>,
    line: RefCell<Ours<Line>>,
}

struct Waiters;

impl Kind for Waiters {
    type Core = Core;
    type Left = ();

    fn line<R>(core: &Core, f: impl FnOnce(&mut Line) -> R) -> R {
        f(core.line.borrow_mut().get())
    }

    /// All were told, and nothing is lost.
    fn pass_on(_core: &Rc<Core>, _place: usize) {}
}

struct Waiting {
    stand: Stand<Waiters>,
    timer: Timer,
}

impl Future for Waiting {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let py = gil::py();
        if self.stand.is_told(cx, || ()) {
            return Poll::Ready(bool_of(py, true));
        }
        match self.timer.is_due(cx) {
            true => Poll::Ready(bool_of(py, false)),
            false => Poll::Pending,
        }
    }
}

#[pymethods]
impl Event {
    #[new]
    fn new() -> Event {
        Event { core: Gil::new(Rc::default()) }
    }

    /// Sets the flag, and wakes all who wait. Any thread may.
    fn set(&self, py: Python<'_>) {
        let core = self.core.get(py);
        core.is_set.set(true);
        while let Some((_, waker, ())) = Waiters::line(core, Line::tell_first) {
            waker.wake();
        }
    }

    /// Clears the flag; those who were woken by `set` before get True.
    fn clear(&self, py: Python<'_>) {
        self.core.get(py).is_set.set(false);
    }

    /// Returns whether the flag is set.
    fn is_set(&self, py: Python<'_>) -> bool {
        self.core.get(py).is_set.get()
    }

    /// As `is_set`.
    #[pyo3(name = "isSet")]
    fn is_set_too(&self, py: Python<'_>) -> bool {
        self.is_set(py)
    }

    /// Waits until the flag is set, `timeout` seconds at most (None: for ever): `yield` or `await`
    /// gives whether it was.
    #[pyo3(signature = (timeout = None))]
    pub(super) fn wait(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let timeout = limit(timeout)?;
        call::make(slf.py(), "Event.wait", Some(slf.as_any()), move |starting| {
            let py = gil::py();
            let core = starting.of::<Event>().get().core.get(py);
            if core.is_set.get() {
                return starting.done(bool_of(py, true));
            }
            starting.poll(Waiting { stand: Stand::new(core), timer: Timer::new(timeout) })
        })
    }

    /// Returns what it is doing: (is_set, waiting).
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let core = self.core.get(py);
        let waiting = Waiters::line(core, |line| line.waiting());
        let made = hooks::hook(py, "EventStatistics")?.call1((core.is_set.get(), waiting))?;
        Ok(made.unbind())
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let state = if self.is_set(py) { "set" } else { "not set" };
        let waiting = Waiters::line(self.core.get(py), |line| line.waiting());
        format!("<Event: {state}, {waiting} wait>")
    }
}
