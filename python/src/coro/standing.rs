//! A coroutine that stands for a task of asyncio's, so that the task has a mailbox, can sleep until
//! `resume`, and be told to end. asyncio runs the task, and tells of its end (`_guest.py`).

use pyo3::{exceptions::PyBaseException, prelude::*, types::PyString};

use super::{
    end::{End, Failure},
    object::Coro,
};
use crate::hooks;

impl Coro {
    /// Returns whether it stands for the task that runs in this thread.
    #[cold]
    pub(crate) fn is_current_task(slf: &Bound<'_, Coro>) -> bool {
        if !slf.get().state(slf.py()).stands.get() {
            return false;
        }
        let asked = hooks::hook(slf.py(), "is_current_task").and_then(|ask| ask.call1((slf,)));
        asked.and_then(|answer| answer.is_truthy()).unwrap_or(false)
    }
}

impl Coro {
    /// Returns whether it is the coroutine, or stands for the task, that runs in this thread.
    #[inline]
    pub(crate) fn runs_here(slf: &Bound<'_, Coro>) -> bool {
        slf.get().is_current() || Coro::is_current_task(slf)
    }
}

#[pymethods]
impl Coro {
    /// Lets one that has not begun stand for a task with that name.
    fn _stand(&self, py: Python<'_>, name: Py<PyString>) {
        let state = self.state(py);
        let old = state.name.replace(name);
        let none = state.end.replace(None);
        drop((old, none));
        state.stands.set(true);
        // asyncio tells of an exception that nobody has looked at.
        self.observe(py);
    }

    /// Ends one that stands for a task, with its value or exception, or since it was cancelled.
    /// Returns whether somebody waits for that.
    fn _task_ended(
        slf: &Bound<'_, Self>,
        value: Py<PyAny>,
        error: Option<Py<PyBaseException>>,
        cancelled: bool,
    ) -> bool {
        let py = slf.py();
        let end = match error {
            _ if cancelled => End::Terminated,
            Some(error) => End::Failed(Failure::new(py, error)),
            None => End::Value(value),
        };
        let is_watched = slf.get().watch(py, |watchers| !watchers.is_empty());
        Coro::end(slf.as_unbound(), py, end);
        is_watched
    }

    fn _is_daemon(&self, py: Python<'_>) -> bool {
        self.state(py).daemon.get()
    }
}
