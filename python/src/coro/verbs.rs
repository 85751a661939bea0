//! Waits of a coroutine by itself: to be resumed, and for messages.

use std::collections::VecDeque;

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{Coro, within};
use crate::{
    call, hooks,
    waits::{Limited, limit},
};

/// What it waits for by its own calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Nothing,
    Resume,
    Message,
}

/// The messages that it was sent and has not received.
#[derive(Default)]
pub(super) struct Mail {
    pub(super) messages: VecDeque<Py<PyAny>>,
}

/// Makes a Python int of a status.
pub(super) fn code(py: Python<'_>, code: i32) -> PyResult<Py<PyAny>> {
    Ok(code.into_pyobject(py)?.into_any().unbind())
}

impl Coro {
    fn has_mail(&self, py: Python<'_>) -> bool {
        let cell = &self.state(py).mail;
        let mail = cell.take();
        let has_mail = mail.as_ref().is_some_and(|mail| !mail.messages.is_empty());
        cell.set(mail);
        has_mail
    }

    /// Takes the earliest message.
    fn take_message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let cell = &self.state(py).mail;
        let mut mail = cell.take()?;
        let message = mail.messages.pop_front();
        cell.set(Some(mail));
        message
    }

    /// Takes what it waits for and keeps, if that is there.
    pub(crate) fn take_kept(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match self.state(py).wait.get() {
            Wait::Nothing => None,
            Wait::Resume => self.state(py).given.take(),
            Wait::Message => self.take_message(py),
        }
    }

    /// Notes what it waits for, so that `send` and `resume` know whether to wake it.
    pub(crate) fn wait_for(&self, py: Python<'_>, what: Wait) {
        let state = self.state(py);
        state.wait.set(what);
        if what == Wait::Nothing {
            drop(state.given.take());
        }
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
        if !slf.get().is_current(py) {
            hooks::warn(py, &format!("{}: sleep is for the coroutine itself", slf.get().label(py)));
            return code(py, -1);
        }
        let Ok(timeout) = limit(timeout) else {
            hooks::warn(py, &format!("{}: sleep takes seconds", slf.get().label(py)));
            return call::done(py, "sleep", code(py, -1));
        };
        let Some(timeout) = timeout else { return call::wait(py, "sleep", Wait::Resume) };
        let alarm = alarm_value.unwrap_or_else(|| py.None());
        let own = slf.clone().unbind();
        call::start(py, "sleep", Limited::new(own, Wait::Resume, timeout, alarm))
    }

    /// Waits as `sleep` does.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    fn suspend(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Coro::sleep(slf, timeout, alarm_value)
    }

    /// Ends its sleep, which gives `update`: 0, also if it does not sleep; -1 if it has ended.
    #[pyo3(signature = (update = None))]
    fn resume(&self, py: Python<'_>, update: Option<Py<PyAny>>) -> i32 {
        if self.has_ended(py) {
            return -1;
        }
        let state = self.state(py);
        let given = state.given.take();
        if state.wait.get() == Wait::Resume && given.is_none() {
            state.given.set(Some(update.unwrap_or_else(|| py.None())));
            self.wake(py);
        } else {
            state.given.set(given);
            hooks::warn(py, &format!("ignoring resume of {}: it does not sleep", self.label(py)));
        }
        0
    }

    /// Ends its sleep as `resume` does.
    #[pyo3(signature = (update = None))]
    fn wakeup(&self, py: Python<'_>, update: Option<Py<PyAny>>) -> i32 {
        self.resume(py, update)
    }

    /// Sends it a message: 0, or -1 if it has ended.
    pub(super) fn send(&self, py: Python<'_>, message: Py<PyAny>) -> i32 {
        if self.has_ended(py) {
            return -1;
        }
        let state = self.state(py);
        within(&state.mail, |mail| mail.messages.push_back(message));
        if state.wait.get() == Wait::Message {
            self.wake(py);
        }
        0
    }

    /// Sends it a message; `yield` or `await` gives 1, or -1 if it has ended.
    #[pyo3(signature = (message, timeout = None))]
    fn deliver(
        &self,
        py: Python<'_>,
        message: Py<PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        limit(timeout)?;
        let sent = self.send(py, message);
        call::done(py, "deliver", code(py, if sent == 0 { 1 } else { -1 }))
    }

    /// Receives the earliest message; waits `timeout` seconds for one (None: for ever, 0: until
    /// the others have run), then gives `alarm_value`.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    pub(super) fn receive(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let timeout = limit(timeout)?;
        if !call::is_inside() {
            return call::outside("receive");
        }
        if !slf.get().is_current(py) {
            return Err(PyRuntimeError::new_err("receive is for the coroutine itself"));
        }
        // One that is there is taken when the call is fetched, which may not happen.
        let timeout = timeout.filter(|_| !slf.get().has_mail(py));
        let Some(timeout) = timeout else { return call::wait(py, "receive", Wait::Message) };
        let alarm = alarm_value.unwrap_or_else(|| py.None());
        let own = slf.clone().unbind();
        call::start(py, "receive", Limited::new(own, Wait::Message, timeout, alarm))
    }

    /// Waits as `receive` does.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    fn recv(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Coro::receive(slf, timeout, alarm_value)
    }
}
