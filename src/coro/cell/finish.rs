//! The end of a coroutine, handed over by the scheduler.
//!
//! Unsafe: after the move to `DONE` nothing of a cell is touched unless the state said that there
//! is no handle; then the result is the `Body`'s, which drops it and frees the cell, once, since it
//! is consumed here. The proof is in `mod.rs`.
#![allow(unsafe_code)]

use std::any::Any;

use super::{
    body::{Body, Unstarted},
    joint::waiter,
};
use crate::{
    coro::{memory::Owned, state::Completed, who::Who},
    foreign,
};

impl Body {
    /// Hands the result to the handle and wakes whoever waits for it. Without a handle the cell is
    /// freed, and a panic that nobody saw is given back.
    #[inline]
    pub(in crate::coro) fn finish(
        self,
        name: Option<&str>,
    ) -> Option<(Who<'_>, Box<dyn Any + Send>)> {
        // After the move to DONE the handle may free the cell while `complete` is still returning;
        // nothing behind &self is touched from there on, and everything it refers to is inside
        // UnsafeCells (atomics are).
        match self.head().join.complete() {
            Completed::Held(None) => None,
            Completed::Held(Some(word)) => {
                waiter(word).wake();
                None
            }
            Completed::Detached => self.finish_unseen(name),
        }
    }

    /// Frees the cell, after the state said that there is no handle.
    #[inline(never)]
    fn finish_unseen(self, name: Option<&str>) -> Option<(Who<'_>, Box<dyn Any + Send>)> {
        let (whose, log) = (self.who(name), self.head().log());
        // SAFETY: the handle has let go, so the result is the Body's, and the log was left by this
        // cell's own handle; the cell was made by `new` and is freed once, since this consumes the
        // Body.
        let unseen = unsafe { self.cell().unobserved(log, whose) };
        // SAFETY: as above.
        drop(unsafe { Owned::from_raw(self.as_raw()) });
        unseen.map(|payload| (whose, payload))
    }
}

impl Unstarted {
    /// Ends it, since there is no scheduler any more, so that whoever waits for it hears of it.
    pub(in crate::coro) fn refuse(self) {
        let mut body = self.0;
        body.end();
        if let Some((_, payload)) = body.finish(None) {
            foreign::discard(payload);
        }
    }
}
