//! `Joint`: the handle's reference to a cell, which may be on another thread.
//!
//! Unsafe: a `Joint` points to its cell, which exists until its drop. It takes the result only
//! after the state said that the coroutine is done, and frees the cell if it is the last owner; the
//! proof is in `mod.rs`.
#![allow(unsafe_code)]

use std::{
    fmt, io,
    ptr::{self, NonNull},
    task::{Context, Poll},
};

use super::{
    head::Head,
    unseen::{caught, drop_caught, show_error, show_io_error, unname},
    watch::{See, Watch},
};
use crate::{
    coro::{
        ended::{Ended, Failure, Origin},
        memory::Owned,
        state::{Kept, Word},
        waiter::Waiter,
        waker::wake,
        who::{Who, log_panic},
    },
    foreign,
    primitives::{Ordering, fence},
};

/// The handle's reference to a cell.
pub(in crate::coro) struct Joint<T>(NonNull<dyn Join<T>>);

// SAFETY: see the proof in `mod.rs`; on another thread a Joint uses the state, atomics, the waiter
// and the result, which is a `T`, a panic's payload (`Send`), or nothing.
unsafe impl<T: Send> Send for Joint<T> {}
// SAFETY: `&Joint` gives access only to the state and the atomics.
unsafe impl<T: Send> Sync for Joint<T> {}

impl<T> Joint<T> {
    /// Makes the handle's reference to a cell.
    ///
    /// # Safety
    /// As for [`Body::new`](super::body::Body::new), and there is no other `Joint` for it.
    pub(super) unsafe fn new(cell: NonNull<dyn Join<T>>) -> Joint<T> {
        Joint(cell)
    }

    fn cell(&self) -> &dyn Join<T> {
        // SAFETY: the Joint holds the cell until its drop.
        unsafe { self.0.as_ref() }
    }

    fn head(&self) -> &Head {
        // SAFETY: the Joint holds the cell until its drop; the head is its first field (`repr(C)`).
        unsafe { self.0.cast::<Head>().as_ref() }
    }

    /// Returns the key that wakes the coroutine, see [`Head`].
    pub(in crate::coro) fn key(&self) -> usize {
        self.head().key.load(Ordering::Acquire)
    }

    /// Tells whether the result is in the cell.
    pub(in crate::coro) fn is_done(&self) -> bool {
        self.head().join.is_done()
    }

    /// Requests the end of the coroutine; the caller then wakes it, if its key has a place.
    pub(in crate::coro) fn ask_to_end(&self) {
        self.head().mark.terminate();
        // Orders the mark before the caller's read of the key; see `publish_places`.
        fence(Ordering::SeqCst);
    }

    /// Takes the result, once; before the end, stores `cx`'s waker, which the end wakes.
    ///
    /// # Panics
    /// If the result was taken before.
    #[inline(always)]
    pub(in crate::coro) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Ended>> {
        if self.is_done() {
            return Poll::Ready(self.take());
        }
        let new = Waiter::of(cx.waker());
        let join = &self.head().join;
        if new.is_key() && join.holds(new.word()) {
            return Poll::Pending;
        }
        if join.is_watched() {
            return self.poll_watched(new);
        }
        let new = new.into_word();
        match join.wait(new) {
            Some(old) => {
                drop(old.map(waiter));
                Poll::Pending
            }
            None => {
                drop(waiter(new));
                Poll::Ready(self.take())
            }
        }
    }

    /// Polls while somebody watches, who have the waiter with them.
    #[cold]
    #[inline(never)]
    fn poll_watched(&mut self, new: Waiter) -> Poll<Result<T, Ended>> {
        let before = self.add_to_watch(|watch| watch.waiter.replace(new));
        drop(before);
        if self.is_done() { Poll::Ready(self.take()) } else { Poll::Pending }
    }

    #[inline(never)]
    fn take(&mut self) -> Result<T, Ended> {
        // SAFETY: the state said `DONE`.
        let result = unsafe { self.cell().take() };
        match result.expect("a coroutine's value can be taken once") {
            Ok(value) => Ok(value),
            Err(failure) => Err(self.ended(failure)),
        }
    }

    /// Adds to a failure which coroutine has it.
    #[cold]
    #[inline(never)]
    fn ended(&self, failure: Failure) -> Ended {
        let mut result = Err::<(), _>(failure);
        let name = unname(&mut result);
        let origin = Origin::new(name.as_deref(), self.head().mark.spawned());
        match result {
            Err(failure) => failure.of(origin),
            Ok(()) => unreachable!("it was a failure just now"),
        }
    }

    /// Adds one who is told of the end, at once if the coroutine has ended.
    pub(in crate::coro) fn watch(&mut self, see: impl See<T>)
    where
        T: 'static,
    {
        self.add_to_watch(|watch| watch.add(see));
    }

    /// Changes what those who watch have, who are made if there are none. If the coroutine has
    /// ended, tells them.
    #[cold]
    #[inline(never)]
    fn add_to_watch<R>(&mut self, change: impl FnOnce(&mut Watch) -> R) -> R {
        // Only one thread is here: the handle is borrowed mutably.
        let kept = self.head().join.take_out();
        let is_done = kept.is_none();
        let mut watch = match kept {
            // SAFETY: the state has given out the address that a handle had put in.
            Some(Kept::Watch(word)) => unsafe { Watch::from_word(word) },
            Some(Kept::Waiter(word)) => {
                let mut watch = Box::<Watch>::default();
                watch.waiter = Some(waiter(word));
                watch
            }
            Some(Kept::Nothing) | None => Box::default(),
        };
        let changed = change(&mut watch);
        if is_done {
            self.tell(*watch);
        } else {
            let word = watch.into_word();
            if !self.head().join.put_back(word, false) {
                // SAFETY: the address was not put in.
                self.tell(*unsafe { Watch::from_word(word) });
            }
        }
        changed
    }

    /// Tells those who watch of a coroutine that has ended.
    fn tell(&self, watch: Watch) {
        // SAFETY: the state said `DONE`, and the handle is borrowed mutably, or being dropped.
        let result = unsafe { self.cell().result() };
        let whose = Who::new(None, self.head().mark.spawned());
        // SAFETY: the result is the handle's, and those who watch were made by it.
        let (waiter, wakers) = unsafe { watch.tell(result, whose) };
        wakers.into_iter().for_each(wake);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// Releases a cell that somebody watches; returns whether the coroutine had ended.
    #[cold]
    #[inline(never)]
    fn detach_watched(&self) -> bool {
        let join = &self.head().join;
        let Some(Kept::Watch(word)) = join.take_out() else { return self.is_done() };
        // SAFETY: the state has given out the address that a handle had put in.
        let mut watch = unsafe { Watch::from_word(word) };
        if let Some(waiter) = watch.waiter.take() {
            drop_waiter(waiter);
        }
        let word = watch.into_word();
        let detached = join.put_back(word, true);
        if !detached {
            // SAFETY: the address was not put in.
            self.tell(*unsafe { Watch::from_word(word) });
        }
        !detached
    }

    /// Releases the cell; returns whether the coroutine had ended, and the waiter, to be dropped.
    fn detach(&self) -> (bool, Option<Waiter>) {
        let (done, word) = self.head().join.detach();
        (done, word.map(waiter))
    }
}

impl<T> Joint<io::Result<T>> {
    /// Makes errors logged like [`Joint::log_errors`], at a level that depends on their kind.
    pub(in crate::coro) fn log_io_errors(&self) {
        self.head().set_log(show_io_error::<T>);
    }
}

impl<T, E: fmt::Display> Joint<Result<T, E>> {
    /// Makes an error logged that the coroutine ends with, if no handle takes it.
    pub(in crate::coro) fn log_errors(&self) {
        self.head().set_log(show_error::<T, E>);
    }
}

impl<T> Drop for Joint<T> {
    fn drop(&mut self) {
        // A handle that has seen `DONE` need not change the state any more.
        if !self.is_done() {
            let done = if self.head().join.is_watched() {
                self.detach_watched()
            } else {
                let (done, waiter) = self.detach();
                if let Some(waiter) = waiter {
                    drop_waiter(waiter);
                }
                done
            };
            if !done {
                return;
            }
        }
        // SAFETY: the scheduler has released the cell, so it is the handle's alone; `new` made it,
        // and it is freed once.
        let cell = unsafe { Owned::from_raw(self.0) };
        // SAFETY: as above.
        if let Some(result) = unsafe { cell.take() } {
            self.show_unseen(result);
        }
    }
}

impl<T> Joint<T> {
    /// Logs the result of a coroutine that ended before its handle was dropped, if a log is set.
    #[cold]
    #[inline(never)]
    fn show_unseen(&self, mut result: Result<T, Failure>) {
        let name = unname(&mut result);
        let whose = Who::new(name.as_deref(), self.head().mark.spawned());
        match (self.head().log(), result) {
            (Some(log), result) => {
                let shown = ptr::from_ref(&result).cast();
                caught("showing its error", whose, || log(shown, whose));
                drop_caught(result);
            }
            (None, Err(Failure::Panicked(payload))) => {
                log_panic(whose, &*payload);
                foreign::discard(payload);
            }
            (None, value) => drop_caught(value),
        }
    }
}

/// The handle's view of a cell.
pub(super) trait Join<T> {
    /// Returns where the result is, unless it was taken.
    ///
    /// # Safety
    /// Only for the one `Joint`, after the state said `DONE`.
    unsafe fn result(&self) -> Option<*mut ()>;
    /// Moves the result out.
    ///
    /// # Safety
    /// Only for the one `Joint`, after the state said `DONE`.
    unsafe fn take(&self) -> Option<Result<T, Failure>>;
}

/// Drops a waiter, which may be foreign.
#[cold]
#[inline(never)]
fn drop_waiter(waiter: Waiter) {
    drop_caught(waiter);
}

/// Makes a waiter of a word from a state.
pub(super) fn waiter(word: Word) -> Waiter {
    // SAFETY: only waiters' words are put into a state, and each is taken out once, by a move that
    // leaves another word.
    unsafe { Waiter::from_word(word) }
}
