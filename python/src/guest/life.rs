//! The beginning and the end of a guest, and what Python's collector sees of it.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    mem,
    os::fd::{AsRawFd, RawFd},
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use asyncoro::{AsynCoro, coro::Hosted};
use pyo3::{PyTraverseError, PyVisit, prelude::*};

use super::{
    known,
    object::{Guest, Inner, closed},
    wakes::Shared,
};
use crate::{
    engine,
    error::raised,
    gil::Gil,
    log,
    once::interned,
    watcher::{self, Watch},
};

/// Makes the scheduler, and what wakes it.
fn hosted(py: Python<'_>, watch: &Arc<Watch>) -> PyResult<(Hosted, Waker)> {
    let (queued, sent) = (Arc::clone(watch), Arc::clone(watch));
    let make = || {
        let builder = AsynCoro::builder()
            .around_waits(engine::let_go_of_gil, engine::take_gil_back)
            .around_queueing(move || queued.queued(), move || sent.sent());
        Hosted::new(builder.build()?)
    };
    let hosted = make().map_err(|error| raised(py, &error))?;
    let bell = Rc::new(Cell::new(None));
    let kept = Rc::clone(&bell);
    let ringing = hosted.spawn(async move {
        asyncoro::coro::current().set_daemon(true);
        poll_fn(|cx| {
            kept.set(Some(cx.waker().clone()));
            Poll::<()>::Pending
        })
        .await
    });
    drop(ringing);
    hosted.turn(Duration::ZERO);
    let bell = bell.take().expect("the first turn resumes it");
    Ok((hosted, bell))
}

impl Guest {
    /// Ends it: ends the coroutines of ours that are left, and sends what is queued.
    pub(crate) fn close(&self, py: Python<'_>) {
        let inner = self.inner(py);
        let runs = inner.runs.take();
        inner.free_runs.borrow_mut().clear();
        for run in runs.into_iter().flatten() {
            if let Err(error) = run.call_method0(py, interned!(py, "_cut")) {
                error.write_unraisable(py, None);
            }
        }
        known::remove(py, inner.home);
        let hosted = inner.hosted.take();
        inner.shared.close();
        let waits = inner.waits.borrow_mut().take_all();
        drop(waits);
        if inner.generation == known::generation(py) {
            // Before the scheduler waits for what is queued, and has something borrowed.
            watcher::stop(py, inner.home);
            // Others hand over what they drop, for as long as it waits without the GIL.
            engine::entered(|| drop(hosted));
            engine::remove_guest(py, inner.home);
        } else {
            mem::forget(hosted);
        }
        if let Some((_, handle)) = inner.deadline.take() {
            let _ = handle.call_method0(py, interned!(py, "cancel"));
        }
        log::pass_on_left(py);
        drop((inner.running.take(), inner.turn.take()));
        known::forget_one(inner.home);
    }
}

#[pymethods]
impl Guest {
    #[new]
    pub(super) fn new(py: Python<'_>, running: Py<PyAny>) -> PyResult<Guest> {
        known::refuse_in_scheduler()?;
        let watch = Arc::new(Watch::new());
        let (hosted, bell) = hosted(py, &watch)?;
        let hosted = Rc::new(hosted);
        let home = engine::add_guest(py, hosted.handle());
        watcher::start(py, home, Rc::clone(&hosted) as _, watch, false)?;
        let inner = Inner {
            home,
            hosted: RefCell::new(Some(hosted)),
            shared: Arc::new(Shared::new(bell)),
            waits: Rc::default(),
            spare: Cell::default(),
            running: RefCell::new(Some(running)),
            turn: RefCell::new(None),
            turn_is_due: Cell::new(false),
            is_driven: Cell::new(false),
            deadline: RefCell::new(None),
            runs: RefCell::default(),
            free_runs: RefCell::default(),
            in_a_row: Cell::new(0),
            generation: known::generation(py),
        };
        Ok(Guest { inner: Gil::new(inner) })
    }

    /// The descriptor that is readable when a turn is needed.
    pub(super) fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        let hosted = self.inner(py).hosted.borrow();
        hosted.as_ref().map(|hosted| hosted.as_raw_fd()).ok_or_else(closed)
    }

    /// Begins to ask the loop for turns.
    pub(super) fn _start(slf: &Bound<'_, Self>) -> PyResult<()> {
        let inner = slf.get().inner(slf.py());
        let turn = slf.getattr("_turn")?.unbind();
        inner.turn.replace(Some(turn));
        known::add(slf)
    }

    /// Ends it with its loop.
    fn _close(&self, py: Python<'_>) {
        self.close(py);
    }

    /// Returns the coroutines of ours that its tasks run.
    fn _runs(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let runs = self.inner(py).runs.borrow();
        runs.iter().flatten().map(|run| run.clone_ref(py)).collect()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let inner = self.inner.visited(&visit);
        if let Ok(running) = inner.running.try_borrow() {
            visit.call(&*running)?;
        }
        if let Ok(turn) = inner.turn.try_borrow() {
            visit.call(&*turn)?;
        }
        if let Ok(deadline) = inner.deadline.try_borrow()
            && let Some((_, handle)) = &*deadline
        {
            visit.call(handle)?;
        }
        if let Ok(waits) = inner.waits.try_borrow() {
            waits.all().try_for_each(|object| visit.call(object))?;
        }
        if let Ok(runs) = inner.runs.try_borrow() {
            runs.iter().flatten().try_for_each(|run| visit.call(run))?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        self.close(py);
    }
}
