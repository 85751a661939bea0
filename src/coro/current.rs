//! The scheduler that runs on this thread, if any.
//!
//! What coroutines ask of their scheduler finds it here; their wakes need less of it, and find that
//! in `local.rs`.
//!
//! Unsafe: a thread-local pointer instead of a counted reference, since each verb looks here. It is
//! valid while [`Entered`] lives, which holds a counted reference itself and takes the pointer back
//! when it is dropped. The same reference keeps what `local.rs` points to.
#![allow(unsafe_code)]

use std::{cell::Cell, ptr, rc::Rc, sync::atomic::AtomicBool};

use super::{engine::Engine, local};
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

/// While it lives, `engine` is this thread's scheduler; then the one before is again.
pub(super) struct Entered {
    /// Before the reference that keeps what it points to.
    _wakes: local::Entered,
    engine: Rc<Engine>,
    before: *const Engine,
}

/// Makes `engine` this thread's running scheduler.
pub(super) fn enter(engine: &Rc<Engine>) -> Entered {
    forget_in_children();
    let engine = Rc::clone(engine);
    let before = CURRENT.replace(Rc::as_ptr(&engine));
    // SAFETY: the guard below holds a reference to the engine, which holds what wakes look at, and
    // drops it after the guard that is made here; guards are locals of the frames named in `with`,
    // which are left in the opposite order.
    let wakes = unsafe { local::enter(&engine.run.local) };
    Entered { _wakes: wakes, engine, before }
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
fn forget_in_children() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    fork::in_each_child(&REGISTERED, forget);
}

extern "C" fn forget() {
    CURRENT.set(ptr::null());
    local::forget();
}
