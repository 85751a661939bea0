//! `Semaphore`: at most so many at a time.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pyo3::{exceptions::PyValueError, prelude::*};

use super::{
    done::done,
    fork::Ours,
    line::Line,
    stand::{Kind, Stand, bool_of},
};
use crate::{
    call::{self, Outcome},
    gil::{self, Gil},
    hooks,
    timer::{Timer, limit_from_0},
};

/// A number of permits: `yield semaphore.acquire()` waits for one.
#[pyclass(frozen, weakref, module = "asyncoro")]
pub(crate) struct Semaphore {
    core: Gil<Rc<Core>>,
}

struct Core(RefCell<Ours<State>>);

#[derive(Default)]
struct State {
    /// The permits that nobody has; 0 while somebody waits.
    value: usize,
    line: Line,
}

impl Core {
    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        // Permits that the parent's coroutines were given and had not taken are free in a child.
        let anew = |old: &State| State { value: old.value + old.line.told(), ..State::default() };
        f(self.0.borrow_mut().get_or(anew))
    }

    fn take(&self) -> bool {
        self.with(|state| {
            let is_free = state.value > 0;
            state.value -= usize::from(is_free);
            is_free
        })
    }

    fn release(&self, count: usize) {
        self.with(|state| state.value = state.value.saturating_add(count));
        let next = || {
            self.with(|state| {
                let told = if state.value > 0 { state.line.tell_first() } else { None };
                state.value -= usize::from(told.is_some());
                told
            })
        };
        while let Some((_, waker, ())) = next() {
            waker.wake();
        }
    }
}

struct Waiters;

impl Kind for Waiters {
    type Core = Core;
    type Left = ();

    fn line<R>(core: &Core, f: impl FnOnce(&mut Line) -> R) -> R {
        core.with(|state| f(&mut state.line))
    }

    fn pass_on(core: &Rc<Core>, _place: usize) {
        core.release(1);
    }
}

struct Acquiring {
    stand: Stand<Waiters>,
    timer: Timer,
    /// Whether the permit is for the block of an `async with`, which is given None.
    is_block: bool,
}

impl Future for Acquiring {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let py = gil::py();
        if self.stand.is_told(cx, || ()) {
            return Poll::Ready(if self.is_block { Ok(py.None()) } else { bool_of(py, true) });
        }
        match self.timer.is_due(cx) {
            true => Poll::Ready(bool_of(py, false)),
            false => Poll::Pending,
        }
    }
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (value = 1))]
    fn new(value: isize) -> PyResult<Semaphore> {
        let Ok(value) = usize::try_from(value) else {
            return Err(PyValueError::new_err("a semaphore has 0 permits or more"));
        };
        let mut state = Ours::<State>::default();
        state.get().value = value;
        Ok(Semaphore { core: Gil::new(Rc::new(Core(RefCell::new(state)))) })
    }

    /// Takes a permit, and waits for one, `timeout` seconds at most (None, or below 0: for ever):
    /// `yield` or `await` gives whether it has one. With `blocking=False` it does not wait.
    #[pyo3(signature = (blocking = true, timeout = None))]
    pub(super) fn acquire(
        slf: &Bound<'_, Self>,
        blocking: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let timeout = limit_from_0(timeout)?;
        call::make(slf.py(), "Semaphore.acquire", Some(slf.as_any()), move |starting| {
            let py = gil::py();
            let core = starting.of::<Semaphore>().get().core.get(py);
            let is_taken = core.take();
            if is_taken || !blocking {
                return starting.done(bool_of(py, is_taken));
            }
            let (stand, timer) = (Stand::new(core), Timer::new(timeout));
            starting.poll(Acquiring { stand, timer, is_block: false })
        })
    }

    /// Gives `n` permits back, or adds them. Any thread may.
    #[pyo3(signature = (n = 1))]
    pub(super) fn release(&self, py: Python<'_>, n: usize) -> PyResult<()> {
        if n == 0 {
            return Err(PyValueError::new_err("1 permit or more can be released"));
        }
        self.core.get(py).release(n);
        Ok(())
    }

    /// Returns whether there is no permit left.
    fn locked(&self, py: Python<'_>) -> bool {
        self.core.get(py).with(|state| state.value == 0)
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        call::make(slf.py(), "Semaphore.acquire", Some(slf.as_any()), |starting| {
            let py = gil::py();
            let core = starting.of::<Semaphore>().get().core.get(py);
            if core.take() {
                return starting.done(Ok(py.None()));
            }
            let (stand, timer) = (Stand::new(core), Timer::new(None));
            starting.poll(Acquiring { stand, timer, is_block: true })
        })
    }

    /// Gives the permit back at once; there is nothing to wait for.
    fn __aexit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.core.get(py).release(1);
        done(py)
    }

    /// Returns what it is doing: (value, waiting).
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let counts = self.core.get(py).with(|state| (state.value, state.line.waiting()));
        Ok(hooks::hook(py, "SemaphoreStatistics")?.call1(counts)?.unbind())
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let (value, waiting) = self.core.get(py).with(|state| (state.value, state.line.waiting()));
        format!("<Semaphore: {value} free, {waiting} wait>")
    }
}
