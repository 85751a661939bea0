//! Runs the scheduler of this process on a thread of Python's, and passes requests to it.
//!
//! `asyncoro/_scheduler.py` starts the thread with the first coroutine; the thread calls [`serve`].
//! It holds the GIL while there is work, and releases it only around waits: to release and take it
//! for each request costs more than the request when other threads want it.
//!
//! Unsafe: releasing the GIL around those waits.
#![allow(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    ptr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
};

use asyncoro::AsynCoro;
use pyo3::{exceptions::PyRuntimeError, ffi, prelude::*};

use crate::{gil::Gil, hooks, watcher};

/// The handle of the running scheduler, and how it is stopped.
struct Running {
    handle: AsynCoro,
    stop: Option<Waker>,
    stopping: bool,
}

static RUNNING: Gil<RefCell<Option<Running>>> = Gil::new(RefCell::new(None));

/// Whether the scheduler waits for the kernel; changed and read with the GIL held.
static WAITS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is the scheduler's.
    static HERE: Cell<bool> = const { Cell::new(false) };
    /// The thread state that was saved when the GIL was released.
    static SAVED: Cell<*mut ffi::PyThreadState> = const { Cell::new(ptr::null_mut()) };
}

/// Returns whether this thread is the scheduler's.
pub(crate) fn is_here() -> bool {
    HERE.get()
}

/// Returns whether the scheduler waits for the kernel, so that nothing of it may be touched.
pub(crate) fn waits() -> bool {
    WAITS.load(Ordering::Relaxed)
}

/// Returns whether a scheduler runs and was not told to stop.
#[pyfunction]
pub(crate) fn is_running(py: Python<'_>) -> bool {
    RUNNING.get(py).borrow().as_ref().is_some_and(|running| !running.stopping)
}

/// Spawns a coroutine of the crate on the scheduler, from any thread.
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
    // Cloned out of the cell: a drop in between may call this function again.
    let handle = RUNNING.get(py).borrow().as_ref().map(|running| running.handle.clone());
    let Some(handle) = handle else {
        return Err(PyRuntimeError::new_err("the scheduler's thread has ended at once"));
    };
    let future = Gil::new(future);
    let coroutine = handle.spawn(move || {
        // SAFETY: the scheduler calls this in the thread in which it polls the future.
        let py = unsafe { crate::gil::held() };
        future.into_inner(py)
    });
    drop(coroutine);
    Ok(())
}

/// Runs the scheduler in this thread until [`stop`]; calls `started` once it takes requests.
#[pyfunction]
pub(crate) fn serve(py: Python<'_>, started: &Bound<'_, PyAny>) -> PyResult<()> {
    let watch = Arc::new(watcher::Watch::new());
    let (queued, sent) = (Arc::clone(&watch), Arc::clone(&watch));
    let builder = AsynCoro::builder()
        .around_waits(let_go, take_back)
        .around_queueing(move || queued.queued(), move || sent.sent());
    let scheduler = Rc::new(builder.build()?);
    watcher::start(py, Rc::clone(&scheduler), watch)?;
    let running = Running { handle: scheduler.handle(), stop: None, stopping: false };
    RUNNING.get(py).replace(Some(running));
    HERE.set(true);
    let started = started.call0();
    if started.is_ok() {
        scheduler.run_until(stopped());
    }
    watcher::stop(py);
    drop(scheduler);
    HERE.set(false);
    RUNNING.get(py).replace(None);
    started.map(drop)
}

/// Tells the scheduler to end; its thread ends soon after.
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
        // SAFETY: only the scheduler polls it.
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

/// Forgets the scheduler in the child of a fork: it is the parent's.
#[pyfunction]
pub(crate) fn after_fork(py: Python<'_>) {
    if let Some(running) = RUNNING.get(py).take() {
        std::mem::forget(running);
    }
    HERE.set(false);
    WAITS.store(false, Ordering::Relaxed);
    watcher::forget(py);
    crate::registry::forget(py);
}

/// Returns whether the calling thread is the scheduler's.
#[pyfunction]
pub(crate) fn in_scheduler() -> bool {
    is_here()
}

fn let_go() {
    WAITS.store(true, Ordering::Relaxed);
    // SAFETY: this thread holds the GIL, and runs nothing of Python's until it is taken back.
    SAVED.set(unsafe { ffi::PyEval_SaveThread() });
}

fn take_back() {
    // SAFETY: `let_go` saved the state, and it is restored once.
    unsafe { ffi::PyEval_RestoreThread(SAVED.replace(ptr::null_mut())) };
    WAITS.store(false, Ordering::Relaxed);
}
