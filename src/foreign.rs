//! Calls foreign code (code that is not ours) where its panic would harm others.
//!
//! A waker of another executor, the drop of a value or of a panic's payload, a subscriber of
//! `tracing`: each may panic. Where such code is called on behalf of many (a scheduler's loop, a
//! list of waiters), its panic is caught here and logged once, and the others continue. Where it is
//! called on behalf of its owner, the panic propagates to the owner. The table in `docs/design.md`,
//! "Foreign code", lists every place.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::log;

/// Calls `call`; if it panics, logs that `what` panicked and returns `None`.
#[inline]
pub(crate) fn contain<R>(what: &str, call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            caught(what, payload);
            None
        }
    }
}

#[cold]
fn caught(what: &str, payload: Box<dyn Any + Send>) {
    log::error(format_args!("{what} panicked: {}", panic_text(&*payload)));
    discard(payload);
}

/// Drops the payload of a panic. That drop may panic too, with a payload of its own, which is
/// dropped likewise.
#[cold]
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    let mut payload = payload;
    for _ in 0..MAX_PAYLOADS {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    mem::forget(payload);
}

/// How many payloads are dropped one after the other; the next one is leaked.
const MAX_PAYLOADS: u32 = 8;

/// Returns the text of a panic.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::panic_any;

    use super::contain;

    /// A value whose drop panics with another `Bomb`, as often as the number says.
    struct Bomb(u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Bomb(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_and_the_panics_of_its_payloads_end_here() {
        assert_eq!(contain("nothing", || 7), Some(7));
        assert_eq!(contain("a test", || panic_any(Bomb(3))), None::<()>);
        assert_eq!(contain("a test", || panic_any(Bomb(u32::MAX))), None::<()>);
    }
}
