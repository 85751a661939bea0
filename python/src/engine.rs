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
    task::{Poll, Waker},
    time::Duration,
};

use asyncoro::AsynCoro;
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    ffi,
    prelude::*,
};

use crate::{call, context, error::raised, gil::Gil, hooks, log, registry};

/// The handle of the running scheduler, and how it is stopped.
struct Running {
    handle: AsynCoro,
    stop: Option<Waker>,
    stopping: bool,
}

static RUNNING: Gil<RefCell<Option<Running>>> = Gil::new(RefCell::new(None));

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
    let scheduler = AsynCoro::builder().around_waits(let_go, take_back).build();
    let scheduler = scheduler.map_err(|error| raised(py, &error))?;
    let running = Running { handle: scheduler.handle(), stop: None, stopping: false };
    RUNNING.get(py).replace(Some(running));
    HERE.set(true);
    started.call0()?;
    scheduler.run_until(stopped());
    drop(scheduler);
    context::leave(py);
    log::pass_on(py, None);
    HERE.set(false);
    RUNNING.get(py).replace(None);
    Ok(())
}

/// The longest time for the clean-up of coroutines that were terminated.
static DRAIN: Gil<Cell<Duration>> = Gil::new(Cell::new(Duration::from_secs(1)));

/// Returns the longest time for the clean-up of a coroutine that was terminated.
pub(crate) fn drain(py: Python<'_>) -> Duration {
    DRAIN.get(py).get()
}

/// Sets that time, in seconds.
#[pyfunction]
pub(crate) fn set_drain(py: Python<'_>, seconds: f64) -> PyResult<()> {
    let limit = Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err("the drain time is a number of seconds"))?;
    DRAIN.get(py).set(limit);
    Ok(())
}

/// Returns that time in seconds.
#[pyfunction]
pub(crate) fn get_drain(py: Python<'_>) -> f64 {
    drain(py).as_secs_f64()
}

/// How much longer than the drain time the scheduler waits: coroutines end themselves after that.
const MORE: Duration = Duration::from_millis(250);

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

/// Waits until [`stop`], and then until all coroutines have ended, for the drain time at most.
/// Passes lines of the log on meanwhile.
async fn stopped() {
    poll_fn(|cx| {
        let py = call::py();
        log::pass_on(py, Some(cx.waker()));
        match &mut *RUNNING.get(py).borrow_mut() {
            Some(running) if !running.stopping => {
                running.stop = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    })
    .await;
    let ended = poll_fn(|cx| {
        log::pass_on(call::py(), Some(cx.waker()));
        registry::poll_empty(call::py(), cx)
    });
    let _ = asyncoro::time::timeout(drain(call::py()) + MORE, ended).await;
}

/// Forgets the scheduler in the child of a fork: it is the parent's.
#[pyfunction]
pub(crate) fn after_fork(py: Python<'_>) {
    if let Some(running) = RUNNING.get(py).take() {
        std::mem::forget(running);
    }
    log::after_fork();
    HERE.set(false);
    context::forget(py);
    registry::forget(py);
}

/// Returns whether the calling thread is the scheduler's.
#[pyfunction]
pub(crate) fn in_scheduler() -> bool {
    is_here()
}

fn let_go() {
    // SAFETY: this thread holds the GIL, and runs nothing of Python's until it is taken back.
    SAVED.set(unsafe { ffi::PyEval_SaveThread() });
}

fn take_back() {
    // SAFETY: `let_go` saved the state, and it is restored once.
    unsafe { ffi::PyEval_RestoreThread(SAVED.replace(ptr::null_mut())) };
}
