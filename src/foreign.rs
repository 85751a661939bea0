//! Calls of code that is not ours, from places where its panic would hit somebody else.
//!
//! A waker of another executor, the drop of a value or of a panic's payload, a subscriber of
//! `tracing`: each may panic. Where such code is called on behalf of many (a scheduler's loop, a
//! list of those who wait), its panic is caught here, told to the log once, and the others go on.
//! Where it is called on behalf of the one who brought it, its panic goes there. The table in
//! `docs/design.md`, "Foreign code", has every place.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::log;

/// Calls `call`, which may panic; then the log is told that `what` did.
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

/// Drops the payload of a panic, whose drop may panic in its turn, with a payload of its own.
#[cold]
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    let mut payload = payload;
    for _ in 0..PAYLOADS {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    mem::forget(payload);
}

/// Payloads that are dropped one after the other; the next one is leaked.
const PAYLOADS: u32 = 8;

/// What a panic has said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::panic_any;

    use super::contain;

    /// Its drop panics with another one like it, so many times.
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
