//! `Lock` and `RLock`: what one coroutine at a time has, also while it waits.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use pyo3::{PyClassInitializer, exceptions::PyRuntimeError, prelude::*};

use super::{
    done::done,
    hold::{Hold, Holder, Taken, Wanting, maker, not_held, owner},
    stand::{Stand, bool_of},
};
use crate::{
    call::{self, Outcome, Started, Starting},
    coro::Coro,
    gil::{self, Gil},
    hooks,
    timer::{Timer, limit_from_0},
};

/// A lock that one coroutine at a time has: `yield lock.acquire()` and `lock.release()`, or
/// `async with lock`. It is freed when the coroutine that has it ends.
#[pyclass(frozen, weakref, subclass, module = "asyncoro")]
pub(crate) struct Lock {
    pub(super) hold: Gil<Rc<Hold>>,
    reentrant: bool,
}

/// A lock that the coroutine that has it may take again; it is freed by as many releases.
#[pyclass(frozen, weakref, subclass, extends = Lock, module = "asyncoro")]
pub(crate) struct RLock;

#[pymethods]
impl RLock {
    #[new]
    fn new() -> PyClassInitializer<RLock> {
        let lock = Lock { hold: Gil::new(Hold::new()), reentrant: true };
        PyClassInitializer::from(lock).add_subclass(RLock)
    }
}

struct Acquiring {
    stand: Stand<Wanting>,
    timer: Timer,
    coro: Py<Coro>,
    depth: usize,
    /// Whether it is for the block of an `async with`, which is given None.
    is_block: bool,
}

impl Future for Acquiring {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let py = gil::py();
        let own = &mut *self;
        let wanted = || Holder { coro: own.coro.clone_ref(py), depth: own.depth };
        if own.stand.is_told(cx, wanted) {
            if !own.stand.core.is_held_by(&own.coro) {
                return Poll::Ready(Err(too_late(py, &own.coro)));
            }
            return Poll::Ready(if own.is_block { Ok(py.None()) } else { bool_of(py, true) });
        }
        match own.timer.is_due(cx) {
            true => Poll::Ready(bool_of(py, false)),
            false => Poll::Pending,
        }
    }
}

/// Makes the error of taking a lock for a coroutine that cannot have it any more.
#[cold]
fn too_late(py: Python<'_>, coro: &Py<Coro>) -> PyErr {
    let label = coro.get().label(py);
    let text = format!("the lock was to be taken for {label}, which has ended, or has freed it");
    PyRuntimeError::new_err(text)
}

/// How a lock is taken.
#[derive(Clone, Copy)]
struct How {
    blocking: bool,
    timeout: Option<Duration>,
    is_block: bool,
}

impl Lock {
    fn name(&self) -> &'static str {
        if self.reentrant { "RLock" } else { "Lock" }
    }

    /// Returns the names of its verbs.
    fn verbs(&self) -> (&'static str, &'static str) {
        match self.reentrant {
            true => ("RLock.acquire", "RLock.release"),
            false => ("Lock.acquire", "Lock.release"),
        }
    }

    fn take(slf: &Bound<'_, Lock>, how: How) -> PyResult<Py<PyAny>> {
        let (name, maker) = (slf.get().verbs().0, maker(slf.py())?);
        call::make(slf.py(), name, Some(slf.as_any()), move |starting| {
            match owner(gil::py(), maker) {
                Ok(coro) => Lock::start(starting, coro, how, 1),
                Err(error) => starting.done(Err(error)),
            }
        })
    }

    fn start(starting: Starting<'_, '_>, coro: Py<Coro>, how: How, depth: usize) -> Started {
        let (py, lock) = (gil::py(), starting.of::<Lock>().get());
        let hold = lock.hold.get(py);
        match hold.take(py, &coro, depth, lock.reentrant) {
            Taken::Now if how.is_block => return starting.done(Ok(py.None())),
            Taken::Now => return starting.done(bool_of(py, true)),
            Taken::Held | Taken::Own if !how.blocking => {
                return starting.done(bool_of(py, false));
            }
            Taken::Own if how.timeout.is_none() => {
                let text = "this coroutine has the lock, and would wait for itself for ever; an \
                            RLock may be taken again";
                return starting.done(Err(PyRuntimeError::new_err(text)));
            }
            Taken::Held | Taken::Own => {}
        }
        let (stand, timer) = (Stand::new(hold), Timer::new(how.timeout));
        starting.poll(Acquiring { stand, timer, coro, depth, is_block: how.is_block })
    }
}

#[pymethods]
impl Lock {
    #[new]
    fn new() -> Lock {
        Lock { hold: Gil::new(Hold::new()), reentrant: false }
    }

    /// Takes the lock, and waits for it, `timeout` seconds at most (None, or below 0: for ever):
    /// `yield` or `await` gives whether the coroutine has it. With `blocking=False` it does not
    /// wait.
    #[pyo3(signature = (blocking = true, timeout = None))]
    pub(super) fn acquire(
        slf: &Bound<'_, Self>,
        blocking: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let timeout = limit_from_0(timeout)?;
        Lock::take(slf, How { blocking, timeout, is_block: false })
    }

    /// Frees the lock, which the first who waits has then; RuntimeError if the coroutine has it
    /// not.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.hold.get(py).release(py, self.verbs().1)
    }

    /// Returns whether somebody has it.
    fn locked(&self, py: Python<'_>) -> bool {
        self.hold.get(py).holder(py).is_some()
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Lock::take(slf, How { blocking: true, timeout: None, is_block: true })
    }

    /// Frees it at once; there is nothing to wait for.
    fn __aexit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.release(py)?;
        done(py)
    }

    /// Returns who has it and who waits: (is_held, holder, waiting, cut_off).
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let hold = self.hold.get(py);
        let holder = hold.holder(py);
        let (waiting, cut_off) = hold.with(|state| (state.line.waiting(), state.cut_off));
        let told = (holder.is_some(), holder, waiting, cut_off);
        Ok(hooks::hook(py, "LockStatistics")?.call1(told)?.unbind())
    }

    /// Returns the coroutine that runs, which has it, and how many times over; RuntimeError if it
    /// has it not.
    fn _held(&self, py: Python<'_>) -> PyResult<(Py<Coro>, usize)> {
        let hold = self.hold.get(py);
        match hold.holder(py) {
            Some(coro) if Coro::runs_here(coro.bind(py)) => Ok((coro, hold.depth())),
            other => Err(not_held(py, "Condition.wait", other.as_ref())),
        }
    }

    /// Takes it `depth` times over for a coroutine, unless that has it.
    fn _retake(slf: &Bound<'_, Self>, coro: Py<Coro>, depth: usize) -> PyResult<Py<PyAny>> {
        call::make(slf.py(), "Condition.wait", Some(slf.as_any()), move |starting| {
            let (py, lock) = (gil::py(), starting.of::<Lock>().get());
            if lock.hold.get(py).is_held_by(&coro) {
                return starting.done(Ok(py.None()));
            }
            if coro.get().has_ended(py) {
                return starting.done(Err(too_late(py, &coro)));
            }
            let how = How { blocking: true, timeout: None, is_block: true };
            Lock::start(starting, coro, how, depth.max(1))
        })
    }

    /// Lets a coroutine go on without it, whose wait was cut off, and which had it `depth` times
    /// over.
    fn _excuse(&self, coro: &Bound<'_, Coro>, depth: usize) {
        self.hold.get(coro.py()).excuse(coro.py(), coro.as_unbound(), depth.max(1));
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let hold = self.hold.get(py);
        let waiting = hold.with(|state| state.line.waiting());
        match hold.holder(py) {
            Some(coro) => {
                format!("<{}: {} has it, {waiting} wait>", self.name(), coro.get().label(py))
            }
            None => format!("<{}: free>", self.name()),
        }
    }
}
