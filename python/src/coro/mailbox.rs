//! The mailbox of a coroutine: messages that it was sent and has not received, at most as many as
//! its capacity, and the line of those who wait for room.
//!
//! Whoever waits puts its message in by itself, when its turn has come: so a wait that is dropped
//! has sent nothing. Free room is for the first in line, and nobody overtakes it.

use std::{
    collections::{BTreeMap, VecDeque},
    task::Waker,
};

use pyo3::{exceptions::PyValueError, prelude::*};

use super::{
    Coro,
    verbs::{Wait, code},
    within,
};
use crate::{
    arguments::Arguments,
    call, hooks,
    waits::{Delivering, limit},
};

#[derive(Default)]
pub(super) struct Mail {
    pub(super) messages: VecDeque<Py<PyAny>>,
    /// What few mailboxes have: a capacity.
    bounds: Option<Box<Bounds>>,
}

struct Bounds {
    capacity: usize,
    /// Those who wait for room, by the numbers of their places.
    line: BTreeMap<u64, Waker>,
    /// The number of the next place.
    next: u64,
}

impl Mail {
    /// Returns whether a message may be put in by the sender at `place` in the line, or by one who
    /// is not in it: there is room, and nobody has waited longer.
    fn admits(&self, place: Option<u64>) -> bool {
        let Some(bounds) = &self.bounds else { return true };
        let first = bounds.line.first_key_value().map(|(first, _)| *first);
        self.messages.len() < bounds.capacity && (first.is_none() || first == place)
    }

    /// Returns the waker of the first in line if there is room.
    fn admitted(&self) -> Option<Waker> {
        let bounds = self.bounds.as_ref()?;
        let has_room = self.messages.len() < bounds.capacity;
        bounds.line.values().next().filter(|_| has_room).cloned()
    }

    fn leave(&mut self, place: Option<u64>) {
        if let (Some(bounds), Some(place)) = (&mut self.bounds, place) {
            bounds.line.remove(&place);
        }
    }

    /// Wakes all who wait for room: the coroutine has ended.
    pub(super) fn dismiss(&mut self) {
        let line = self.bounds.as_mut().map(|bounds| std::mem::take(&mut bounds.line));
        line.into_iter().flatten().for_each(|(_, waker)| waker.wake());
    }
}

/// Reads a capacity: None, for no limit, or the number of messages.
fn capacity_of(given: &Bound<'_, PyAny>) -> PyResult<usize> {
    if given.is_none() {
        return Ok(usize::MAX);
    }
    match given.extract::<isize>()? {
        capacity @ 1.. => Ok(capacity.unsigned_abs()),
        _ => Err(PyValueError::new_err("mailbox_capacity is a number of messages, 1 or more")),
    }
}

/// Reads the capacity from the arguments of a new coroutine. Where the function comes first, all
/// names are those of its parameters.
pub(super) fn capacity_in(arguments: &Arguments<'_, '_>) -> PyResult<Option<usize>> {
    if arguments.positional() > 0 {
        return Ok(None);
    }
    arguments.named("mailbox_capacity")?.map(|given| capacity_of(&given)).transpose()
}

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
            let (py, own) = (call::py(), starting.of::<Coro>());
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
