//! The scheduler that runs on this thread, if any.
//!
//! Calls that need the whole scheduler find it here. Wakes need less, and use `local.rs`.
//!
//! A scheduler is *entered* while its turn is made, or a call on its behalf. One that is the guest
//! of another executor is also *attached* to the thread, between its turns: verbs then find it in
//! the tasks of that executor, too. Wakes do not: they go through the inbox and wake the host.
//!
//! Unsafe: a thread-local pointer instead of a counted reference, for the speed of each verb. It is
//! valid while [`Entered`] lives, which holds a counted reference and resets the pointer when it is
//! dropped. The same reference keeps the target of the pointer in `local.rs`.
#![allow(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    ptr,
    rc::Rc,
    sync::atomic::AtomicBool,
};

use super::{engine::Engine, key::Key, local};
use crate::fork;

thread_local! {
    static CURRENT: Cell<*const Engine> = const { Cell::new(ptr::null()) };
    /// Asked where none is entered. A counted reference, since its guard may be anywhere.
    static ATTACHED: RefCell<Option<Rc<Engine>>> = const { RefCell::new(None) };
}

/// Calls `f` with this thread's running scheduler.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Engine) -> R) -> Option<R> {
    let mut engine = CURRENT.get();
    let kept;
    if engine.is_null() {
        kept = attached()?;
        engine = Rc::as_ptr(&kept);
    }
    // SAFETY: set by `enter`, whose guard holds a reference as long as the pointer is set; `f`
    // cannot keep the borrow, nor end the guard: guards are locals of `drive`, `Scheduler::drop`,
    // `Hosted::turn_by`, `Hosted::entered` and `Hosted::within_told`, and no code under `f` can
    // reach one of those frames.
    // Or it is that of `kept`. There is one call of `f`, or it would not become a part of this.
    Some(f(unsafe { &*engine }))
}

/// Returns the scheduler that is attached to this thread. One of a fork's parent is none, and none
/// is found while the thread ends.
#[cold]
#[inline(never)]
fn attached() -> Option<Rc<Engine>> {
    let attached = ATTACHED.try_with(|attached| attached.borrow().clone()).ok()?;
    attached.filter(|engine| !engine.is_inherited())
}

/// Returns the packed key of the coroutine that runs on this thread; zero if no scheduler does.
#[inline]
pub(crate) fn running() -> usize {
    with(|engine| engine.run.running_key().pack()).unwrap_or(0)
}

/// Returns the log's name for the coroutine of a packed key, if it is one of this thread's
/// scheduler.
pub(crate) fn name_of(word: usize) -> Option<String> {
    with(|engine| engine.run.name_of(Key::unpack(word))).flatten()
}

/// Tells whether a scheduler is entered on this thread: a turn is being made.
pub(super) fn is_entered() -> bool {
    !CURRENT.get().is_null()
}

/// Calls `f` with this thread's running scheduler.
///
/// # Panics
/// If there is none; the text names the call that needs one.
#[track_caller]
#[inline]
pub(crate) fn expect<R>(call: &'static str, f: impl FnOnce(&Engine) -> R) -> R {
    let mut engine = CURRENT.get();
    let kept;
    if engine.is_null() {
        kept = attached().unwrap_or_else(|| outside(call));
        engine = Rc::as_ptr(&kept);
    }
    // SAFETY: as in `with`.
    f(unsafe { &*engine })
}

/// Calls `f` with this thread's scheduler if a coroutine runs, or `run`'s own future.
///
/// # Panics
/// If there is no scheduler; if what runs is a host's, or the task of another executor, whose guest
/// the scheduler is: they have none of what a coroutine has.
#[track_caller]
pub(crate) fn expect_coroutine<R>(call: &'static str, f: impl FnOnce(&Engine) -> R) -> R {
    expect(call, |engine| {
        if !is_in_coroutine(engine) {
            beside(call);
        }
        f(engine)
    })
}

/// Calls `f` with this thread's scheduler if a coroutine runs, or `run`'s own future.
pub(crate) fn with_coroutine<R>(f: impl FnOnce(&Engine) -> R) -> Option<R> {
    with(|engine| is_in_coroutine(engine).then(|| f(engine))).flatten()
}

fn is_in_coroutine(engine: &Engine) -> bool {
    is_entered() && !engine.run.is_beside()
}

#[track_caller]
#[cold]
fn beside(call: &'static str) -> ! {
    panic!(
        "{call} is about the coroutine that runs, and here runs none: in the task of another \
         executor, or in `Hosted::within`, `asyncoro::spawn` one"
    )
}

#[track_caller]
#[cold]
fn outside(call: &'static str) -> ! {
    panic!(
        "{call} needs a running scheduler on this thread: call it inside `asyncoro::run(async \
         {{ ... }})` or in a coroutine, or use BlockingSocket in plain threads"
    )
}

/// A guard: while it lives, `engine` is this thread's scheduler, and then the previous one is.
pub(super) struct Entered {
    /// Dropped before the reference that keeps its target.
    _wakes: local::Entered,
    engine: Rc<Engine>,
    before: *const Engine,
}

/// Makes `engine` this thread's running scheduler.
pub(super) fn enter(engine: &Rc<Engine>) -> Entered {
    forget_in_children();
    let engine = Rc::clone(engine);
    let before = CURRENT.replace(Rc::as_ptr(&engine));
    // SAFETY: the guard below holds a reference to the engine, which holds what wakes use, and
    // drops it after the guard made here; guards are locals of the frames named in `with`, which
    // are left in the reverse order.
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

/// A guard: while it lives, an engine is attached to this thread.
pub(super) struct Attached {
    engine: Rc<Engine>,
}

/// Attaches `engine` to this thread; `None` if another one is attached.
#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "guests are its users"))]
pub(super) fn attach(engine: &Rc<Engine>) -> Option<Attached> {
    if attached().is_some() {
        return None;
    }
    let before = ATTACHED.replace(Some(Rc::clone(engine)));
    // Inherited from a fork's parent: its drop would touch what belongs to that.
    std::mem::forget(before);
    Some(Attached { engine: Rc::clone(engine) })
}

impl Drop for Attached {
    fn drop(&mut self) {
        // While the thread ends, whoever is attached is dropped by the thread itself.
        let _ = ATTACHED.try_with(|attached| {
            let is_own = attached.borrow().as_ref().is_some_and(|it| Rc::ptr_eq(it, &self.engine));
            // Dropped after the borrow.
            is_own.then(|| attached.take())
        });
    }
}

/// Makes the child of each fork forget the scheduler, which stays with the parent.
fn forget_in_children() {
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    fork::in_each_child(&REGISTERED, forget);
}

extern "C" fn forget() {
    CURRENT.set(ptr::null());
    local::forget();
}
