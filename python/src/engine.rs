//! The scheduler of this process: who runs it, its thread and the GIL, and requests to it.
//!
//! `asyncoro/_scheduler.py` starts its thread with the first coroutine; the thread runs it
//! (`serve.rs`). It holds the GIL while there is work, and releases it only around waits: to
//! release and take it for each request costs more than the request when other threads want it.
//!
//! Unsafe: releasing the GIL around those waits, and an exception raised in another thread.
#![allow(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    ffi::c_ulong,
    future::Future,
    ptr,
    task::{Context, Poll, Waker},
    time::Duration,
};

use asyncoro::AsynCoro;
use pyo3::{
    exceptions::{
        PyBaseException, PyImportError, PyKeyboardInterrupt, PyRuntimeError, PyValueError,
    },
    ffi,
    prelude::*,
    types::PyType,
};

use crate::{
    exiting,
    gil::{Gil, held},
    hooks,
};

/// The handle of the scheduler, until it has ended, and how it is stopped.
struct Running {
    handle: AsynCoro,
    stop: Option<Waker>,
    /// It ends: it takes no coroutine any more, but sockets that end with it.
    stopping: bool,
    /// It ends when no coroutine keeps it any more.
    ends_idle: bool,
    thread: c_ulong,
    /// Whether it runs in a call of `run`, which raises the KeyboardInterrupt of any coroutine.
    in_call: bool,
    interrupted: Option<PyErr>,
}

static RUNNING: Gil<RefCell<Option<Running>>> = Gil::new(RefCell::new(None));

/// Whether the scheduler waits, and no code of Python's runs in its thread.
static WAITING: Gil<Cell<bool>> = Gil::new(Cell::new(false));

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
pub(crate) fn waits(py: Python<'_>) -> bool {
    WAITING.get(py).get()
}

/// Returns whether a scheduler runs and was not told to stop.
#[pyfunction]
pub(crate) fn is_running(py: Python<'_>) -> bool {
    RUNNING.get(py).borrow().as_ref().is_some_and(|running| !running.stopping)
}

/// Returns whether a scheduler has not ended, though it may be ending.
pub(crate) fn exists(py: Python<'_>) -> bool {
    RUNNING.get(py).borrow().is_some()
}

/// Spawns a coroutine of the crate on the scheduler, from any thread; starts one if need be.
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
    if hand_over(py, future) {
        return Ok(());
    }
    Err(PyRuntimeError::new_err("the scheduler's thread has ended at once"))
}

/// Gives a coroutine of the crate to the scheduler that runs or ends in another thread; `false` if
/// there is none. One that ends drops it, in its own thread.
pub(crate) fn hand_over<F>(py: Python<'_>, future: F) -> bool
where
    F: Future<Output = ()> + 'static,
{
    // Cloned out of the cell: a drop in between may call this function again.
    let handle = RUNNING.get(py).borrow().as_ref().map(|running| running.handle.clone());
    let Some(handle) = handle else { return false };
    let future = Gil::new(future);
    let coroutine = handle.spawn(move || {
        // SAFETY: the scheduler calls this in the thread in which it polls the future.
        let py = unsafe { held() };
        future.into_inner(py)
    });
    drop(coroutine);
    true
}

/// The time in which the scheduler runs in this thread.
pub(crate) struct Serving(c_ulong);

impl Serving {
    /// Makes this thread the one of the scheduler with that handle. `in_call` tells that it runs in
    /// a call of `run`, which raises the KeyboardInterrupt of any coroutine.
    pub(crate) fn begin(py: Python<'_>, handle: AsynCoro, in_call: bool) -> Serving {
        exiting::guard();
        // SAFETY: it may be called at any time.
        let thread = unsafe { ffi::PyThread_get_thread_ident() };
        RUNNING.get(py).replace(Some(Running {
            handle,
            stop: None,
            stopping: false,
            ends_idle: false,
            thread,
            in_call,
            interrupted: None,
        }));
        HERE.set(true);
        Serving(thread)
    }

    /// Ends it; returns the KeyboardInterrupt that a coroutine has ended with.
    pub(crate) fn end(self, py: Python<'_>) -> Option<PyErr> {
        RUNNING.get(py).borrow_mut().as_mut().and_then(|running| running.interrupted.take())
    }
}

/// Forgets the scheduler when its thread leaves it.
impl Drop for Serving {
    fn drop(&mut self) {
        // SAFETY: the thread that runs the scheduler drops it, with the GIL.
        let py = unsafe { held() };
        // What was to interrupt a coroutine must not hit what comes after.
        // SAFETY: the GIL is held.
        unsafe { ffi::PyThreadState_SetAsyncExc(self.0 as _, ptr::null_mut()) };
        HERE.set(false);
        drop(RUNNING.get(py).take());
    }
}

/// Is ready once the scheduler was told to stop, or to stop when it `is_idle`.
pub(crate) fn poll_stop(py: Python<'_>, cx: &mut Context<'_>, is_idle: bool) -> Poll<()> {
    match &mut *RUNNING.get(py).borrow_mut() {
        Some(running) => {
            running.stopping |= running.ends_idle && is_idle;
            running.stop = Some(cx.waker().clone());
            if running.stopping { Poll::Ready(()) } else { Poll::Pending }
        }
        None => Poll::Ready(()),
    }
}

/// Forgets the scheduler in the child of a fork: it is the parent's.
pub(crate) fn forget(py: Python<'_>) {
    if let Some(running) = RUNNING.get(py).take() {
        std::mem::forget(running);
    }
    HERE.set(false);
    WAITING.get(py).set(false);
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

/// Raises an exception in the scheduler's thread, unless that waits; `False` if it does.
#[pyfunction]
pub(crate) fn interrupt(py: Python<'_>, kind: &Bound<'_, PyType>) -> bool {
    let thread = RUNNING.get(py).borrow().as_ref().map(|running| running.thread);
    let Some(thread) = thread.filter(|_| !WAITING.get(py).get()) else { return false };
    // SAFETY: the GIL is held; `kind` is an object, to which the thread gets a reference.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread as _, kind.as_ptr()) == 1 }
}

/// Ends the scheduler if it runs in a call of `run`, which raises `error` then: the
/// KeyboardInterrupt that has ended a coroutine. `false` if it does not.
pub(crate) fn interrupted(py: Python<'_>, error: &Py<PyBaseException>) -> bool {
    if !error.bind(py).is_instance_of::<PyKeyboardInterrupt>() {
        return false;
    }
    let error = PyErr::from_value(error.bind(py).clone().into_any());
    let surplus = match &mut *RUNNING.get(py).borrow_mut() {
        Some(running) if running.in_call && running.interrupted.is_none() => {
            running.interrupted = Some(error);
            None
        }
        Some(running) if running.in_call => Some(error),
        _ => return false,
    };
    drop(surplus);
    stop(py);
    true
}

/// Tells the scheduler to end when no coroutine keeps it any more.
#[pyfunction]
pub(crate) fn stop_when_idle(py: Python<'_>) {
    if let Some(running) = &mut *RUNNING.get(py).borrow_mut() {
        running.ends_idle = true;
    }
    tell_idle(py);
}

/// Notes that perhaps no coroutine keeps the scheduler any more.
pub(crate) fn tell_idle(py: Python<'_>) {
    let ends_idle = RUNNING.get(py).borrow().as_ref().is_some_and(|running| running.ends_idle);
    if ends_idle {
        look_at_end(py);
    }
}

/// Makes the scheduler look whether it is to end.
fn look_at_end(py: Python<'_>) {
    let waker = RUNNING.get(py).borrow_mut().as_mut().and_then(|running| running.stop.take());
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Tells the scheduler to end; its thread ends soon after.
#[pyfunction]
pub(crate) fn stop(py: Python<'_>) {
    if let Some(running) = &mut *RUNNING.get(py).borrow_mut() {
        running.stopping = true;
    }
    look_at_end(py);
}

/// Refuses an interpreter other than the main one: threads of the C library's, and what the GIL is
/// taken for, belong to that.
pub(crate) fn refuse_sub_interpreters() -> PyResult<()> {
    // SAFETY: the GIL is held, so that there is a current interpreter.
    let is_main = unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() };
    if is_main {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "asyncoro works in the main interpreter of a process, and not in sub-interpreters: use \
         threads or processes",
    ))
}

/// Returns whether the calling thread is the scheduler's.
#[pyfunction]
pub(crate) fn in_scheduler() -> bool {
    is_here()
}

/// Lets go of the GIL for a wait of the scheduler, in its thread.
pub(crate) fn let_go() {
    // SAFETY: this thread holds the GIL, and runs nothing of Python's until it is taken back.
    unsafe {
        WAITING.get(held()).set(true);
        SAVED.set(ffi::PyEval_SaveThread());
    }
}

/// Takes the GIL back after a wait.
pub(crate) fn take_back() {
    // SAFETY: `let_go` saved the state, and it is restored once.
    unsafe {
        exiting::take_back(SAVED.replace(ptr::null_mut()));
        WAITING.get(held()).set(false);
    }
}
