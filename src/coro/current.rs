//! The scheduler that runs on this thread, if any.
//!
//! Unsafe: a thread-local pointer instead of a counted reference, since each verb looks here. It is
//! valid while [`Entered`] lives, which holds a counted reference itself and takes the pointer back
//! when it is dropped.
#![allow(unsafe_code)]

use std::{cell::Cell, ptr, rc::Rc, sync::atomic::AtomicBool};

use super::{engine::Engine, waker::Key};
use crate::fork;

thread_local! {
    static CURRENT: Cell<*const Engine> = const { Cell::new(ptr::null()) };
}

/// Calls `f` with this thread's running scheduler.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Engine) -> R) -> Option<R> {
    let engine = CURRENT.get();
    if engine.is_null() {
        return None;
    }
    // SAFETY: set by `enter`, whose guard holds a reference for as long as the pointer is here; `f`
    // cannot keep the borrow, nor end the guard: guards are locals of `drive` and
    // `Scheduler::drop`, and no code under `f` can reach one of those frames.
    Some(f(unsafe { &*engine }))
}

/// Calls `f` with this thread's running scheduler.
///
/// # Panics
/// When there is none, naming the call that needs one.
#[track_caller]
#[inline]
pub(crate) fn expect<R>(call: &'static str, f: impl FnOnce(&Engine) -> R) -> R {
    let engine = CURRENT.get();
    if engine.is_null() {
        outside(call);
    }
    // SAFETY: as in `with`.
    f(unsafe { &*engine })
}

#[track_caller]
#[cold]
fn outside(call: &'static str) -> ! {
    panic!(
        "{call} needs a running scheduler on this thread: call it inside `asyncoro::run(async \
         {{ ... }})` or in a coroutine, or use BlockingSocket in plain threads"
    )
}

/// Wakes the coroutine that runs on this thread, if the word is its waker's.
#[inline]
pub(super) fn wake_running(word: usize) -> bool {
    with(|engine| engine.wake_running(word)).unwrap_or(false)
}

/// Wakes another coroutine of this thread's scheduler; `false` if it is another one's.
#[inline]
pub(super) fn wake_other(key: Key) -> bool {
    with(|engine| engine.wake_other(key)).unwrap_or(false)
}

/// While it lives, `engine` is this thread's scheduler; then the one before is again.
pub(super) struct Entered {
    engine: Rc<Engine>,
    before: *const Engine,
}

/// Makes `engine` this thread's running scheduler.
pub(super) fn enter(engine: &Rc<Engine>) -> Entered {
    let engine = Rc::clone(engine);
    let before = CURRENT.replace(Rc::as_ptr(&engine));
    Entered { engine, before }
}

impl Drop for Entered {
    fn drop(&mut self) {
        debug_assert!(
            CURRENT.get().is_null() || ptr::eq(CURRENT.get(), Rc::as_ptr(&self.engine)),
            "schedulers are left in the order they were entered"
        );
        CURRENT.set(self.before);
    }
}

/// Has the child of each fork forget the scheduler, which stays the parent's.
pub(super) fn forget_in_children() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    fork::in_each_child(&REGISTERED, forget);
}

extern "C" fn forget() {
    CURRENT.set(ptr::null());
}
