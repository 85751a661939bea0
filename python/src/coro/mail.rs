//! What is in the mailbox of a coroutine: messages that it was sent and has not received, at most
//! as many as its capacity, and the line of those who wait for room.

use std::{
    collections::{BTreeMap, VecDeque},
    task::Waker,
};

use pyo3::{exceptions::PyValueError, prelude::*};

use crate::arguments::Arguments;

#[derive(Default)]
pub(super) struct Mail {
    pub(super) messages: VecDeque<Py<PyAny>>,
    /// What few mailboxes have: a capacity.
    pub(super) bounds: Option<Box<Bounds>>,
}

pub(super) struct Bounds {
    pub(super) capacity: usize,
    /// Those who wait for room, by the numbers of their places.
    pub(super) line: BTreeMap<u64, Waker>,
    /// The number of the next place.
    pub(super) next: u64,
}

impl Mail {
    /// Returns whether a message may be put in by the sender at `place` in the line, or by one who
    /// is not in it: there is room, and nobody has waited longer.
    pub(super) fn admits(&self, place: Option<u64>) -> bool {
        let Some(bounds) = &self.bounds else { return true };
        let first = bounds.line.first_key_value().map(|(first, _)| *first);
        self.messages.len() < bounds.capacity && (first.is_none() || first == place)
    }

    /// Returns the waker of the first in line if there is room.
    pub(super) fn admitted(&self) -> Option<Waker> {
        let bounds = self.bounds.as_ref()?;
        let has_room = self.messages.len() < bounds.capacity;
        bounds.line.values().next().filter(|_| has_room).cloned()
    }

    pub(super) fn leave(&mut self, place: Option<u64>) {
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
pub(super) fn capacity_of(given: &Bound<'_, PyAny>) -> PyResult<usize> {
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
