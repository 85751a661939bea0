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
//! | `WATCHED`, an address | holds; whoever watches, and the waiter, are there | holds |
//! | `DETACHED`, an address | has released; whoever watches is there | holds |
//! | `DONE` | holds, or had released before | has released; the result is in the cell |
//! | `DETACHED` | has released | holds, or had released before |
//!
//! Those who watch are told of the end by the scheduler while it still holds the cell, so it takes
//! their address out before it moves to `DONE`. If the handle has it out at that moment, to add to
//! it, the handle finds `DONE` when it puts it back, and tells them itself.
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

/// The bit of the address of those who watch, while the handle holds the cell.
const WATCHED_BIT: usize = 2;
/// The same after the handle has released it.
const DETACHED_BIT: usize = 4;
/// What is above the bits of a word that tell what it is; those addresses are multiples of 8.
const ADDRESS: usize = !7;

/// The state of the handle when the scheduler ends a coroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completed {
    /// The handle takes the result and frees the cell; this waiter, if any, is to be woken.
    Held(Option<Word>),
    /// There is no handle; the scheduler frees the cell.
    Detached,
    /// The scheduler still holds the cell: these, at the address, are to be told first.
    Watched(Word),
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

    /// Tells whether somebody watches.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        is_watch(self.0.load(Ordering::Relaxed))
    }

    /// Handle: takes out whatever there is, an address of those who watch or a waiter. `None` means
    /// that the coroutine has ended.
    pub(super) fn take_out(&self) -> Option<Kept> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if seen == DONE {
                self.0.load(Ordering::Acquire);
                return None;
            }
            match self.0.compare_exchange(seen, PENDING, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if is_watch(seen) => return Some(Kept::Watch(address_of(seen))),
                Ok(_) => return Some(waiter_in(seen).map_or(Kept::Nothing, Kept::Waiter)),
                Err(now) => seen = now,
            }
        }
    }

    /// Handle: puts back the address of those who watch, after [`JoinState::take_out`]; with
    /// `detach` it also releases the cell. `false` if the coroutine has ended meanwhile; then the
    /// address stays with the caller, and the handle still holds the cell.
    pub(super) fn put_back(&self, watch: Word, detach: bool) -> bool {
        let bit = if detach { DETACHED_BIT } else { WATCHED_BIT };
        let word = watch.map_addr(|address| address | bit);
        debug_assert!(is_watch(word), "those who watch have an address, a multiple of 8");
        self.0.compare_exchange(PENDING, word, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Handle: puts a waiter in and returns the previous one. `None` means that the coroutine has
    /// ended, and the new waiter stays with the caller. Only while nobody watches.
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
            debug_assert!(!is_watch(seen), "a waiter beside those who watch is put to them");
            match self.0.compare_exchange(seen, waiter, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(waiter_in(seen)),
                Err(now) => seen = now,
            }
        }
    }

    /// Handle: releases the cell, while nobody watches. The flag tells whether the coroutine had
    /// ended, so that the handle frees the cell; the returned waiter belongs to the caller.
    pub(super) fn detach(&self) -> (bool, Option<Word>) {
        let seen = self.0.swap(DETACHED, Ordering::AcqRel);
        debug_assert_ne!(seen, DETACHED, "a handle lets go once");
        (seen == DONE, waiter_in(seen))
    }

    /// Scheduler: publishes the result in the cell. If there is a handle, it may free the cell as
    /// soon as this has moved. Those who watch are returned first, and it must be called again.
    ///
    /// A handle that is polled elsewhere at this moment, with another waker than before, makes one
    /// more attempt necessary.
    #[inline]
    pub(super) fn complete(&self) -> Completed {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            debug_assert_ne!(seen, DONE, "a coroutine ends once");
            let next = if is_watch(seen) { without_watch(seen) } else { DONE };
            match self.0.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if next != DONE => return Completed::Watched(address_of(seen)),
                Ok(DETACHED) => return Completed::Detached,
                Ok(_) => return Completed::Held(waiter_in(seen)),
                Err(now) => seen = now,
            }
        }
    }
}

/// What a handle has taken out.
pub(super) enum Kept {
    Nothing,
    Waiter(Word),
    /// The address of those who watch.
    Watch(Word),
}

/// Tells whether a word has the address of those who watch: even, as no key is, and with a bit that
/// no address has.
#[inline]
fn is_watch(word: Word) -> bool {
    let word = word.addr();
    word & 1 == 0 && word & (WATCHED_BIT | DETACHED_BIT) != 0 && word & ADDRESS != 0
}

#[cold]
fn without_watch(word: Word) -> Word {
    if word.addr() & DETACHED_BIT == 0 { PENDING } else { DETACHED }
}

fn address_of(word: Word) -> Word {
    word.map_addr(|word| word & ADDRESS)
}

fn waiter_in(word: Word) -> Option<Word> {
    (word != PENDING && word != DONE && word != DETACHED).then_some(word)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::ptr::without_provenance_mut;

    use super::{Completed, JoinState, Kept};

    #[test]
    fn those_who_watch_are_given_to_whoever_ends_it_first() {
        let watch = without_provenance_mut(64);
        for detached in [false, true] {
            let state = JoinState::new();
            assert!(matches!(state.take_out(), Some(Kept::Nothing)));
            assert!(state.put_back(watch, false) && state.is_watched());
            assert!(matches!(state.take_out(), Some(Kept::Watch(found)) if found == watch));
            assert!(state.put_back(watch, detached));
            assert_eq!(state.complete(), Completed::Watched(watch));
            assert!(!state.is_watched());
            let last = if detached { Completed::Detached } else { Completed::Held(None) };
            assert_eq!(state.complete(), last);
        }
    }

    #[test]
    fn those_who_are_put_back_too_late_stay_with_the_handle() {
        let state = JoinState::new();
        assert!(matches!(state.take_out(), Some(Kept::Nothing)));
        assert_eq!(state.complete(), Completed::Held(None));
        assert!(!state.put_back(without_provenance_mut(64), true));
        assert!(state.take_out().is_none());
    }

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
