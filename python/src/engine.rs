//! The schedulers: the one of this process, and those that are guests of asyncio's loops.
//!
//! `asyncoro/_scheduler.py` starts the thread of the process's with the first coroutine; the thread
//! runs it (`serve.rs`). It holds the GIL while there is work, and releases it only around waits:
//! to release and take it for each request costs more than the request when other threads want it.
//! A guest (`guest/`) has no thread of its own. Each scheduler has a number, its *home*, by which
//! sockets and coroutines know theirs.
//!
//! Unsafe: releasing the GIL around those waits, and an exception raised in another thread.
#![allow(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
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
    home: Home,
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
    /// The home of what is made in this thread.
    static HERE: Cell<Home> = const { Cell::new(Home(0)) };
    /// Whether it is that of the process's scheduler.
    static SERVES: Cell<bool> = const { Cell::new(false) };
    /// Whether that scheduler is entered.
    static ENTERED: Cell<bool> = const { Cell::new(false) };
    /// The thread state that was saved when the GIL was released.
    static SAVED: Cell<*mut ffi::PyThreadState> = const { Cell::new(ptr::null_mut()) };
}

/// The number of a scheduler.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Home(u32);

impl Home {
    /// No scheduler's.
    pub(crate) const NONE: Home = Home(0);

    /// Returns a number that no other scheduler has.
    pub(crate) fn new(py: Python<'_>) -> Home {
        static LAST: Gil<Cell<u32>> = Gil::new(Cell::new(0));
        let last = LAST.get(py);
        last.set(last.get().checked_add(1).expect("nobody makes so many"));
        Home(last.get())
    }

    /// Returns whether it is this thread's.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self == HERE.get() && self != Home::NONE
    }

    /// Returns whether the scheduler has not ended, though it may be ending.
    pub(crate) fn exists(self, py: Python<'_>) -> bool {
        RUNNING.get(py).borrow().as_ref().is_some_and(|running| running.home == self)
            || GUESTS.get(py).borrow().contains_key(&self)
    }
}

/// The handles of the schedulers that are guests.
static GUESTS: Gil<RefCell<BTreeMap<Home, AsynCoro>>> = Gil::new(RefCell::new(BTreeMap::new()));

/// Adds a guest, with a home of its own.
pub(crate) fn add_guest(py: Python<'_>, handle: AsynCoro) -> Home {
    let home = Home::new(py);
    GUESTS.get(py).borrow_mut().insert(home, handle);
    home
}

/// Removes a guest that has ended.
pub(crate) fn remove_guest(py: Python<'_>, home: Home) {
    let handle = GUESTS.get(py).borrow_mut().remove(&home);
    drop(handle);
    if HERE.get() == home {
        HERE.set(Home::NONE);
    }
}

/// Makes a guest the scheduler of this thread.
pub(crate) fn stay(home: Home) {
    HERE.set(home);
}

/// Calls `f`, in which the scheduler of this thread is entered.
pub(crate) fn entered<R>(f: impl FnOnce() -> R) -> R {
    struct Left(bool);
    impl Drop for Left {
        fn drop(&mut self) {
            ENTERED.set(self.0);
        }
    }
    let _left = Left(ENTERED.replace(true));
    f()
}

/// Returns whether the scheduler of this thread is entered.
#[inline]
pub(crate) fn is_entered() -> bool {
    ENTERED.get()
}

/// Returns the home of what is made in this thread.
#[inline]
pub(crate) fn here() -> Home {
    HERE.get()
}

/// Returns whether this thread has a scheduler.
pub(crate) fn is_here() -> bool {
    HERE.get() != Home::NONE
}

/// Returns whether this thread is that of the process's scheduler.
fn is_own() -> bool {
    SERVES.get()
}

/// Returns whether a scheduler waits for the kernel, so that nothing of it may be touched. A guest
/// does so in its loop, and has nothing borrowed then.
pub(crate) fn waits(py: Python<'_>, which: Home) -> bool {
    WAITING.get(py).get() && which == home(py)
}

/// Returns whether a scheduler runs and was not told to stop.
#[pyfunction]
pub(crate) fn is_running(py: Python<'_>) -> bool {
    RUNNING.get(py).borrow().as_ref().is_some_and(|running| !running.stopping)
}

/// Spawns a coroutine of the crate on the scheduler that is entered in this thread, else on the
/// process's, which is started if need be: a loop whose guest was used here before, and that does
/// not run now, would not resume it.
pub(crate) fn spawn<F>(py: Python<'_>, future: F) -> PyResult<()>
where
    F: Future<Output = ()> + 'static,
{
    if ENTERED.get() {
        drop(asyncoro::spawn(future));
        return Ok(());
    }
    if !is_running(py) {
        hooks::start_scheduler(py)?;
    }
    if hand_over(py, home(py), future) {
        return Ok(());
    }
    Err(PyRuntimeError::new_err("the scheduler's thread has ended at once"))
}

/// Spawns a coroutine of the crate on a scheduler; one that has ended drops it.
pub(crate) fn spawn_at<F>(py: Python<'_>, home: Home, future: F)
where
    F: Future<Output = ()> + 'static,
{
    if ENTERED.get() && home.is_here() {
        drop(asyncoro::spawn(future));
    } else {
        hand_over(py, home, future);
    }
}

/// Returns the home of the process's scheduler.
pub(crate) fn home(py: Python<'_>) -> Home {
    RUNNING.get(py).borrow().as_ref().map_or(Home::NONE, |running| running.home)
}

/// Gives a coroutine of the crate to a scheduler that runs or ends in another thread; `false` if
/// there is none. One that ends drops it, in its own thread.
pub(crate) fn hand_over<F>(py: Python<'_>, home: Home, future: F) -> bool
where
    F: Future<Output = ()> + 'static,
{
    // Cloned out of the cell: a drop in between may call this function again.
    let own = RUNNING.get(py).borrow();
    let handle = own.as_ref().filter(|own| own.home == home).map(|running| running.handle.clone());
    drop(own);
    let handle = handle.or_else(|| GUESTS.get(py).borrow().get(&home).cloned());
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
pub(crate) struct Serving {
    home: Home,
    thread: c_ulong,
    /// Another one of this thread, in whose loop it was started.
    outer: Home,
    outer_is_entered: bool,
}

impl Serving {
    /// Makes this thread the one of the scheduler with that handle. `in_call` tells that it runs in
    /// a call of `run`, which raises the KeyboardInterrupt of any coroutine.
    pub(crate) fn begin(py: Python<'_>, handle: AsynCoro, in_call: bool) -> Serving {
        exiting::guard();
        // SAFETY: it may be called at any time.
        let thread = unsafe { ffi::PyThread_get_thread_ident() };
        let home = Home::new(py);
        RUNNING.get(py).replace(Some(Running {
            home,
            handle,
            stop: None,
            stopping: false,
            ends_idle: false,
            thread,
            in_call,
            interrupted: None,
        }));
        SERVES.set(true);
        let (outer, outer_is_entered) = (HERE.replace(home), ENTERED.replace(true));
        Serving { home, thread, outer, outer_is_entered }
    }

    pub(crate) fn home(&self) -> Home {
        self.home
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
        unsafe { ffi::PyThreadState_SetAsyncExc(self.thread as _, ptr::null_mut()) };
        SERVES.set(false);
        HERE.set(self.outer);
        ENTERED.set(self.outer_is_entered);
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
    // Not even dropped: their descriptors, too, are the parent's.
    std::mem::forget(GUESTS.get(py).take());
    SERVES.set(false);
    HERE.set(Home::NONE);
    ENTERED.set(false);
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

/// Returns whether the calling thread is that of the process's scheduler.
#[pyfunction]
pub(crate) fn in_scheduler() -> bool {
    is_own()
}

/// Lets go of the GIL for a wait of the process's scheduler, in its thread.
pub(crate) fn let_go() {
    // SAFETY: this thread holds the GIL.
    WAITING.get(unsafe { held() }).set(true);
    let_go_of_gil();
}

/// Takes the GIL back after a wait.
pub(crate) fn take_back() {
    take_gil_back();
    // SAFETY: it was taken just now.
    WAITING.get(unsafe { held() }).set(false);
}

/// Lets go of the GIL for a wait of a scheduler, in its thread.
pub(crate) fn let_go_of_gil() {
    // SAFETY: this thread holds the GIL, and runs nothing of Python's until it is taken back.
    SAVED.set(unsafe { ffi::PyEval_SaveThread() });
}

/// Takes the GIL back after that.
pub(crate) fn take_gil_back() {
    // SAFETY: `let_go_of_gil` saved the state, and it is restored once.
    unsafe { exiting::take_back(SAVED.replace(ptr::null_mut())) };
}
