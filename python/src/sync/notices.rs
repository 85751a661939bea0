//! The waits of a condition: told one by one, in their order.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use pyo3::prelude::*;

use super::{
    fork::Ours,
    line::Line,
    lock::Lock,
    stand::{Kind, Stand, bool_of},
};
use crate::{
    call::{self, Outcome},
    gil::{self, Gil},
    timer::{Timer, limit},
};

/// Those who wait for a notice.
#[pyclass(frozen, module = "asyncoro._engine")]
pub(crate) struct Notices {
    core: Gil<Rc<Core>>,
}

#[derive(Default)]
pub(super) struct Core(RefCell<Ours<Line>>);

impl Core {
    fn tell(&self, count: usize) -> usize {
        for told in 0..count {
            let Some((_, waker, ())) = Waiters::line(self, Line::tell_first) else { return told };
            waker.wake();
        }
        count
    }
}

struct Waiters;

impl Kind for Waiters {
    type Core = Core;
    type Left = ();

    fn line<R>(core: &Core, f: impl FnOnce(&mut Line) -> R) -> R {
        f(core.0.borrow_mut().get())
    }

    fn pass_on(core: &Rc<Core>, _place: usize) {
        core.tell(1);
    }
}

struct Waiting {
    stand: Stand<Waiters>,
    timer: Timer,
    /// The lock, until it was freed.
    lock: Option<Py<Lock>>,
}

impl Future for Waiting {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let py = gil::py();
        if self.stand.is_told(cx, || ()) {
            return Poll::Ready(bool_of(py, true));
        }
        // Once it stands in the line: from here on no notice is missed.
        if let Some(lock) = self.lock.take() {
            lock.get().hold.get(py).give_up(py);
        }
        match self.timer.is_due(cx) {
            true => Poll::Ready(bool_of(py, false)),
            false => Poll::Pending,
        }
    }
}

#[pymethods]
impl Notices {
    #[new]
    fn new() -> Notices {
        Notices { core: Gil::new(Rc::default()) }
    }

    /// Frees the lock, which the coroutine has, and waits: `await` gives whether it was told.
    #[pyo3(signature = (lock, timeout))]
    fn wait(
        slf: &Bound<'_, Self>,
        lock: Py<Lock>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let timeout = limit(timeout)?;
        call::make(slf.py(), "Condition.wait", Some(slf.as_any()), move |starting| {
            let stand = Stand::new(starting.of::<Notices>().get().core.get(gil::py()));
            starting.poll(Waiting { stand, timer: Timer::new(timeout), lock: Some(lock) })
        })
    }

    /// Tells the first `count` of those who wait; returns how many there were.
    fn tell(&self, py: Python<'_>, count: usize) -> usize {
        self.core.get(py).tell(count)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        Waiters::line(self.core.get(py), |line| line.waiting())
    }
}
