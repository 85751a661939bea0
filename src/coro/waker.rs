//! Wakers that are plain numbers.
//!
//! A coroutine's waker points nowhere: where others have an address it has a [`Key`]. Cloning and
//! dropping one costs nothing and frees nothing, so a coroutine needs no count of its wakers, and
//! its cell no atomics on the way of a wake. Waking looks the place up: on the scheduler's own
//! thread directly (`local.rs`), elsewhere through the inbox.
//!
//! A number can outlive what it named. Then the generation does not fit and nothing happens, or,
//! once in 32,768 reuses of a place, a stranger is woken once for nothing, which `std`'s contract
//! allows any waker to do. Nothing that must not hit a stranger (ending a coroutine, say) goes by
//! this number.
//!
//! Unsafe: building a `Waker` from a table of functions, none of which follows the pointer.
#![allow(unsafe_code)]

use std::{
    ptr,
    task::{RawWaker, RawWakerVTable, Waker},
};

use super::{inbox, key::Key, local};
use crate::foreign;

impl Key {
    /// Finds the packed key in a waker of ours.
    #[inline]
    pub(super) fn word_of_waker(waker: &Waker) -> Option<usize> {
        ptr::eq(waker.vtable(), &raw const TABLE).then(|| waker.data().addr())
    }

    /// Makes a waker for it.
    pub(crate) fn waker(self) -> Waker {
        // SAFETY: the functions of the table are thread-safe, treat the pointer as a number, and
        // own nothing, so they keep every rule of `RawWakerVTable`.
        unsafe { Waker::new(ptr::without_provenance(self.pack()), &TABLE) }
    }

    /// Wakes the coroutine, from any thread.
    pub(crate) fn wake(self) {
        wake_word(self.pack());
    }
}

/// Wakes the coroutine of a number made by [`Key::pack`], from any thread.
#[inline]
pub(crate) fn wake_word(word: usize) {
    if !local::wake_running(word) {
        wake_another(word);
    }
}

/// Wakes one that is not being resumed here.
#[inline(never)]
fn wake_another(word: usize) {
    let key = Key::unpack(word);
    if !local::wake_other(key) {
        inbox::wake(key);
    }
}

/// Wakes `waker`, which costs a look-up less for coroutines of ours; a foreign one's panic goes to
/// the log.
#[inline]
pub(crate) fn wake(waker: Waker) {
    match Key::word_of_waker(&waker) {
        Some(word) => wake_word(word),
        None => wake_foreign(waker),
    }
}

#[inline(never)]
fn wake_foreign(waker: Waker) {
    foreign::contain("a waker", || waker.wake());
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake_data, wake_data, drop_data);

fn clone(data: *const ()) -> RawWaker {
    RawWaker::new(data, &TABLE)
}

fn wake_data(data: *const ()) {
    wake_word(data.addr());
}

fn drop_data(_: *const ()) {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Key;

    #[test]
    fn clones_wake_alike_and_dropping_them_is_nothing() {
        let waker = Key { slot: 9999, generation: 1, index: 1 }.waker();
        let twin = waker.clone();
        assert!(waker.will_wake(&twin));
        drop(waker);
        twin.wake_by_ref();
        twin.wake();
    }
}
