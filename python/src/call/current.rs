//! The coroutine that runs in this thread, and the context that its calls are polled with.
//!
//! Unsafe: the frame and the context of a running coroutine, reached from the calls it awaits.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
    task::Context,
};

use pyo3::{exceptions::PyRuntimeError, ffi, prelude::*};

use crate::{
    gil::{Gil, py},
    guest,
};

/// The part of a coroutine that its calls use.
pub(crate) struct Frame {
    /// The coroutine, a `Coro`.
    coro: Py<PyAny>,
    /// The address of what is in it.
    key: usize,
    /// The task of asyncio's that runs the coroutine, if one does; not a reference.
    task: Cell<*mut ffi::PyObject>,
    /// Counts the calls of this resume that were awaited.
    in_a_row: Cell<u32>,
    /// The number of the step that runs, or ran last; 0 before the first one.
    step: Cell<u64>,
    /// The context that the coroutine is polled with; null while it is not.
    context: Cell<*const ()>,
}

/// Counts the steps of all coroutines.
static STEPS: Gil<Cell<u64>> = Gil::new(Cell::new(0));

/// The most awaited calls that are done at once before other coroutines run.
const GREEDY: u32 = 256;

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
    /// Makes the one of a coroutine, in which is what has the address `key`.
    pub(crate) fn new(coro: Py<PyAny>, key: usize) -> Frame {
        Frame {
            coro,
            key,
            task: Cell::new(ptr::null_mut()),
            in_a_row: Cell::new(0),
            step: Cell::new(0),
            context: Cell::new(ptr::null()),
        }
    }

    /// Runs `f`, a step of the coroutine, with this frame as the current one.
    pub(crate) fn enter<R>(&self, cx: &mut Context<'_>, f: impl FnOnce() -> R) -> R {
        let steps = STEPS.get(py());
        steps.set(steps.get() + 1);
        self.step.set(steps.get());
        let context = self.context.replace(ptr::from_mut(cx).cast_const().cast());
        let outer = CURRENT.replace(ptr::from_ref(self));
        let _left = Left { frame: self, context, outer };
        f()
    }

    /// Notes which task of asyncio's runs the coroutine, while it does.
    pub(crate) fn set_task(&self, task: Option<&Bound<'_, PyAny>>) {
        self.task.set(task.map_or(ptr::null_mut(), |task| task.as_ptr()));
    }

    /// Returns whether another task of asyncio's runs within a step of this coroutine: one that was
    /// started eagerly, as from Python 3.12 on is possible.
    #[inline]
    pub(super) fn is_covered(&self, py: Python<'_>) -> bool {
        cfg!(Py_3_12) && !self.task.get().is_null() && {
            let current =
                guest::running_loop(py).and_then(|running| guest::current_task(py, &running));
            current.is_some_and(|current| current.as_ptr() != self.task.get())
        }
    }

    /// Notes that a resume of the coroutine begins: the others have run.
    pub(crate) fn begin_resume(&self) {
        self.in_a_row.set(0);
    }

    /// Returns the number of the step that runs, or ran last.
    pub(super) fn step(&self) -> u64 {
        self.step.get()
    }

    /// Counts a call that is awaited; `true` if other coroutines must run first.
    pub(super) fn is_greedy(&self) -> bool {
        let count = self.in_a_row.get() + 1;
        self.in_a_row.set(count);
        count >= GREEDY
    }

    /// Calls `f` with the context that the coroutine is polled with.
    pub(super) fn with_context<R>(&self, f: impl FnOnce(&mut Context<'_>) -> R) -> R {
        // Nobody else uses it meanwhile.
        let context = self.context.replace(ptr::null());
        assert!(!context.is_null(), "a call is started or polled inside of another one");
        let _back = Back { frame: self, context };
        // SAFETY: `enter` has set the context, which it borrows until it returns.
        f(unsafe { &mut *context.cast_mut().cast::<Context<'_>>() })
    }

    /// Returns whether the context is in use, by a call that is being started or polled.
    pub(super) fn is_polling(&self) -> bool {
        self.context.get().is_null()
    }
}

/// Puts the context back, also after a panic.
struct Back<'a> {
    frame: &'a Frame,
    context: *const (),
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        self.frame.context.set(self.context);
    }
}

/// Calls `f` with the frame of the coroutine that runs in this thread, if one does.
pub(super) fn with_current<R>(f: impl FnOnce(&Frame) -> R) -> Option<R> {
    let frame = CURRENT.get();
    // SAFETY: `enter` sets it for as long as the frame is borrowed.
    (!frame.is_null()).then(|| f(unsafe { &*frame }))
}

/// Returns whether the coroutine that runs in this thread is the one in which `key` is.
pub(crate) fn is_current(key: usize) -> bool {
    with_current(|frame| frame.key == key).unwrap_or(false)
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

/// Who starts a call.
#[derive(Clone, Copy)]
struct Starter {
    /// The frame of the coroutine; null if it is nobody, or a task of asyncio's.
    frame: *const Frame,
    /// Whether it waits for this call alone.
    alone: bool,
}

impl Starter {
    const NOBODY: Starter = Starter { frame: ptr::null(), alone: false };

    fn coro(self, py: Python<'_>) -> Option<Py<PyAny>> {
        // SAFETY: `starting` sets it for as long as the frame is borrowed.
        (!self.frame.is_null()).then(|| unsafe { &*self.frame }.coro.clone_ref(py))
    }
}

thread_local! {
    /// Who starts a call, meanwhile.
    static STARTER: Cell<Starter> = const { Cell::new(Starter::NOBODY) };
}

/// Calls `f` with that starter, and restores the one before, also after a panic.
#[inline]
fn with_starter<R>(starter: Starter, f: impl FnOnce() -> R) -> R {
    struct Over(Starter);
    impl Drop for Over {
        fn drop(&mut self) {
            STARTER.set(self.0);
        }
    }
    let _over = Over(STARTER.replace(starter));
    f()
}

impl Frame {
    /// Runs `f`, which starts a call.
    #[inline]
    pub(super) fn starting<R>(&self, f: impl FnOnce() -> R) -> R {
        with_starter(Starter { frame: ptr::from_ref(self), alone: true }, f)
    }
}

/// Calls `f`, in which the start of a call counts as nobody's: a task of asyncio's awaits it.
pub(super) fn for_nobody<R>(f: impl FnOnce() -> R) -> R {
    with_starter(Starter::NOBODY, f)
}

/// Calls `f`, in which calls are started of which the first one counts.
pub(super) fn among_others<R>(f: impl FnOnce() -> R) -> R {
    with_starter(Starter { alone: false, ..STARTER.get() }, f)
}

/// Returns the coroutine that starts a call now, and waits for that alone.
pub(crate) fn starter(py: Python<'_>) -> Option<Py<PyAny>> {
    let starter = STARTER.get();
    starter.coro(py).filter(|_| starter.alone)
}

/// Returns the coroutine that starts a call now, perhaps among others.
#[inline]
pub(crate) fn on_behalf(py: Python<'_>) -> Option<Py<PyAny>> {
    STARTER.get().coro(py)
}

/// Returns the coroutine that runs in this thread.
pub(crate) fn current_coro(py: Python<'_>) -> Option<Py<PyAny>> {
    with_current(|frame| frame.coro.clone_ref(py))
}

/// Returns the coroutine that makes a call in this thread now; `None` also if a task of asyncio's
/// does so within its step.
#[inline]
pub(crate) fn maker(py: Python<'_>) -> Option<Py<PyAny>> {
    with_current(|frame| (!frame.is_covered(py)).then(|| frame.coro.clone_ref(py))).flatten()
}
