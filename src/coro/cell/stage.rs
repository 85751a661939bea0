//! The cell with its stage: the future while the coroutine lives, then its result.
//!
//! Unsafe: each access to the stage belongs to the trait of its present owner: the `Body` until it
//! has handed over the end, then the `Joint`, or still the `Body` if there is none. The future is
//! never moved. The proof is in `mod.rs`.
#![allow(unsafe_code)]

use std::{
    any::Any,
    future::Future,
    mem,
    panic::{self, AssertUnwindSafe, Location},
    pin::Pin,
    ptr,
    task::{Context, Poll},
};

use super::{
    body::{Body, Runnable},
    head::{Head, Log},
    joint::{Join, Joint},
    unseen::{self, caught, drop_caught, unname},
};
use crate::{
    coro::{cut, ended::Failure, memory::Owned, who::Who},
    foreign,
    primitives::UnsafeCell,
};

enum Stage<F: Future> {
    Running(F),
    Ended(Result<F::Output, Failure>),
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
            // SAFETY: the caller is the one Body, so nothing else uses the stage while it runs.
            let stage = unsafe { &mut *stage };
            let Stage::Running(future) = stage else { return true };
            // SAFETY: the cell is on the heap and the future is dropped in place, never moved.
            let future = unsafe { Pin::new_unchecked(future) };
            let result = match panic::catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => return false,
                Ok(Poll::Ready(output)) => Ok(output),
                Err(payload) => Err(Failure::Panicked(payload)),
            };
            replace(stage, result);
            true
        })
    }

    unsafe fn end(&self) {
        self.stage.with_mut(|stage| {
            // SAFETY: the caller is the one Body, so nothing else uses the stage.
            let stage = unsafe { &mut *stage };
            if matches!(stage, Stage::Running(_)) {
                // A panic of a drop is caught in there.
                cut::while_ending(|| replace(stage, Err(Failure::Terminated)));
            }
        });
    }

    unsafe fn name_failure(&self, name: &str) {
        self.stage.with_mut(|stage| {
            // SAFETY: the caller is the one Body, and has not handed over the end.
            let stage = unsafe { &mut *stage };
            if let Stage::Ended(Err(failure)) = stage {
                unseen::name(failure, name);
            }
        });
    }

    unsafe fn result(&self) -> Option<*mut ()> {
        self.stage.with_mut(|stage| {
            // SAFETY: the caller is the one Body, and has not handed over the end.
            match unsafe { &mut *stage } {
                Stage::Ended(result) => Some(ptr::from_mut(result).cast()),
                _ => None,
            }
        })
    }

    unsafe fn unobserved(&self, log: Option<Log>, whose: Who<'_>) -> Option<Box<dyn Any + Send>> {
        self.stage.with_mut(|stage| {
            // SAFETY: the trait's contract says that the caller owns the result.
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
                Stage::Ended(Err(Failure::Panicked(payload))) => Some(payload),
                other => {
                    drop_caught(other);
                    None
                }
            }
        })
    }
}

/// Drops the future in place, catches a panic of its drop, and stores its result there.
fn replace<F: Future>(stage: &mut Stage<F>, result: Result<F::Output, Failure>) {
    if !mem::needs_drop::<F>() {
        *stage = Stage::Ended(result);
        return;
    }
    // Assignment drops the old value first and stores the new one even if that drop unwinds.
    let ended = match panic::catch_unwind(AssertUnwindSafe(|| *stage = Stage::Taken)) {
        Ok(()) => result,
        Err(payload) => panicked_in_drop(payload, result),
    };
    // SAFETY: the value there is `Taken`, which has nothing to drop.
    unsafe { ptr::write(stage, Stage::Ended(ended)) };
}

#[cold]
fn panicked_in_drop<T>(
    payload: Box<dyn Any + Send>,
    result: Result<T, Failure>,
) -> Result<T, Failure> {
    match result {
        Err(Failure::Panicked(_)) => {
            foreign::discard(payload);
            result
        }
        Ok(_) | Err(Failure::Terminated) => {
            drop_caught(result);
            Err(Failure::Panicked(payload))
        }
    }
}

impl<F: Future> Join<F::Output> for Cell<F> {
    unsafe fn result(&self) -> Option<*mut ()> {
        self.stage.with_mut(|stage| {
            // SAFETY: the state said `DONE`, so the scheduler has released the cell.
            match unsafe { &mut *stage } {
                Stage::Ended(result) => Some(ptr::from_mut(result).cast()),
                _ => None,
            }
        })
    }

    unsafe fn take(&self) -> Option<Result<F::Output, Failure>> {
        self.stage.with_mut(|stage| {
            // SAFETY: the state said `DONE`, so the scheduler has released the cell.
            match mem::replace(unsafe { &mut *stage }, Stage::Taken) {
                Stage::Ended(result) => Some(result),
                _ => None,
            }
        })
    }
}

/// Makes the cell of a coroutine and both references. `spawned` is the place for the log.
pub(in crate::coro) fn new<F: Future + 'static>(
    future: F,
    spawned: &'static Location<'static>,
) -> (Body, Joint<F::Output>) {
    let stage = UnsafeCell::new(Stage::Running(future));
    let cell = Owned::new(Cell { head: Head::new(spawned), stage }).into_raw();
    // SAFETY: `into_raw` has just returned the pointer, the head is the first field of a cell, and
    // these are the only two references to it.
    unsafe { (Body::new(cell), Joint::new(cell)) }
}
