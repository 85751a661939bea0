//! The heap cell of a coroutine, and why its two owners may share it.
//!
//! One allocation holds the future while the coroutine lives and its result afterwards. The
//! scheduler owns it as a [`Body`] (`cell/body.rs`), the handle as a [`Joint`] (`cell/joint.rs`);
//! `state.rs` says who of them is still there, `cell/head.rs` holds what both look at, and
//! `cell/unseen.rs` has what becomes of a result that nobody takes.
//!
//! # The proof
//! - **The future** (`stage` while it is `Running`) is made, polled and dropped by the `Body`
//!   alone. There is one `Body`, it is not `Clone`, and it is `!Send`: it stays on the scheduler's
//!   thread. The one exception is [`Unstarted`]: such a cell holds a closure that is `Send`, and
//!   the future is made from it at the first poll.
//! - **The result** is written by the `Body` before `JoinState::complete`, and read by the
//!   `Joint` after it saw that the coroutine is done. The moves of the state order the two. If
//!   there is no handle any more, the `Body` drops it.
//! - **The waiter** (whoever awaits the handle) is a word in the state itself; the one who takes
//!   it out there owns it.
//! - **The log** is an atomic that the `Joint` writes before it detaches, and that the `Body` reads
//!   after it saw that. It is a function for the type of this cell's result.
//! - **The memory** is freed by the `Joint` if it saw `DONE`, else by the `Body`, which then saw
//!   `DETACHED`: each of them moves to its own word once, by a swap, and the second sees the first.
//! - **The head** is the first field of each cell, whatever its future (`repr(C)`), so a pointer to
//!   a cell is one to its head.
//! - **Threads**: what the `Joint` touches from another thread is the state, the atomics, the log
//!   and the result, which is why `Coro<T>` is `Send` only if `T` is. A waiter is `Send`, as wakers
//!   are. When the `Joint` frees a cell, the future is long gone.
//! - **Panics** of the future's `poll` and `drop` are caught here, and so are those of the drop of
//!   a result that nobody takes, and of an error that is shown to the log. No user code runs in
//!   between a move of the state and the writes it protects.
#![allow(unsafe_code)]

pub(super) mod body;
mod head;
mod joint;
mod unseen;

use std::{
    any::Any,
    future::Future,
    mem,
    panic::{self, AssertUnwindSafe, Location},
    pin::Pin,
    ptr,
    task::{Context, Poll},
};

pub(super) use self::joint::Joint;
use self::{
    body::{Body, Runnable, Unstarted},
    head::{Head, Log},
    joint::{Join, waiter},
    unseen::{Named, caught, drop_caught, unname},
};
use super::{ended::Ended, memory::Owned, state::Completed, who::Who};
use crate::{foreign, primitives::UnsafeCell};

enum Stage<F: Future> {
    Running(F),
    Ended(Result<F::Output, Ended>),
    Taken,
}

#[repr(C)]
struct Cell<F: Future> {
    head: Head,
    stage: UnsafeCell<Stage<F>>,
}

impl<F: Future> Runnable for Cell<F> {
    unsafe fn resume(&self, cx: &mut Context<'_>) -> bool {
        self.stage.with_mut(|stage| {
            // SAFETY: the caller is the one Body, so nobody else looks at the stage while it runs.
            let stage = unsafe { &mut *stage };
            let Stage::Running(future) = stage else { return true };
            // SAFETY: the cell is on the heap and the future is dropped in place, never moved.
            let future = unsafe { Pin::new_unchecked(future) };
            let result = match panic::catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => return false,
                Ok(Poll::Ready(output)) => Ok(output),
                Err(payload) => Err(Ended::Panicked(payload)),
            };
            replace(stage, result);
            true
        })
    }

    unsafe fn end(&self) {
        self.stage.with_mut(|stage| {
            // SAFETY: as in `resume`.
            let stage = unsafe { &mut *stage };
            if matches!(stage, Stage::Running(_)) {
                replace(stage, Err(Ended::Terminated));
            }
        });
    }

    unsafe fn name_panic(&self, name: &str) {
        self.stage.with_mut(|stage| {
            // SAFETY: as in `resume`.
            let stage = unsafe { &mut *stage };
            if let Stage::Ended(Err(Ended::Panicked(payload))) = stage {
                let thrown = mem::replace(payload, Box::new(()));
                *payload = Box::new(Named { name: name.to_owned(), thrown });
            }
        });
    }

    unsafe fn unobserved(&self, log: Option<Log>, whose: Who<'_>) -> Option<Box<dyn Any + Send>> {
        self.stage.with_mut(|stage| {
            // SAFETY: the caller owns the result, says the trait.
            let stage = unsafe { &mut *stage };
            if let Stage::Ended(result) = stage {
                unname(result);
            }
            if let (Some(log), Stage::Ended(result)) = (log, &*stage) {
                caught("showing its error", whose, || log(ptr::from_ref(result).cast(), whose));
                drop_caught(mem::replace(stage, Stage::Taken));
                return None;
            }
            match mem::replace(stage, Stage::Taken) {
                Stage::Ended(Err(Ended::Panicked(payload))) => Some(payload),
                other => {
                    drop_caught(other);
                    None
                }
            }
        })
    }
}

/// Drops the future in place, keeping a panic of its drop in bounds, and puts its result there.
fn replace<F: Future>(stage: &mut Stage<F>, result: Result<F::Output, Ended>) {
    if !mem::needs_drop::<F>() {
        *stage = Stage::Ended(result);
        return;
    }
    // Assignment drops the old value first and stores the new one even if that drop unwinds.
    let ended = match panic::catch_unwind(AssertUnwindSafe(|| *stage = Stage::Taken)) {
        Ok(()) => result,
        Err(payload) => panicked_in_drop(payload, result),
    };
    // SAFETY: there is `Taken` now, which has nothing to be dropped.
    unsafe { ptr::write(stage, Stage::Ended(ended)) };
}

#[cold]
fn panicked_in_drop<T>(payload: Box<dyn Any + Send>, result: Result<T, Ended>) -> Result<T, Ended> {
    match result {
        Err(Ended::Panicked(_)) => {
            foreign::discard(payload);
            result
        }
        Ok(_) | Err(Ended::Terminated) => {
            drop_caught(result);
            Err(Ended::Panicked(payload))
        }
    }
}

impl<F: Future> Join<F::Output> for Cell<F> {
    unsafe fn take(&self) -> Option<Result<F::Output, Ended>> {
        self.stage.with_mut(|stage| {
            // SAFETY: the state said `Done`, so the scheduler has let go of the cell.
            match mem::replace(unsafe { &mut *stage }, Stage::Taken) {
                Stage::Ended(result) => Some(result),
                _ => None,
            }
        })
    }
}

/// Futures of more bytes go into a box before all else: on their way to the heap they are moved,
/// and where nothing is optimized each move costs so much of the stack.
pub(super) const LARGE: usize = 4 << 10;

/// Makes the cell of a coroutine and gives each owner its end. `spawned`: where, for the log.
pub(super) fn new<F: Future + 'static>(
    future: F,
    spawned: &'static Location<'static>,
) -> (Body, Joint<F::Output>) {
    let stage = UnsafeCell::new(Stage::Running(future));
    let cell = Owned::new(Cell { head: Head::new(spawned), stage }).into_raw();
    // SAFETY: the pointer was just given by `into_raw`, the head is the first field of a cell, and
    // these are the only two ends of it.
    unsafe { (Body::new(cell), Joint::new(cell)) }
}

impl Body {
    /// Hands the result to the handle and wakes whoever waits for it. Without a handle the cell is
    /// freed, and a panic that nobody saw is given back.
    #[inline]
    pub(super) fn finish(self, name: Option<&str>) -> Option<(Who<'_>, Box<dyn Any + Send>)> {
        // After the move to DONE the handle may free the cell while `complete` is still returning;
        // nothing behind &self is touched from there on, and everything it refers to is inside
        // UnsafeCells (atomics are).
        match self.head().join.complete() {
            Completed::Held(None) => None,
            Completed::Held(Some(word)) => {
                waiter(word).wake();
                None
            }
            Completed::Detached => self.finish_unseen(name),
        }
    }

    /// After the state said that there is no handle.
    #[inline(never)]
    fn finish_unseen(self, name: Option<&str>) -> Option<(Who<'_>, Box<dyn Any + Send>)> {
        let (whose, log) = (self.who(name), self.head().log());
        // SAFETY: the handle has let go, so the result is the Body's, and the log was left by this
        // cell's own handle; the cell was made by `new` and is freed once, since this consumes the
        // Body.
        let unseen = unsafe { self.cell().unobserved(log, whose) };
        // SAFETY: as above.
        drop(unsafe { Owned::from_raw(self.as_raw()) });
        unseen.map(|payload| (whose, payload))
    }
}

impl Unstarted {
    /// Ends it, since there is no scheduler any more, so that whoever waits for it hears of it.
    pub(super) fn refuse(self) {
        let mut body = self.0;
        body.end();
        if let Some((_, payload)) = body.finish(None) {
            foreign::discard(payload);
        }
    }
}

/// Makes the cell of a coroutine whose future is made by `make` on the scheduler's thread; `key` is
/// its key until it has a place there.
pub(super) fn new_unstarted<M, F>(
    make: M,
    key: usize,
    spawned: &'static Location<'static>,
) -> (Unstarted, Joint<F::Output>)
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
{
    let (body, joint) = if size_of::<F>() > LARGE {
        new(async move { Box::pin(make()).await }, spawned)
    } else {
        new(async move { make().await }, spawned)
    };
    body.place(key);
    (Unstarted(body), joint)
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests;
