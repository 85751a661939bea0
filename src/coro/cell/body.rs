//! `Body`: the scheduler's end of a cell.
//!
//! Unsafe: a `Body` points to its cell, which is there until `Body::finish` (`finish.rs`), and it
//! is the only one who polls, ends or names what lies in it; the proof is in `mod.rs`. `Unstarted`
//! takes a body to another thread, which is argued at its `Send`.
#![allow(unsafe_code)]

use std::{any::Any, ptr::NonNull, task::Context};

use super::head::{Head, Log};
use crate::{
    coro::who::Who,
    primitives::{Ordering, fence},
};

/// The scheduler's end of a cell. It must be ended with `Body::finish`.
pub(in crate::coro) struct Body(NonNull<dyn Runnable>);

impl Body {
    /// Makes the scheduler's end of a cell.
    ///
    /// # Safety
    /// The pointer came from [`Owned::into_raw`](crate::coro::memory::Owned::into_raw), a [`Head`]
    /// is the first field of what it points to, and there is no other `Body` of it.
    pub(super) unsafe fn new(cell: NonNull<dyn Runnable>) -> Body {
        Body(cell)
    }

    /// Gives the cell as it was given, which is not the caller's before the state says so.
    pub(super) fn as_raw(&self) -> NonNull<dyn Runnable> {
        self.0
    }

    pub(super) fn cell(&self) -> &dyn Runnable {
        // SAFETY: the Body holds the cell until `finish`, which consumes it.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn head(&self) -> &Head {
        // SAFETY: as in `cell`; the head is the first field of each cell, which is `repr(C)`.
        unsafe { self.0.cast::<Head>().as_ref() }
    }

    /// Polls the coroutine, or ends it if that was asked for; `true` when it has ended.
    pub(in crate::coro) fn resume(&mut self, cx: &mut Context<'_>) -> bool {
        if self.head().mark.is_to_end() {
            self.end();
            return true;
        }
        // SAFETY: this is the one Body, borrowed mutably.
        unsafe { self.cell().resume(cx) }
    }

    /// Drops the future; the result is `Ended::Terminated`.
    pub(in crate::coro) fn end(&mut self) {
        // SAFETY: this is the one Body, borrowed mutably.
        unsafe { self.cell().end() };
    }

    /// Has a panic that the coroutine ended with logged under `name`, whoever it is who drops it.
    pub(in crate::coro) fn name_panic(&mut self, name: &str) {
        // SAFETY: this is the one Body, borrowed mutably.
        unsafe { self.cell().name_panic(name) };
    }

    /// Says who the log calls it: its name, or where it was spawned.
    #[inline]
    pub(in crate::coro) fn who<'a>(&self, name: Option<&'a str>) -> Who<'a> {
        name.map_or_else(|| Who::SpawnedAt(self.head().mark.spawned()), Who::Named)
    }

    /// Says where the coroutine is to be woken.
    pub(in crate::coro) fn place(&self, key: usize) {
        self.head().key.store(key, Ordering::Release);
    }
}

/// The scheduler's view of a cell.
pub(super) trait Runnable {
    /// Polls the future; `true` when it has ended and its result is in place.
    ///
    /// # Safety
    /// Only through the one `Body`.
    unsafe fn resume(&self, cx: &mut Context<'_>) -> bool;
    /// Drops the future and leaves `Ended::Terminated` in its place.
    ///
    /// # Safety
    /// Only through the one `Body`.
    unsafe fn end(&self);
    /// Puts the name of a coroutine that has panicked beside the panic's payload.
    ///
    /// # Safety
    /// Only through the one `Body`, before its `finish`.
    unsafe fn name_panic(&self, name: &str);
    /// Takes the panic out of a result that nobody will look at; `log` is shown the result before.
    ///
    /// # Safety
    /// Only for the owner whom the state says the result belongs to; `log` was made for this cell's
    /// type of result.
    unsafe fn unobserved(&self, log: Option<Log>, whose: Who<'_>) -> Option<Box<dyn Any + Send>>;
}

/// A body on its way to the thread of its scheduler.
pub(in crate::coro) struct Unstarted(pub(super) Body);

// SAFETY: made only by `new_unstarted`, whose future holds nothing but a `Send` closure until it is
// polled, which only happens after `into_body` on the scheduler's thread. If the scheduler has
// ended the closure is dropped in the thread that sends it, which `Send` allows.
unsafe impl Send for Unstarted {}

impl Unstarted {
    pub(in crate::coro) fn into_body(self) -> Body {
        self.0
    }
}

/// Shows places to other threads: to be called after placing bodies whose handles they have
/// already, before the first resume: a handle that still finds no place, and so wakes nobody, has
/// then set its mark early enough for that resume to see it.
pub(in crate::coro) fn publish_places() {
    fence(Ordering::SeqCst);
}
