//! The scheduler of this process, on a thread of Python's, and what any thread may ask of it.
//!
//! The thread is made by `asyncoro/_scheduler.py` when the first coroutine is, and calls [`serve`].
//! It holds the GIL while there is work, and lets go of it around real waits only: giving it away
//! and taking it back for each request costs more than the request where other threads want it.
//!
//! Unsafe: the GIL around those waits.
#![allow(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    ptr,
    task::{Poll, Waker},
};

use asyncoro::AsynCoro;
use pyo3::{exceptions::PyRuntimeError, ffi, prelude::*};

use crate::{gil::Gil, hooks};

/// The scheduler that runs, if one does.
struct Running {
    handle: AsynCoro,
    stop: Option<Waker>,
    stopping: bool,
}

static RUNNING: Gil<RefCell<Option<Running>>> = Gil::new(RefCell::new(None));

thread_local! {
    /// Whether this thread is the scheduler's.
    static HERE: Cell<bool> = const { Cell::new(false) };
    /// What the GIL was let go with.
    static SAVED: Cell<*mut ffi::PyThreadState> = const { Cell::new(ptr::null_mut()) };
}

/// Whether this thread is the scheduler's.
pub(crate) fn is_here() -> bool {
    HERE.get()
}

/// Whether a scheduler is running.
#[pyfunction]
pub(crate) fn is_running(py: Python<'_>) -> bool {
    RUNNING.get(py).borrow().as_ref().is_some_and(|running| !running.stopping)
}

/// Starts a coroutine of the engine, in this thread or in the scheduler's.
pub(crate) fn spawn<F>(py: Python<'_>, future: F) -> PyResult<()>
where
    F: Future<Output = ()> + 'static,
{
    if is_here() {
        drop(asyncoro::spawn(future));
        return Ok(());
    }
    if !is_running(py) {
        hooks::start_scheduler(py)?;
    }
    // Out of the cell: what is dropped on the way may come back here.
    let handle = RUNNING.get(py).borrow().as_ref().map(|running| running.handle.clone());
    let Some(handle) = handle else {
        return Err(PyRuntimeError::new_err("the scheduler's thread has ended at once"));
    };
    let future = Gil::new(future);
    let coroutine = handle.spawn(move || {
        // SAFETY: the scheduler makes the future where it polls it.
        let py = unsafe { crate::gil::held() };
        future.into_inner(py)
    });
    drop(coroutine);
    Ok(())
}

/// Runs the scheduler in this thread until [`stop`]; `started` is called once it can be asked.
#[pyfunction]
pub(crate) fn serve(py: Python<'_>, started: &Bound<'_, PyAny>) -> PyResult<()> {
    let scheduler = AsynCoro::builder().around_waits(let_go, take_back).build()?;
    let running = Running { handle: scheduler.handle(), stop: None, stopping: false };
    RUNNING.get(py).replace(Some(running));
    HERE.set(true);
    started.call0()?;
    scheduler.run_until(stopped());
    drop(scheduler);
    HERE.set(false);
    RUNNING.get(py).replace(None);
    Ok(())
}

/// Ends the scheduler; its thread ends soon after.
#[pyfunction]
pub(crate) fn stop(py: Python<'_>) {
    let waker = RUNNING.get(py).borrow_mut().as_mut().and_then(|running| {
        running.stopping = true;
        running.stop.take()
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn stopped() -> impl Future<Output = ()> {
    poll_fn(|cx| {
        // SAFETY: the scheduler polls it.
        let py = unsafe { crate::gil::held() };
        match &mut *RUNNING.get(py).borrow_mut() {
            Some(running) if !running.stopping => {
                running.stop = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    })
}

/// In the child of a fork: the scheduler is the parent's.
#[pyfunction]
pub(crate) fn after_fork(py: Python<'_>) {
    if let Some(running) = RUNNING.get(py).take() {
        std::mem::forget(running);
    }
    HERE.set(false);
    crate::registry::forget(py);
}

/// Whether the calling thread is the scheduler's.
#[pyfunction]
pub(crate) fn in_scheduler() -> bool {
    is_here()
}

fn let_go() {
    // SAFETY: this thread holds the GIL, and runs nothing of Python's until it is taken back.
    SAVED.set(unsafe { ffi::PyEval_SaveThread() });
}

fn take_back() {
    // SAFETY: it is what letting go has given, once.
    unsafe { ffi::PyEval_RestoreThread(SAVED.replace(ptr::null_mut())) };
}
