//! What a coroutine waits for by itself: to be resumed, and for messages.

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::Coro;
use crate::{
    call, hooks,
    waits::{Receiving, Suspended, limit},
};

/// What it waits for by its own calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Nothing,
    Resume,
    Message,
}

impl Coro {
    /// Gives a message that was there; it is kept if nobody can be given it.
    fn give(&self, py: Python<'_>, message: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let kept = message.clone_ref(py);
        call::done(py, "receive", Ok(message)).inspect_err(|_| {
            self.state(py).mail.borrow_mut().push_front(kept);
        })
    }
}

#[pymethods]
impl Coro {
    /// Waits `timeout` seconds (None: for ever) or until `resume`, whose value it gives; else
    /// `alarm_value`. Only a coroutine itself can.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    fn sleep(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let refused = |why: &str| {
            hooks::warn(py, &format!("{}: {why}", slf.get().label(py)));
            call::done(py, "sleep", Ok((-1i32).into_pyobject(py)?.into_any().unbind()))
        };
        if !slf.get().is_current(py) {
            hooks::warn(py, &format!("{}: sleep is for the coroutine itself", slf.get().label(py)));
            return Ok((-1i32).into_pyobject(py)?.into_any().unbind());
        }
        let Ok(timeout) = limit(timeout) else { return refused("sleep takes seconds") };
        let alarm = alarm_value.unwrap_or_else(|| py.None());
        call::start(py, "sleep", Suspended::new(slf.clone().unbind(), timeout, alarm))
    }

    /// As `sleep`.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    fn suspend(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Coro::sleep(slf, timeout, alarm_value)
    }

    /// Ends its sleep, whose value becomes `update`: 0. One that does not sleep is left alone: 0.
    /// One that has ended: -1.
    #[pyo3(signature = (update = None))]
    fn resume(&self, py: Python<'_>, update: Option<Py<PyAny>>) -> i32 {
        if self.has_ended(py) {
            return -1;
        }
        let state = self.state(py);
        if state.wait.get() == Wait::Resume && state.given.borrow().is_none() {
            state.given.replace(Some(update.unwrap_or_else(|| py.None())));
            self.wake(py);
        } else {
            hooks::warn(py, &format!("ignoring resume of {}: it does not sleep", self.label(py)));
        }
        0
    }

    /// As `resume`.
    #[pyo3(signature = (update = None))]
    fn wakeup(&self, py: Python<'_>, update: Option<Py<PyAny>>) -> i32 {
        self.resume(py, update)
    }

    /// Leaves a message for it: 0, or -1 if it has ended.
    pub(super) fn send(&self, py: Python<'_>, message: Py<PyAny>) -> i32 {
        if self.has_ended(py) {
            return -1;
        }
        let state = self.state(py);
        state.mail.borrow_mut().push_back(message);
        if state.wait.get() == Wait::Message {
            self.wake(py);
        }
        0
    }

    /// Leaves a message for it; to be yielded or awaited: 1, or -1 if it has ended.
    #[pyo3(signature = (message, timeout = None))]
    fn deliver(
        &self,
        py: Python<'_>,
        message: Py<PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        limit(timeout)?;
        let sent = self.send(py, message);
        let value = if sent == 0 { 1i32 } else { -1 };
        call::done(py, "deliver", Ok(value.into_pyobject(py)?.into_any().unbind()))
    }

    /// The earliest message; waits `timeout` seconds for one (None: for ever, 0: not at all), then
    /// gives `alarm_value`.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    fn receive(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let timeout = limit(timeout)?;
        if call::is_inside() && !slf.get().is_current(py) {
            return Err(PyRuntimeError::new_err("receive is for the coroutine itself"));
        }
        let message = slf.get().state(py).mail.borrow_mut().pop_front();
        if let Some(message) = message {
            return slf.get().give(py, message);
        }
        let alarm = alarm_value.unwrap_or_else(|| py.None());
        call::start(py, "receive", Receiving::new(slf.clone().unbind(), timeout, alarm))
    }

    /// As `receive`.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    fn recv(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Coro::receive(slf, timeout, alarm_value)
    }
}
