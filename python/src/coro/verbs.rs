//! Waits of a coroutine by itself: to be resumed, and for messages (`mailbox.rs`).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{
    kept::Wait,
    object::{Coro, code},
};
use crate::{
    call::{self, Keeps, Outcome},
    gil::{self, py},
    hooks,
    timer::{Timer, limit},
};

impl Coro {
    /// Takes what calls wait for, if that is there.
    pub(crate) fn take_kept(&self, py: Python<'_>, what: Wait) -> Option<Py<PyAny>> {
        match what {
            Wait::Resume => self.state(py).given.take(),
            Wait::Message => self.take_message(py),
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
            let (py, own) = (gil::py(), starting.of::<Coro>());
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

/// Waits until what a coroutine keeps is there, or for a time: `sleep` and `receive` with a limit.
/// Even if that is 0 the others run first, and the kernel is asked what has come.
pub(crate) struct Limited {
    coro: Py<Coro>,
    what: Wait,
    timer: Timer,
    alarm: Option<Py<PyAny>>,
    waits: bool,
}

impl Limited {
    pub(crate) fn new(
        coro: Py<Coro>,
        what: Wait,
        limit: Duration,
        alarm: Option<Py<PyAny>>,
    ) -> Limited {
        Limited { coro, what, timer: Timer::new(Some(limit)), alarm, waits: false }
    }
}

impl Future for Limited {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let own = &mut *self;
        let py = py();
        if let Some(kept) = own.coro.get().take_kept(py, own.what) {
            return Poll::Ready(Ok(kept));
        }
        if own.timer.is_due(cx) {
            return Poll::Ready(Ok(own.alarm.take().unwrap_or_else(|| py.None())));
        }
        if !own.waits {
            own.waits = true;
            own.coro.get().begin_waiting(py, own.what);
        }
        own.coro.get().wait_with(py, cx.waker());
        Poll::Pending
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if self.waits {
            self.coro.get().stop_waiting(py(), self.what);
        }
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
        let (py, coro) = (gil::py(), coro.get());
        let kept = coro.take_kept(py, Self::WHAT);
        if kept.is_none() {
            coro.wait_with(py, cx.waker());
        }
        kept
    }

    fn begin(coro: &Py<Coro>) {
        coro.get().begin_waiting(gil::py(), Self::WHAT);
    }

    fn stop(coro: &Py<Coro>) {
        coro.get().stop_waiting(gil::py(), Self::WHAT);
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
        if !slf.get().is_current() && !Coro::is_current_task(slf) {
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
        if !slf.get().is_current() && !Coro::is_current_task(slf) {
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
