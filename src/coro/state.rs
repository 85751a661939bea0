//! The ownership of a coroutine's cell and its waiter, in one word, and the moves of that word.
//!
//! A cell has exactly two owners: the scheduler, which ends the coroutine, and the handle
//! ([`Coro`](crate::coro::Coro)), which takes the result and may be on another thread. The last one
//! to release the cell frees it. The word tells how far they are:
//!
//! | word | the handle | the scheduler |
//! | --- | --- | --- |
//! | `PENDING` | holds, without a waiter | holds |
//! | any other | holds, with this waiter to be woken | holds |
//! | `DONE` | holds, or had released before | has released; the result is in the cell |
//! | `DETACHED` | has released | holds, or had released before |
//!
//! A waiter ([`Waiter`](crate::coro::Waiter)) is one word, so each move is one atomic operation,
//! and the code that takes a waiter's word out owns it. Only the handle puts waiters in, and only
//! the scheduler moves to `DONE`. Each move acquires and releases: all that one side wrote before
//! its move is visible to the other after its own.

use std::ptr;

use crate::primitives::{AtomicPtr, Ordering};

/// The shared word: one of the constants below, or a waiter's word.
pub(super) type Word = *mut ();

const PENDING: Word = ptr::null_mut();
/// Neither odd, like a coroutine's key, nor an address that an allocation can have.
const DONE: Word = ptr::without_provenance_mut(2);
const DETACHED: Word = ptr::without_provenance_mut(4);

/// The state of the handle when the scheduler ends a coroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completed {
    /// The handle takes the result and frees the cell; this waiter, if any, is to be woken.
    Held(Option<Word>),
    /// There is no handle; the scheduler frees the cell.
    Detached,
}

/// The word that a cell's two owners share.
pub(super) struct JoinState(AtomicPtr<()>);

impl JoinState {
    pub(super) fn new() -> JoinState {
        JoinState(AtomicPtr::new(PENDING))
    }

    /// Handle: tells whether the result is in the cell.
    pub(super) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == DONE
    }

    /// Handle: tells whether the waiter with this word is in place. Only for words that are not
    /// addresses: an address may have been reused.
    pub(super) fn holds(&self, word: Word) -> bool {
        self.0.load(Ordering::Relaxed) == word
    }

    /// Handle: puts a waiter in and returns the previous one. `None` means that the coroutine has
    /// ended, and the new waiter stays with the caller.
    pub(super) fn wait(&self, waiter: Word) -> Option<Option<Word>> {
        let mut seen = self.0.load(Ordering::Relaxed);
        // The only move that can interfere is the one to DONE, so this loop ends.
        loop {
            if seen == DONE {
                // Makes visible what the scheduler wrote before its move.
                self.0.load(Ordering::Acquire);
                return None;
            }
            debug_assert_ne!(seen, DETACHED, "a detached handle does not wait");
            match self.0.compare_exchange(seen, waiter, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(waiter_in(seen)),
                Err(now) => seen = now,
            }
        }
    }

    /// Handle: releases the cell. The flag tells whether the coroutine had ended, so that the
    /// handle frees the cell; the returned waiter belongs to the caller.
    pub(super) fn detach(&self) -> (bool, Option<Word>) {
        let seen = self.0.swap(DETACHED, Ordering::AcqRel);
        debug_assert_ne!(seen, DETACHED, "a handle lets go once");
        (seen == DONE, waiter_in(seen))
    }

    /// Scheduler: publishes the result in the cell. If there is a handle, it may free the cell as
    /// soon as this has moved.
    pub(super) fn complete(&self) -> Completed {
        let seen = self.0.swap(DONE, Ordering::AcqRel);
        debug_assert_ne!(seen, DONE, "a coroutine ends once");
        if seen == DETACHED { Completed::Detached } else { Completed::Held(waiter_in(seen)) }
    }
}

fn waiter_in(word: Word) -> Option<Word> {
    (word != PENDING && word != DONE && word != DETACHED).then_some(word)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::ptr::without_provenance_mut;

    use super::{Completed, JoinState};

    #[test]
    fn a_waiter_goes_to_whoever_takes_it_out() {
        let (one, two) = (without_provenance_mut(7), without_provenance_mut(9));
        let state = JoinState::new();
        assert_eq!(state.wait(one), Some(None));
        assert!(state.holds(one));
        assert_eq!(state.wait(two), Some(Some(one)));
        assert_eq!(state.complete(), Completed::Held(Some(two)));
        assert!(state.is_done());
        assert_eq!(state.wait(one), None);
        assert_eq!(state.detach(), (true, None));
    }

    #[test]
    fn whoever_comes_last_learns_of_it() {
        let state = JoinState::new();
        let waiter = without_provenance_mut(7);
        assert_eq!(state.wait(waiter), Some(None));
        assert_eq!(state.detach(), (false, Some(waiter)));
        assert_eq!(state.complete(), Completed::Detached);
    }
}
