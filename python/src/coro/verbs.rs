//! Waits of a coroutine by itself: to be resumed, and for messages (`mailbox.rs`).

use std::{
    task::{Context, Waker},
    time::Duration,
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{Coro, State};
use crate::{
    call::{self, Keeps},
    hooks,
    waits::{Limited, limit},
};

/// What a coroutine keeps, and calls of its own wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Resume,
    Message,
}

/// Makes a Python int of a status.
pub(crate) fn code(py: Python<'_>, code: i32) -> PyResult<Py<PyAny>> {
    Ok(code.into_pyobject(py)?.into_any().unbind())
}

impl Coro {
    /// Takes what calls wait for, if that is there.
    pub(crate) fn take_kept(&self, py: Python<'_>, what: Wait) -> Option<Py<PyAny>> {
        match what {
            Wait::Resume => self.state(py).given.take(),
            Wait::Message => self.take_message(py),
        }
    }

    /// Notes that a call waits, so that `send` and `resume` know whether to wake anybody.
    pub(crate) fn begin_waiting(&self, py: Python<'_>, what: Wait) {
        let waits = self.state(py).waits_for(what);
        waits.set(waits.get() + 1);
    }

    /// Lets `waker` be woken, if that is another coroutine's.
    pub(crate) fn wait_with(&self, py: Python<'_>, waker: &Waker) {
        let state = self.state(py);
        let own = state.waker.take();
        let is_own = own.as_ref().is_some_and(|own| own.will_wake(waker));
        state.waker.set(own);
        if !is_own {
            state.has_others.set(true);
            self.rarely(py, |rare| {
                if !rare.others.iter().any(|other| other.will_wake(waker)) {
                    rare.others.push(waker.clone());
                }
            });
        }
    }

    pub(crate) fn stop_waiting(&self, py: Python<'_>, what: Wait) {
        let waits = self.state(py).waits_for(what);
        waits.set(waits.get() - 1);
        if what == Wait::Resume && waits.get() == 0 {
            drop(self.state(py).given.take());
        }
    }

    /// Wakes those who wait for what is there now.
    pub(super) fn wake_waiting(&self, py: Python<'_>) {
        self.wake(py);
        if self.state(py).has_others.replace(false) {
            let others = self.rarely(py, |rare| std::mem::take(&mut rare.others));
            others.into_iter().for_each(Waker::wake);
        }
    }

    /// Makes a call that waits for what the coroutine keeps.
    fn wait(
        slf: &Bound<'_, Self>,
        name: &'static str,
        what: Wait,
        timeout: Option<Duration>,
        alarm: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        call::make(slf.py(), name, Some(slf.as_any()), move |starting| {
            let (py, own) = (call::py(), starting.of::<Coro>());
            match (timeout, what) {
                (Some(limit), _) => {
                    starting.poll(Limited::new(own.clone_ref(py), what, limit, alarm))
                }
                (None, Wait::Resume) => starting.wait::<Kept<false>>(),
                (None, Wait::Message) => starting.wait::<Kept<true>>(),
            }
        })
    }
}

/// A wait for what the coroutine keeps: `Wait::Message` if `MESSAGE`.
struct Kept<const MESSAGE: bool>;

impl<const MESSAGE: bool> Kept<MESSAGE> {
    const WHAT: Wait = if MESSAGE { Wait::Message } else { Wait::Resume };
}

impl<const MESSAGE: bool> Keeps for Kept<MESSAGE> {
    type Object = Coro;

    fn take(coro: &Py<Coro>, cx: &mut Context<'_>) -> Option<Py<PyAny>> {
        let (py, coro) = (call::py(), coro.get());
        let kept = coro.take_kept(py, Self::WHAT);
        if kept.is_none() {
            coro.wait_with(py, cx.waker());
        }
        kept
    }

    fn begin(coro: &Py<Coro>) {
        coro.get().begin_waiting(call::py(), Self::WHAT);
    }

    fn stop(coro: &Py<Coro>) {
        coro.get().stop_waiting(call::py(), Self::WHAT);
    }
}

impl State {
    pub(super) fn waits_for(&self, what: Wait) -> &std::cell::Cell<u32> {
        &self.waits[what as usize]
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
        if !slf.get().is_current() {
            hooks::warn(py, &format!("{}: sleep is for the coroutine itself", slf.get().label(py)));
            return code(py, -1);
        }
        let Ok(timeout) = limit(timeout) else {
            hooks::warn(py, &format!("{}: sleep takes seconds", slf.get().label(py)));
            return code(py, -1);
        };
        Coro::wait(slf, "Coro.sleep", Wait::Resume, timeout, alarm_value)
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
        if state.waits_for(Wait::Resume).get() > 0 && given.is_none() {
            state.given.set(Some(update.unwrap_or_else(|| py.None())));
            self.wake_waiting(py);
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

    /// Receives the earliest message; waits `timeout` seconds for one (None: for ever, 0: until
    /// the others have run), then gives `alarm_value`.
    #[pyo3(signature = (timeout = None, alarm_value = None))]
    pub(super) fn receive(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        alarm_value: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let timeout = limit(timeout)?;
        if !slf.get().is_current() {
            let text = "receive() is for coroutines, and in one for the coroutine itself";
            return Err(PyRuntimeError::new_err(text));
        }
        Coro::wait(slf, "Coro.receive", Wait::Message, timeout, alarm_value)
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
