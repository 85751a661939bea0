//! A waker in one word, for those that keep many: sockets, timers, handles.
//!
//! A coroutine's own waker is a number already ([`Key`]), which is always odd. Any other waker goes
//! into a box, whose address is even.
//!
//! Unsafe: a box kept as a bare pointer, and recovered once, by `wake` or by the drop. As a word
//! ([`Waiter::into_word`]) it may be in an atomic; the code that takes it out makes a waiter of it.
#![allow(unsafe_code)]

use std::{
    mem,
    ptr::{self, NonNull},
    task::Waker,
};

use super::{key::Key, waker::wake_word};
use crate::foreign;

/// A waker in one word.
pub(crate) struct Waiter(NonNull<()>);

impl Waiter {
    /// Makes a waiter that wakes what `waker` wakes. Cloning a foreign waker is foreign code.
    pub(crate) fn of(waker: &Waker) -> Waiter {
        let word = match Key::word_of_waker(waker) {
            Some(word) => NonNull::new(ptr::without_provenance_mut(word)),
            None => Some(NonNull::from(Box::leak(Box::new(waker.clone()))).cast()),
        };
        Waiter(word.expect("neither a key nor a box is zero"))
    }

    /// Converts into a word that owns the waiter: odd for a coroutine's key, otherwise the address
    /// of an allocation, so neither zero nor below 8.
    pub(super) fn into_word(self) -> *mut () {
        let word = self.word();
        mem::forget(self);
        word
    }

    /// Returns the same word, still owned by the waiter.
    pub(super) fn word(&self) -> *mut () {
        self.0.as_ptr()
    }

    /// Tells whether the word is a coroutine's key.
    pub(super) fn is_key(&self) -> bool {
        is_key(self.0)
    }

    /// Makes a waiter of a word.
    ///
    /// # Safety
    /// The word came from [`Waiter::into_word`] and is not used again.
    pub(super) unsafe fn from_word(word: *mut ()) -> Waiter {
        // SAFETY: `into_word` has returned it, and never returns zero.
        Waiter(unsafe { NonNull::new_unchecked(word) })
    }

    /// Wakes; a foreign waker's panic is logged.
    pub(crate) fn wake(self) {
        let word = self.0;
        mem::forget(self);
        if is_key(word) {
            wake_word(word.addr().get());
        } else {
            // SAFETY: `of` leaked this box; `self` is forgotten, so only this code frees it.
            wake_foreign(unsafe { Box::from_raw(word.cast::<Waker>().as_ptr()) });
        }
    }

    /// Tells whether this waiter wakes what `waker` wakes.
    pub(crate) fn will_wake(&self, waker: &Waker) -> bool {
        if is_key(self.0) {
            return Key::word_of_waker(waker) == Some(self.0.addr().get());
        }
        // SAFETY: `of` leaked this box, and `self` still owns it.
        unsafe { self.0.cast::<Waker>().as_ref() }.will_wake(waker)
    }
}

fn is_key(word: NonNull<()>) -> bool {
    word.addr().get() & 1 == 1
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if !is_key(self.0) {
            // SAFETY: `of` leaked this box; `wake` forgets `self`, so the box is freed once.
            drop_foreign(unsafe { Box::from_raw(self.0.cast::<Waker>().as_ptr()) });
        }
    }
}

#[inline(never)]
fn wake_foreign(waker: Box<Waker>) {
    foreign::contain("a waker", || waker.wake());
}

#[inline(never)]
fn drop_foreign(waker: Box<Waker>) {
    foreign::contain("the drop of a waker", || drop(waker));
}

// A box's address is even.
const _: () = assert!(align_of::<Waker>() > 1);

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Wake, Waker},
    };

    use super::{Key, Waiter};

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_foreign_waker_is_woken_or_dropped_once() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let waiter = Waiter::of(&waker);
        assert!(waiter.will_wake(&waker));
        assert!(!waiter.will_wake(Waker::noop()));
        waiter.wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        drop(Waiter::of(&waker));
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn a_coroutines_waker_needs_no_box() {
        let key = Key { slot: 9999, generation: 3, index: 4 };
        let waiter = Waiter::of(&key.waker());
        assert!(waiter.is_key());
        assert!(waiter.will_wake(&key.waker()));
        assert!(!waiter.will_wake(&Key { index: 5, ..key }.waker()));
        waiter.wake();
    }
}
