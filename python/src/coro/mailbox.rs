//! Messages to a coroutine, and those who wait for room in its mailbox.
//!
//! Whoever waits puts its message in by itself, when its turn has come: so a wait that is dropped
//! has sent nothing. Free room is for the first in line, and nobody overtakes it.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use pyo3::prelude::*;

use super::{
    kept::Wait,
    mail::{Bounds, Mail, capacity_of},
    object::{Coro, code, within},
};
use crate::{
    call::{self, Outcome},
    gil::{self, py},
    hooks,
    timer::{Timer, limit},
};

impl Coro {
    /// Changes the mailbox by `change`, which may run no foreign code, and then wakes the first in
    /// line if there is room.
    fn change_mail<R>(&self, py: Python<'_>, change: impl FnOnce(&mut Mail) -> R) -> R {
        let (result, admitted) = within(&self.state(py).mail, |mail| {
            let result = change(mail);
            (result, mail.admitted())
        });
        if let Some(waker) = admitted {
            waker.wake();
        }
        result
    }

    /// Takes the earliest message.
    pub(super) fn take_message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let cell = &self.state(py).mail;
        let mut mail = cell.take()?;
        let message = mail.messages.pop_front();
        let admitted = mail.admitted().filter(|_| message.is_some());
        cell.set(Some(mail));
        if let Some(waker) = admitted {
            waker.wake();
        }
        message
    }

    /// Puts a message in, even above the capacity: 0, or -1 if it has ended.
    pub(super) fn push(&self, py: Python<'_>, message: Py<PyAny>) -> i32 {
        if self.has_ended(py) {
            return -1;
        }
        within(&self.state(py).mail, |mail| mail.messages.push_back(message));
        self.tell_of_message(py);
        0
    }

    fn tell_of_message(&self, py: Python<'_>) {
        if self.state(py).waits_for(Wait::Message).get() > 0 {
            self.wake_waiting(py);
        }
    }

    /// Puts a message in if there is room and nobody has waited longer; else leaves it. A sender
    /// that was in line leaves it.
    pub(crate) fn admit(
        &self,
        py: Python<'_>,
        message: &mut Option<Py<PyAny>>,
        place: &mut Option<u64>,
    ) -> bool {
        let cell = &self.state(py).mail;
        let mut mail = cell.take().unwrap_or_default();
        if mail.bounds.is_none() {
            if let Some(message) = message.take() {
                mail.messages.push_back(message);
            }
            cell.set(Some(mail));
            self.tell_of_message(py);
            return true;
        }
        cell.set(Some(mail));
        let admitted = self.change_mail(py, |mail| {
            let admitted = mail.admits(*place);
            if admitted {
                mail.messages.extend(message.take());
                mail.leave(place.take());
            }
            admitted
        });
        if admitted {
            self.tell_of_message(py);
        }
        admitted
    }

    /// Stands at the end of the line, or stays at `place`; `waker` is woken for room and at the
    /// end.
    pub(crate) fn stand_in_line(&self, py: Python<'_>, place: &mut Option<u64>, waker: &Waker) {
        let old = within(&self.state(py).mail, |mail| {
            let bounds = mail.bounds.as_mut().expect("it is full");
            let place = *place.get_or_insert_with(|| {
                bounds.next += 1;
                bounds.next
            });
            bounds.line.insert(place, waker.clone())
        });
        drop(old);
    }

    /// Leaves the line: the next one moves up.
    pub(crate) fn leave_line(&self, py: Python<'_>, place: u64) {
        if !self.has_ended(py) {
            self.change_mail(py, |mail| mail.leave(Some(place)));
        }
    }

    pub(super) fn set_capacity(&self, py: Python<'_>, capacity: usize) {
        self.change_mail(py, |mail| match &mut mail.bounds {
            Some(bounds) => bounds.capacity = capacity,
            None if capacity == usize::MAX => {}
            none => {
                *none = Some(Box::new(Bounds { capacity, line: BTreeMap::new(), next: 0 }));
            }
        });
    }

    /// Makes the error for a full mailbox.
    #[cold]
    fn full(&self, py: Python<'_>) -> PyErr {
        let count = within(&self.state(py).mail, |mail| mail.messages.len());
        hooks::full(py, &format!("the mailbox of {} is full: {count} messages", self.label(py)))
    }
}

#[pymethods]
impl Coro {
    /// How many messages its mailbox has room for; None if there is no limit.
    #[getter]
    fn mailbox_capacity(&self, py: Python<'_>) -> Option<usize> {
        let capacity = within(&self.state(py).mail, |mail| {
            mail.bounds.as_ref().map_or(usize::MAX, |bounds| bounds.capacity)
        });
        (capacity != usize::MAX).then_some(capacity)
    }

    #[setter(mailbox_capacity)]
    fn change_capacity(&self, py: Python<'_>, capacity: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_capacity(py, capacity_of(capacity)?);
        Ok(())
    }

    /// Sends it a message: 0, or -1 if it has ended. MailboxFull if there is no room.
    pub(super) fn send(&self, py: Python<'_>, message: Py<PyAny>) -> PyResult<i32> {
        if self.has_ended(py) {
            return Ok(-1);
        }
        let mut message = Some(message);
        if self.admit(py, &mut message, &mut None) { Ok(0) } else { Err(self.full(py)) }
    }

    /// Sends it a message, and waits for room `timeout` seconds (None: for ever, 0: until the
    /// others have run): `yield` or `await` gives 1, 0 after that time, -1 if it has ended.
    #[pyo3(signature = (message, timeout = None))]
    fn deliver(
        slf: &Bound<'_, Self>,
        message: Py<PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let timeout = limit(timeout)?;
        call::make(slf.py(), "Coro.deliver", Some(slf.as_any()), move |starting| {
            let (py, own) = (gil::py(), starting.of::<Coro>());
            if own.get().has_ended(py) {
                return starting.done(code(py, -1));
            }
            let mut message = Some(message);
            if own.get().admit(py, &mut message, &mut None) {
                return starting.done(code(py, 1));
            }
            starting.poll(Delivering::new(own.clone_ref(py), message, timeout))
        })
    }
}

/// Waits for room in the mailbox of another coroutine, or for a time, and puts a message in.
pub(crate) struct Delivering {
    coro: Py<Coro>,
    message: Option<Py<PyAny>>,
    timer: Timer,
    /// Its place in the line for room.
    place: Option<u64>,
}

impl Delivering {
    pub(crate) fn new(
        coro: Py<Coro>,
        message: Option<Py<PyAny>>,
        limit: Option<Duration>,
    ) -> Delivering {
        Delivering { coro, message, timer: Timer::new(limit), place: None }
    }
}

impl Future for Delivering {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let own = &mut *self;
        let py = py();
        let coro = own.coro.get();
        if coro.has_ended(py) {
            return Poll::Ready(code(py, -1));
        }
        if coro.admit(py, &mut own.message, &mut own.place) {
            return Poll::Ready(code(py, 1));
        }
        if own.timer.is_due(cx) {
            return Poll::Ready(code(py, 0));
        }
        coro.stand_in_line(py, &mut own.place, cx.waker());
        Poll::Pending
    }
}

/// Leaves the line: nothing was sent.
impl Drop for Delivering {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.coro.get().leave_line(py(), place);
        }
    }
}
