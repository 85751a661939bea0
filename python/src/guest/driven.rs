//! The guest of a loop of ours (`eventloop/`), which makes its turns without being asked.

use std::{
    os::fd::RawFd,
    task::Waker,
    time::{Duration, Instant},
};

use pyo3::prelude::*;

use super::{
    known::generation,
    object::{Guest, closed},
    turns::Looking,
};
use crate::{engine, log};

impl Guest {
    /// Makes the guest of a loop of ours.
    pub(crate) fn driven_by<'py>(running: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Guest>> {
        let py = running.py();
        let guest = Bound::new(py, Guest::new(py, running.clone().unbind())?)?;
        Guest::_start(&guest)?;
        guest.get().inner(py).is_driven.set(true);
        Ok(guest)
    }

    /// Returns the descriptor that is readable when a turn is needed.
    pub(crate) fn descriptor(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.fileno(py)
    }

    /// Returns whether a turn is needed now, as far as it knows by itself.
    pub(crate) fn is_due(&self, py: Python<'_>) -> bool {
        self.inner(py).turn_is_due.get()
    }

    /// Returns when a turn is needed, unless the descriptor is readable before.
    pub(crate) fn deadline(&self, py: Python<'_>) -> Option<Instant> {
        self.inner(py).hosted.borrow().as_ref()?.next_deadline()
    }

    /// Makes a turn, which waits without the GIL for `max` at most.
    pub(crate) fn turn_for(guest: &Bound<'_, Guest>, max: Duration) -> PyResult<()> {
        let (py, inner) = (guest.py(), guest.get().inner(guest.py()));
        inner.refuse_in_child(py)?;
        let hosted = inner.hosted.borrow().clone().ok_or_else(closed)?;
        Guest::stays(guest)?;
        inner.turn_is_due.set(false);
        // Others that wake it while it waits must end that.
        let looking = max.is_zero().then(|| Looking::begin(&inner.shared));
        let has_more = engine::entered(|| hosted.turn(max));
        drop(looking);
        inner.in_a_row.set(0);
        log::pass_on_left(py);
        inner.look(py);
        if has_more {
            inner.turn_is_due.set(true);
        }
        Ok(())
    }

    /// Wakes it, from any thread.
    pub(crate) fn ring(&self, py: Python<'_>) {
        let inner = self.inner(py);
        if inner.generation == generation(py) {
            inner.shared.ring();
        }
    }

    /// Wakes what waits for the loop's descriptors.
    pub(crate) fn wake_all(&self, py: Python<'_>, woken: &mut Vec<Waker>) {
        let woke = self.enter(py, || woken.drain(..).for_each(Waker::wake));
        if woke.is_err() {
            woken.clear();
        }
    }
}
