//! The end of a coroutine: the scheduler hands over the result.
//!
//! Unsafe: after the move to `DONE` no part of a cell is used unless the state said that there is
//! no handle. Then the result belongs to the `Body`, which drops it and frees the cell, once, since
//! the `Body` is consumed here. The proof is in `mod.rs`.
#![allow(unsafe_code)]

use std::any::Any;

use super::{
    body::{Body, Unstarted},
    joint::waiter,
    watch::Watch,
};
use crate::{
    coro::{
        memory::Owned,
        state::{Completed, Word},
        waker::wake,
        who::{Who, log_panic},
    },
    foreign,
};

impl Body {
    /// Hands the result to the handle and wakes its waiter. Without a handle, frees the cell and
    /// returns a panic that nobody has seen.
    #[inline(always)]
    pub(in crate::coro) fn finish(
        self,
        name: Option<&str>,
    ) -> Option<(Who<'_>, Box<dyn Any + Send>)> {
        // After the move to DONE the handle may free the cell while `complete` is still returning.
        // Nothing behind &self is used from there on, and all of it is inside UnsafeCells, as
        // atomics are.
        match self.head().join.complete() {
            Completed::Held(None) => None,
            Completed::Held(Some(word)) => {
                waiter(word).wake();
                None
            }
            Completed::Detached => self.finish_unseen(name),
            Completed::Watched(watch) => self.finish_watched(name, watch),
        }
    }

    /// Finishes a coroutine that few lines end, or that has a name; a panic that nobody has seen is
    /// logged.
    #[cold]
    #[inline(never)]
    pub(in crate::coro) fn finish_or_log(self, name: Option<&str>) {
        log_unseen(self.finish(name));
    }

    /// Finishes a coroutine without a name; a panic that nobody has seen is logged.
    #[inline(always)]
    pub(in crate::coro) fn finish_unnamed(self) {
        let unseen = self.finish(None);
        if unseen.is_some() {
            log_unseen(unseen);
        }
    }

    /// Tells those who watch, and then finishes.
    #[cold]
    #[inline(never)]
    fn finish_watched<'a>(
        self,
        name: Option<&'a str>,
        watch: Word,
    ) -> Option<(Who<'a>, Box<dyn Any + Send>)> {
        let whose = self.who(name);
        // SAFETY: the state has given out the address that a handle had put in.
        let watch = unsafe { Watch::from_word(watch) };
        // SAFETY: this is the one Body, and it has not moved to `DONE`.
        let result = unsafe { self.cell().result() };
        // SAFETY: the result is the Body's until `DONE`, and the handle is that of this cell.
        let (waiter, wakers) = unsafe { watch.tell(result, whose) };
        let unseen = self.finish(name);
        // They find that it has ended.
        wakers.into_iter().for_each(wake);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        unseen
    }

    /// Frees the cell, after the state said that there is no handle.
    #[inline(never)]
    fn finish_unseen(self, name: Option<&str>) -> Option<(Who<'_>, Box<dyn Any + Send>)> {
        let (whose, log) = (self.who(name), self.head().log());
        // SAFETY: the handle has released the cell, so the result is the Body's, and this cell's
        // own handle has stored the log. `new` made the cell, and it is freed once, since this
        // consumes the Body.
        let unseen = unsafe { self.cell().unobserved(log, whose) };
        // SAFETY: as above.
        drop(unsafe { Owned::from_raw(self.as_raw()) });
        unseen.map(|payload| (whose, payload))
    }
}

#[cold]
#[inline(never)]
fn log_unseen(unseen: Option<(Who<'_>, Box<dyn Any + Send>)>) {
    if let Some((whose, payload)) = unseen {
        log_panic(whose, &*payload);
        foreign::discard(payload);
    }
}

impl Unstarted {
    /// Ends the coroutine, since there is no scheduler any more, and wakes its waiter.
    pub(in crate::coro) fn refuse(self) {
        let mut body = self.0;
        body.end();
        if let Some((_, payload)) = body.finish(None) {
            foreign::discard(payload);
        }
    }
}
