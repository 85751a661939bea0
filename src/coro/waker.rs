//! Wakers that are plain numbers.
//!
//! A coroutine's waker points nowhere: in place of an address it has a [`Key`]. Cloning and
//! dropping it costs nothing and frees nothing, so a coroutine needs no count of its wakers, and a
//! wake uses no atomics of its cell. Waking looks the place up: on the scheduler's own thread
//! directly (`local.rs`), elsewhere through the inbox.
//!
//! A number can outlive its coroutine. Then the generation differs and nothing happens or, once in
//! 32,768 reuses of a place, another coroutine is woken needlessly, which `std`'s contract allows
//! for any waker. An action that must not affect another coroutine, such as ending one, never
//! relies on this number alone.
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
    /// Returns the packed key in a waker of a coroutine, if it is one.
    #[inline]
    pub(super) fn word_of_waker(waker: &Waker) -> Option<usize> {
        ptr::eq(waker.vtable(), &raw const TABLE).then(|| waker.data().addr())
    }

    /// Makes a waker with this key.
    pub(crate) fn waker(self) -> Waker {
        // SAFETY: the functions of the table are thread-safe, treat the pointer as a number, and
        // own nothing, so they obey every rule of `RawWakerVTable`.
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

/// Wakes a coroutine that is not being resumed on this thread.
#[inline(never)]
fn wake_another(word: usize) {
    let key = Key::unpack(word);
    if !local::wake_other(key) {
        inbox::wake(key);
    }
}

/// Wakes `waker`, with one look-up less for a waker of a coroutine; a foreign waker's panic is
/// logged.
#[inline]
pub(crate) fn wake(waker: Waker) {
    match Key::word_of_waker(&waker) {
        Some(word) => wake_word(word),
        None => wake_foreign(waker),
    }
}

/// Clones `waker` if it is a coroutine's, which runs no foreign code.
#[inline]
pub(crate) fn cloned_if_own(waker: &Waker) -> Option<Waker> {
    Key::word_of_waker(waker).map(|word| Key::unpack(word).waker())
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
