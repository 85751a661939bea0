//! Who of the two owners of a coroutine's cell still holds it, and who waits: one word and its
//! moves.
//!
//! A cell has exactly two owners: the scheduler, which ends the coroutine, and the handle
//! ([`Coro`](crate::coro::Coro)), which takes the result and may live in another thread. Whoever
//! comes last frees the cell. The word says how far they are:
//!
//! | word | the handle | the scheduler |
//! | --- | --- | --- |
//! | `PENDING` | holds, nobody waits | holds |
//! | any other | holds, and this waiter is to be woken | holds |
//! | `DONE` | holds, or had let go before | has let go, the result is in the cell |
//! | `DETACHED` | has let go | holds, or had let go before |
//!
//! A waiter ([`Waiter`](crate::coro::Waiter)) is one word, so each move is one atomic operation,
//! and whoever takes a waiter's word out of here owns it. Only the handle puts waiters in and only
//! the scheduler moves to `DONE`. Each move acquires and releases: what one side wrote before its
//! move the other sees after its own.

use std::ptr;

use crate::primitives::{AtomicPtr, Ordering};

/// A word: one of the constants below, or a waiter's.
pub(super) type Word = *mut ();

const PENDING: Word = ptr::null_mut();
/// Neither odd, as a coroutine's key is, nor an address that an allocation can have.
const DONE: Word = ptr::without_provenance_mut(2);
const DETACHED: Word = ptr::without_provenance_mut(4);

/// What the scheduler finds when it ends a coroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completed {
    /// The handle takes the result and frees the cell; this waiter, if any, is to be woken.
    Held(Option<Word>),
    /// There is no handle: the scheduler frees the cell.
    Detached,
}

/// The word that a cell's two owners share.
pub(super) struct JoinState(AtomicPtr<()>);

impl JoinState {
    pub(super) fn new() -> JoinState {
        JoinState(AtomicPtr::new(PENDING))
    }

    /// Handle: tells whether the result is there.
    pub(super) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == DONE
    }

    /// Handle: tells whether the waiter with this word is in place already. Only words that are no
    /// addresses may be asked for: an address could be that of another one by now.
    pub(super) fn holds(&self, word: Word) -> bool {
        self.0.load(Ordering::Relaxed) == word
    }

    /// Handle: puts a waiter in and gives back the one before. `None` means that the coroutine has
    /// ended instead, and the new waiter is still the caller's.
    pub(super) fn wait(&self, waiter: Word) -> Option<Option<Word>> {
        let mut seen = self.0.load(Ordering::Relaxed);
        // The only other move that there can be is the one to DONE, so this ends.
        loop {
            if seen == DONE {
                // What the scheduler wrote before is now to be seen.
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

    /// Handle: lets go. The flag says whether the coroutine has ended before, so that the handle
    /// frees the cell; the waiter is nobody's but the caller's.
    pub(super) fn detach(&self) -> (bool, Option<Word>) {
        let seen = self.0.swap(DETACHED, Ordering::AcqRel);
        debug_assert_ne!(seen, DETACHED, "a handle lets go once");
        (seen == DONE, waiter_in(seen))
    }

    /// Scheduler: says that the result is in the cell. Unless it was detached, the handle may free
    /// the cell as soon as this has moved.
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
