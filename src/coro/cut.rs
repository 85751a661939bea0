//! Whether the code that runs was cut off: its stack unwinds, or its coroutine was terminated.
//!
//! A guard that is dropped so leaves behind what its owner had not finished.

use std::{cell::Cell, thread};

thread_local! {
    static TERMINATED: Cell<bool> = const { Cell::new(false) };
}

/// Calls `end`, which drops the future of a terminated coroutine.
pub(super) fn while_ending(end: impl FnOnce()) {
    let before = TERMINATED.replace(true);
    end();
    TERMINATED.set(before);
}

/// Tells whether a value that is dropped now is dropped by a panic, or with the future of a
/// terminated coroutine.
#[inline]
pub(crate) fn is_cut_off() -> bool {
    TERMINATED.get() || thread::panicking()
}
