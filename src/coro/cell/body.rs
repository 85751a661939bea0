//! `Body`: the scheduler's reference to a cell.
//!
//! Unsafe: a `Body` points to its cell, which exists until `Body::finish` (`finish.rs`). Only the
//! `Body` polls, ends or names the cell's future; the proof is in `mod.rs`. `Unstarted` takes a
//! body to another thread; its `Send` has the reason.
#![allow(unsafe_code)]

use std::{any::Any, ptr::NonNull, task::Context};

use super::head::{Head, Log};
use crate::{
    coro::who::Who,
    primitives::{Ordering, fence},
};

/// The scheduler's reference to a cell. It must be ended with `Body::finish`.
pub(in crate::coro) struct Body(NonNull<dyn Runnable>);

impl Body {
    /// Makes the scheduler's reference to a cell.
    ///
    /// # Safety
    /// The pointer came from [`Owned::into_raw`](crate::coro::memory::Owned::into_raw), a [`Head`]
    /// is the first field of its target, and there is no other `Body` for it.
    pub(super) unsafe fn new(cell: NonNull<dyn Runnable>) -> Body {
        Body(cell)
    }

    /// Returns the pointer to the cell, which belongs to the caller only once the state says so.
    pub(super) fn as_raw(&self) -> NonNull<dyn Runnable> {
        self.0
    }

    pub(super) fn cell(&self) -> &dyn Runnable {
        // SAFETY: the Body holds the cell until `finish`, which consumes it.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn head(&self) -> &Head {
        // SAFETY: the Body holds the cell until `finish`; the head is its first field (`repr(C)`).
        unsafe { self.0.cast::<Head>().as_ref() }
    }

    /// Polls the coroutine, or ends it if that was requested; `true` when it has ended.
    pub(in crate::coro) fn resume(&mut self, cx: &mut Context<'_>) -> bool {
        if self.head().mark.is_to_end() {
            self.end();
            return true;
        }
        // SAFETY: this is the one Body, borrowed mutably.
        unsafe { self.cell().resume(cx) }
    }

    /// Drops the future; the result is `Failure::Terminated`.
    pub(in crate::coro) fn end(&mut self) {
        // SAFETY: this is the one Body, borrowed mutably.
        unsafe { self.cell().end() };
    }

    /// Sets the name of an ended coroutine for its `Ended` and the log, whichever owner drops it.
    pub(in crate::coro) fn name_failure(&mut self, name: &str) {
        // SAFETY: this is the one Body, borrowed mutably.
        unsafe { self.cell().name_failure(name) };
    }

    /// Returns the log's name for the coroutine: its own, or where it was spawned.
    #[inline]
    pub(in crate::coro) fn who<'a>(&self, name: Option<&'a str>) -> Who<'a> {
        Who::new(name, self.head().mark.spawned())
    }

    /// Sets the key that wakes the coroutine.
    pub(in crate::coro) fn place(&self, key: usize) {
        self.head().key.store(key, Ordering::Release);
    }
}

/// The scheduler's view of a cell.
pub(super) trait Runnable {
    /// Polls the future; `true` when it has ended and its result is in place.
    ///
    /// # Safety
    /// Only for the one `Body`.
    unsafe fn resume(&self, cx: &mut Context<'_>) -> bool;
    /// Drops the future and leaves `Failure::Terminated` in its place.
    ///
    /// # Safety
    /// Only for the one `Body`.
    unsafe fn end(&self);
    /// Stores the name of a coroutine that has no value beside the reason.
    ///
    /// # Safety
    /// Only for the one `Body`, before its `finish`.
    unsafe fn name_failure(&self, name: &str);
    /// Returns where the result is, of an ended coroutine.
    ///
    /// # Safety
    /// Only for the one `Body`, before its `finish` has moved to `DONE`.
    unsafe fn result(&self) -> Option<*mut ()>;
    /// Takes the panic out of a result that no handle takes; passes the result to `log` first.
    ///
    /// # Safety
    /// Only for the owner to which the state gives the result; `log` was made for this cell's type
    /// of result.
    unsafe fn unobserved(&self, log: Option<Log>, whose: Who<'_>) -> Option<Box<dyn Any + Send>>;
}

/// A body on its way to the thread of its scheduler.
pub(in crate::coro) struct Unstarted(pub(super) Body);

// SAFETY: made only by `new_unstarted`, whose future holds nothing but a `Send` closure until it is
// polled, which only happens after `into_body` on the scheduler's thread. If the scheduler has
// ended, the closure is dropped in the thread that sends it, which `Send` allows.
unsafe impl Send for Unstarted {}

impl Unstarted {
    pub(in crate::coro) fn into_body(self) -> Body {
        self.0
    }
}

/// Makes keys visible to other threads. Must be called after placing bodies that already have
/// handles, and before their first resume. A handle that still finds no place, and so wakes
/// nothing, has then set its mark early enough for that resume to see it.
pub(in crate::coro) fn publish_places() {
    fence(Ordering::SeqCst);
}
