//! Makes the calls of coroutines: each is tried at once, its result is stored with the coroutine,
//! and `yield` or `await` of one shared marker fetches it.
//!
//! A call stores its result with the coroutine, or its future if it has to wait (`place.rs`). One
//! that waits for what the coroutine itself keeps, a message say, stores only that it waits
//! (`Wait`). The marker is the same object for all calls and stands for the last one. So a
//! coroutine has one call at a time, which [`start`] and [`Frame::take`] check.
//!
//! Unsafe: the frame and the context that a coroutine runs with, reached from the calls it makes.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
    task::{Context, Poll},
};

use pyo3::{
    exceptions::{PyBaseException, PyRuntimeError},
    prelude::*,
};

use crate::{
    coro::{Coro, Wait},
    gil,
    once::Once,
    place::Place,
};

/// The result of a call.
pub(crate) type Outcome = PyResult<Py<PyAny>>;

/// An outcome in two machine words, as it is stored and as a generator is resumed with it.
pub(crate) type Given = Result<Py<PyAny>, Py<PyBaseException>>;

pub(crate) fn given(outcome: Outcome) -> Given {
    outcome.map_err(|error| error.into_value(py()))
}

/// The part of a coroutine that its calls use.
pub(crate) struct Frame {
    pub(crate) coro: Py<Coro>,
    /// The future of a call that waits, or a result that was not fetched yet.
    place: Place,
    /// Whether the call waits for what the coroutine keeps.
    bare: Cell<bool>,
    /// Whether the call that waits was polled in this resume.
    fresh: Cell<bool>,
    /// Whether the call was awaited, and will be resumed with its value.
    awaited: Cell<bool>,
    /// Counts the calls of this resume that were awaited and done at once.
    in_a_row: Cell<u32>,
    /// The context that the coroutine is polled with; null while it is not.
    context: Cell<*const ()>,
}

thread_local! {
    static CURRENT: Cell<*const Frame> = const { Cell::new(ptr::null()) };
}

/// Restores what [`Frame::enter`] replaced, also after a panic: the frame may be gone after that.
struct Left<'a> {
    frame: &'a Frame,
    context: *const (),
    outer: *const Frame,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        self.frame.context.set(self.context);
    }
}

impl Frame {
    pub(crate) fn new(coro: Py<Coro>) -> Frame {
        Frame {
            coro,
            place: Place::new(),
            bare: Cell::new(false),
            fresh: Cell::new(false),
            awaited: Cell::new(false),
            in_a_row: Cell::new(0),
            context: Cell::new(ptr::null()),
        }
    }

    /// Runs `f` with this frame as the current one.
    pub(crate) fn enter<R>(&self, cx: &mut Context<'_>, f: impl FnOnce() -> R) -> R {
        let context = self.context.replace(ptr::from_mut(cx).cast_const().cast());
        let outer = CURRENT.replace(ptr::from_ref(self));
        let _left = Left { frame: self, context, outer };
        f()
    }

    /// Takes the result of the last call; `None` while it waits.
    pub(crate) fn take(&self, cx: &mut Context<'_>) -> Option<Given> {
        let given = match self.take_at_once() {
            Some(given) => Some(given),
            None if self.bare.get() => None,
            None if self.place.is_empty() => Some(given(Err(stale()))),
            None if self.fresh.replace(false) => None,
            None => self.place.poll_future(cx),
        };
        if matches!(given, Some(Err(_))) {
            self.awaited.set(false);
        }
        given
    }

    /// Notes that a resume of the coroutine begins: the others have run.
    pub(crate) fn begin_resume(&self) {
        self.in_a_row.set(0);
        self.fresh.set(false);
    }

    /// Returns whether so many calls were done at once that other coroutines must run.
    pub(crate) fn is_greedy(&self) -> bool {
        self.in_a_row.get() >= GREEDY
    }

    /// Drops the call; `true` if there was one.
    pub(crate) fn clear(&self) -> bool {
        self.fresh.set(false);
        self.awaited.set(false);
        let was_bare = self.bare.get();
        if was_bare {
            self.stop_waiting();
        }
        self.place.clear() || was_bare
    }

    /// Stores the result of a call. Making an exception of it may have run any code, and with it
    /// another call, which is dropped.
    fn leave(&self, given: Given) {
        self.clear();
        self.place.leave(given);
    }

    /// Takes the result if it is there without waiting.
    fn take_at_once(&self) -> Option<Given> {
        match self.place.take_left() {
            None if self.bare.get() => self.take_kept().map(Ok),
            left => left,
        }
    }

    /// Takes what the coroutine waits for and keeps itself, if that is there.
    fn take_kept(&self) -> Option<Py<PyAny>> {
        let kept = self.coro.get().take_kept(py())?;
        self.stop_waiting();
        Some(kept)
    }

    fn stop_waiting(&self) {
        self.bare.set(false);
        self.coro.get().wait_for(py(), Wait::Nothing);
    }
}

/// The most awaited calls that are done at once before other coroutines run.
const GREEDY: u32 = 256;

fn stale() -> PyErr {
    PyRuntimeError::new_err(
        "this was yielded or awaited before, or belongs to another coroutine: each call is \
         yielded once, by the coroutine that made it",
    )
}

/// Calls `f` with the frame of the coroutine that runs in this thread, if one does.
pub(crate) fn with_current<R>(f: impl FnOnce(&Frame) -> R) -> Option<R> {
    let frame = CURRENT.get();
    // SAFETY: `enter` sets it for as long as the frame is borrowed.
    (!frame.is_null()).then(|| f(unsafe { &*frame }))
}

/// The frame of the coroutine that has forked, in the child.
static FORKED: AtomicPtr<Frame> = AtomicPtr::new(ptr::null_mut());

/// Notes, in the child of a fork, which coroutine has made it, if one has.
pub(crate) fn note_fork() {
    FORKED.store(CURRENT.get().cast_mut(), Ordering::Relaxed);
}

impl Frame {
    /// Returns whether this is the child of a fork that this coroutine has made.
    #[inline]
    pub(crate) fn has_forked(&self) -> bool {
        ptr::eq(FORKED.load(Ordering::Relaxed), self)
    }
}

/// Returns whether this was asked before.
pub(crate) fn was_told_of_fork() -> bool {
    static TOLD: AtomicBool = AtomicBool::new(false);
    TOLD.swap(true, Ordering::Relaxed)
}

/// Returns the error of what a coroutine does in the child of a fork that it has made.
#[cold]
pub(crate) fn forked() -> PyErr {
    PyRuntimeError::new_err(
        "this coroutine has forked, and in the child it cannot go on, since its scheduler is the \
         parent's: end the child with os._exit() before the next `yield` or `await`, or run \
         coroutines of its own in it with asyncoro.run()",
    )
}

/// Returns the coroutine that runs in this thread.
pub(crate) fn current_coro(py: Python<'_>) -> Option<Py<Coro>> {
    with_current(|frame| frame.coro.clone_ref(py))
}

/// Makes a call of the coroutine that runs here; `leave` stores what comes of it.
fn make(py: Python<'_>, verb: &str, leave: impl FnOnce(&Frame)) -> PyResult<Py<PyAny>> {
    let made = with_current(|frame| frame.begin(verb).map(|()| leave(frame)));
    match made {
        Some(made) => made.map(|()| marker(py)),
        None => outside(verb),
    }
}

/// Begins a call: polls `future` at once, and stores it or its result with the coroutine.
pub(crate) fn start<F>(py: Python<'_>, verb: &str, future: F) -> PyResult<Py<PyAny>>
where
    F: Future<Output = Outcome> + 'static,
{
    make(py, verb, |frame| {
        // SAFETY: `enter` has set the context, which it borrows until it returns. Frames that are
        // entered are pinned in their coroutine (`runner.rs`).
        unsafe {
            let cx = &mut *frame.context.get().cast_mut().cast::<Context<'_>>();
            frame.place.start(future, cx);
        }
        frame.fresh.set(true);
    })
}

impl Frame {
    /// Checks that a call may begin; one that was not fetched is dropped, with an error.
    fn begin(&self, verb: &str) -> PyResult<()> {
        if self.has_forked() {
            return Err(forked());
        }
        if self.place.is_busy() {
            let text = format!("{verb}() was called while another call was at work");
            return Err(PyRuntimeError::new_err(text));
        }
        if self.clear() {
            return Err(PyRuntimeError::new_err(format!(
                "{verb}() was called before the call before it was yielded or awaited, which is \
                 given up"
            )));
        }
        Ok(())
    }
}

/// Returns whether a coroutine runs in this thread.
pub(crate) fn is_inside() -> bool {
    !CURRENT.get().is_null()
}

/// Returns the error of a call that no coroutine makes.
pub(crate) fn outside(verb: &str) -> PyResult<Py<PyAny>> {
    Err(PyRuntimeError::new_err(format!(
        "{verb}() of an asynchronous socket or coroutine is for coroutines: `yield` or `await` it \
         in one, or use AsyncSocket(sock, blocking=True) in a thread"
    )))
}

/// Makes a call whose result is already known.
pub(crate) fn done(py: Python<'_>, verb: &str, outcome: Outcome) -> PyResult<Py<PyAny>> {
    make(py, verb, |frame| frame.leave(given(outcome)))
}

/// Makes a call if `attempt` completes it at once; else `None`, and nothing has happened.
pub(crate) fn now(
    py: Python<'_>,
    verb: &str,
    attempt: impl FnOnce() -> Option<Outcome>,
) -> PyResult<Option<Py<PyAny>>> {
    let begun = with_current(|frame| {
        frame.begin(verb)?;
        let Some(outcome) = attempt() else { return Ok(None) };
        frame.leave(given(outcome));
        Ok(Some(marker(py)))
    });
    begun.unwrap_or_else(|| outside(verb).map(Some))
}

/// Begins a wait without a timeout for what the coroutine itself keeps.
pub(crate) fn wait(py: Python<'_>, verb: &str, what: Wait) -> PyResult<Py<PyAny>> {
    make(py, verb, |frame| {
        frame.coro.get().wait_for(py, what);
        frame.bare.set(true);
    })
}

/// The result of resuming an awaited marker.
#[cfg(all(Py_3_10, not(Py_3_12)))]
pub(crate) enum Sent {
    /// The call is not done, or other coroutines must run.
    Waits,
    /// The call is done, and the marker was resumed with its value.
    Resumed,
    Done(Given),
}

/// Resumes the marker that the coroutine of this thread awaits.
#[cfg(all(Py_3_10, not(Py_3_12)))]
pub(crate) fn sent(py: Python<'_>) -> Sent {
    let sent = with_current(|frame| {
        if frame.awaited.replace(false) {
            return Sent::Resumed;
        }
        if !frame.is_greedy()
            && let Some(given) = frame.take_at_once()
        {
            frame.in_a_row.set(frame.in_a_row.get() + 1);
            return Sent::Done(given);
        }
        frame.awaited.set(true);
        Sent::Waits
    });
    sent.unwrap_or_else(|| {
        let text = "await and `yield from` a call of asyncoro in the coroutine that makes it";
        Sent::Done(Err(PyRuntimeError::new_err(text).into_value(py)))
    })
}

/// A future that keeps an object alive.
pub(crate) struct Keeping<F> {
    future: F,
    _object: Py<PyAny>,
}

impl<F> Keeping<F> {
    pub(crate) fn new(future: F, object: Py<PyAny>) -> Keeping<F> {
        Keeping { future, _object: object }
    }
}

impl<F: Future> Future for Keeping<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future is pinned with this wrapper, and never moved out.
        unsafe { self.map_unchecked_mut(|keeping| &mut keeping.future) }.poll(cx)
    }
}

static MARKER: Once = Once::new();

/// Returns the marker, made at the first use.
pub(crate) fn marker(py: Python<'_>) -> Py<PyAny> {
    let marker = MARKER.get_or_make(py, || make_marker(py)).expect("there is memory");
    marker.clone().unbind()
}

#[cfg(all(Py_3_10, not(Py_3_12)))]
fn make_marker(py: Python<'_>) -> PyResult<Py<PyAny>> {
    crate::awaiting::make(py)
}

#[cfg(not(all(Py_3_10, not(Py_3_12))))]
fn make_marker(py: Python<'_>) -> PyResult<Py<PyAny>> {
    Ok(Py::new(py, Call)?.into_any())
}

/// Returns whether an object is the marker.
pub(crate) fn is_marker(py: Python<'_>, object: &Py<PyAny>) -> bool {
    MARKER.get(py).is_some_and(|marker| marker.as_ptr() == object.as_ptr())
}

/// The result of a verb, to be yielded or awaited.
#[pyclass(frozen, module = "asyncoro")]
pub(crate) struct Call;

#[pymethods]
impl Call {
    fn __await__(slf: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        static AWAITING: Once = Once::new();
        let awaiting =
            AWAITING.get_or_make(py, || crate::hooks::hook(py, "awaiting").map(Bound::unbind))?;
        awaiting.call1((slf,))
    }

    /// Serves `yield from call`.
    fn __iter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Call::__await__(slf, py)
    }

    fn __repr__(&self) -> &'static str {
        "<asyncoro call: yield or await it>"
    }
}

/// Returns the token of the GIL inside a call's future.
pub(crate) fn py<'py>() -> Python<'py> {
    // SAFETY: calls are polled and dropped by the scheduler.
    unsafe { gil::held() }
}
