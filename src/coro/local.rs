//! The state that a wake on the scheduler's own thread uses, and how the wake finds it.
//!
//! A scheduler holds one [`Local`] for its lifetime. While the scheduler runs on this thread, a
//! thread-local points to it, so a wake needs no lock, no atomic, and nothing else of the
//! scheduler.
//!
//! Unsafe: a thread-local pointer instead of a counted reference, for the speed of a wake. It is
//! valid while [`Entered`] lives, which resets it when it is dropped; the caller of [`enter`]
//! promises that the [`Local`] outlives the guard. Only this thread uses the pointer, and only by
//! shared references.
#![allow(unsafe_code)]

use std::{
    cell::{Cell, RefCell},
    ptr,
};

use super::{key::Key, table::Table};

/// The coroutines of a scheduler, for wakes on its own thread.
pub(super) struct Local {
    /// The scheduler's slot in the process.
    pub(super) slot: u16,
    pub(super) table: RefCell<Table>,
    /// The key, as a waker's word, of the coroutine that is being resumed; zero if there is none.
    /// Between two resumes, where no foreign code runs, it may still be that of the last one.
    pub(super) running: Cell<usize>,
    /// Whether that coroutine was woken during its resume.
    pub(super) woken: Cell<bool>,
}

impl Local {
    pub(super) fn new(slot: u16) -> Local {
        Local {
            slot,
            table: RefCell::new(Table::new()),
            running: Cell::new(0),
            woken: Cell::new(false),
        }
    }

    /// Wakes the coroutine of a waker's word; `false` if it belongs to another scheduler.
    #[inline]
    pub(super) fn wake_own(&self, word: usize) -> bool {
        self.wake_running(word) || self.wake_other(Key::unpack(word))
    }

    /// Wakes the coroutine of a waker's word if it is being resumed.
    #[inline]
    fn wake_running(&self, word: usize) -> bool {
        let is_running = word == self.running.get();
        if is_running {
            self.woken.set(true);
        }
        is_running
    }

    /// Wakes a coroutine that is not being resumed; `false` if it belongs to another scheduler.
    #[inline(never)]
    fn wake_other(&self, key: Key) -> bool {
        let own = key.slot == self.slot;
        if own {
            self.table.borrow_mut().wake(key);
        }
        own
    }
}

thread_local! {
    static CURRENT: Cell<*const Local> = const { Cell::new(ptr::null()) };
}

#[inline]
fn with(f: impl FnOnce(&Local) -> bool) -> bool {
    let local = CURRENT.get();
    if local.is_null() {
        return false;
    }
    // SAFETY: set by `enter`, whose caller keeps it valid until the guard has reset the pointer;
    // `f`, a function of this file, cannot end that guard.
    f(unsafe { &*local })
}

/// Wakes the coroutine that runs on this thread, if the word is its waker's.
#[inline]
pub(super) fn wake_running(word: usize) -> bool {
    with(|local| local.wake_running(word))
}

/// Wakes another coroutine of this thread's scheduler; `false` if it belongs to another scheduler.
#[inline]
pub(super) fn wake_other(key: Key) -> bool {
    with(|local| local.wake_other(key))
}

/// A guard: while it lives, wakes on this thread go to one scheduler, and then to the previous one.
pub(super) struct Entered {
    before: *const Local,
}

/// Makes wakes on this thread use `local` first, until the guard is dropped.
///
/// # Safety
/// `local` stays in place until then, and guards are dropped in the reverse order of their
/// creation.
pub(super) unsafe fn enter(local: &Local) -> Entered {
    Entered { before: CURRENT.replace(local) }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Forgets the scheduler of this thread, in the child of a fork.
pub(super) fn forget() {
    CURRENT.set(ptr::null());
}
