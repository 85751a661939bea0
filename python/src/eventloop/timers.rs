//! Callbacks for later, in a timing wheel.

use std::{
    cell::RefCell,
    collections::HashMap,
    time::{Duration, Instant},
};

use asyncoro::time::{TimerKey, TimingWheel};
use pyo3::prelude::*;

use super::handle::TimerHandle;
use crate::once::interned;

/// The timers of a loop.
pub(super) struct Timers {
    wheel: RefCell<TimingWheel<Py<PyAny>>>,
    /// Those that were due already: they are called in the next iteration, without a wait.
    overdue: RefCell<Vec<Py<PyAny>>>,
    /// The places of handles of asyncio's, of debug mode, by their addresses.
    foreign: RefCell<HashMap<usize, TimerKey>>,
    /// An instant, and what time.monotonic() has told just before.
    origin: Instant,
    origin_seconds: f64,
}

impl Timers {
    pub(super) fn new(py: Python<'_>) -> PyResult<Timers> {
        let seconds = py.import("time")?.call_method0("monotonic")?.extract()?;
        let origin = Instant::now();
        let wheel = RefCell::new(TimingWheel::new(origin));
        Ok(Timers {
            wheel,
            overdue: RefCell::default(),
            foreign: RefCell::default(),
            origin,
            origin_seconds: seconds,
        })
    }

    /// Returns what time.monotonic() tells now.
    pub(super) fn seconds(&self) -> f64 {
        self.origin_seconds + self.origin.elapsed().as_secs_f64()
    }

    /// Returns the instant of a time of time.monotonic(); one that never comes is far away.
    fn instant(&self, when: f64) -> Instant {
        const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);
        // One that is not a number is due at once.
        let after = (when - self.origin_seconds).max(0.0);
        let after = Duration::try_from_secs_f64(after).unwrap_or(FAR).min(FAR);
        self.origin + after
    }

    /// Arms a timer for a handle; `None` if it is due already.
    pub(super) fn arm(&self, when: f64, handle: Py<PyAny>) -> Option<TimerKey> {
        let at = self.instant(when);
        if at <= Instant::now() {
            self.overdue.borrow_mut().push(handle);
            return None;
        }
        Some(self.wheel.borrow_mut().arm(at, handle))
    }

    /// The same for a handle of asyncio's.
    pub(super) fn arm_foreign(&self, when: f64, handle: Py<PyAny>) {
        let address = handle.as_ptr().addr();
        if let Some(key) = self.arm(when, handle) {
            self.foreign.borrow_mut().insert(address, key);
        }
    }

    /// Returns the place of a handle of asyncio's, which it leaves.
    pub(super) fn take_foreign(&self, handle: &Bound<'_, PyAny>) -> Option<TimerKey> {
        self.foreign.borrow_mut().remove(&handle.as_ptr().addr())
    }

    /// Returns whether some are due that need no look at the clock.
    pub(super) fn has_overdue(&self) -> bool {
        !self.overdue.borrow().is_empty()
    }

    pub(super) fn disarm(&self, key: TimerKey) {
        let handle = self.wheel.borrow_mut().disarm(key);
        // A drop may run any code.
        drop(handle);
    }

    /// Returns when to look again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.wheel.borrow().next()
    }

    /// Moves the handles that are due to `due`, in their order.
    pub(super) fn fire(&self, py: Python<'_>, due: &mut Vec<Py<PyAny>>) {
        due.append(&mut self.overdue.borrow_mut());
        if self.wheel.borrow().armed() != 0 {
            self.wheel.borrow_mut().fire(Instant::now(), due);
        }
        self.have_left(py, due);
        if due.len() > 1 {
            // Those of a tick come in the order in which they were armed.
            due.sort_by(|a, b| when(py, a).total_cmp(&when(py, b)));
        }
    }

    /// Takes all of them.
    pub(super) fn take_all(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let mut all = self.overdue.take();
        self.wheel.borrow_mut().fire_all(&mut all);
        self.have_left(py, &all);
        all
    }

    /// Notes that handles have left the wheel.
    fn have_left(&self, py: Python<'_>, handles: &[Py<PyAny>]) {
        for handle in handles {
            match handle.bind(py).cast_exact::<TimerHandle>() {
                Ok(timer) => timer.get().set_key(py, None),
                Err(_) => drop(self.take_foreign(handle.bind(py))),
            }
        }
    }

    pub(super) fn with_all(&self, mut f: impl FnMut(&Py<PyAny>) -> bool) {
        if let Ok(wheel) = self.wheel.try_borrow() {
            wheel.values().all(&mut f);
        }
        if let Ok(overdue) = self.overdue.try_borrow() {
            overdue.iter().all(&mut f);
        }
    }
}

fn when(py: Python<'_>, handle: &Py<PyAny>) -> f64 {
    match handle.bind(py).cast_exact::<TimerHandle>() {
        Ok(timer) => timer.get().when_is(),
        // One of asyncio's, in debug mode.
        Err(_) => handle
            .getattr(py, interned!(py, "_when"))
            .and_then(|when| when.extract(py))
            .unwrap_or(0.0),
    }
}
