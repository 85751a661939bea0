//! `Watch`: those who are told how a coroutine has ended, without its value being taken.
//!
//! It is in a box of its own, whose address takes the place of the waiter in the state of the cell
//! (`coro/state.rs`), so a coroutine that nobody watches pays nothing. Whoever takes the address
//! out owns the box: the handle, to add to it, or the scheduler, at the end.
//!
//! Unsafe: a box as a word; and a result whose type is erased, which is seen only by those who were
//! made for the type of this cell's result.
#![allow(unsafe_code)]

use std::{any::Any, mem, ptr, task::Waker};

use super::unseen::{name, unname};
use crate::{
    coro::{
        ended::{Ended, Failure, Origin},
        state::Word,
        waiter::Waiter,
        who::Who,
    },
    foreign,
};

/// Those who watch, and the waiter of the handle.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) waiter: Option<Waiter>,
    seers: Vec<Box<dyn Seer>>,
}

/// One who watches.
trait Seer: Send {
    /// Sees the result, unless that was taken; returns whom to wake when the coroutine has ended.
    ///
    /// # Safety
    /// `result` points to a result of the type for which this was made, which is the caller's.
    unsafe fn see(self: Box<Self>, result: Option<*mut ()>, whose: Who<'_>) -> Vec<Waker>;
    /// Tells whether anybody still wants to know.
    fn is_wanted(&self) -> bool;
}

impl Watch {
    /// Converts into an address, a multiple of 8.
    pub(super) fn into_word(self: Box<Watch>) -> Word {
        Box::into_raw(self).cast()
    }

    /// Takes back the box of an address.
    ///
    /// # Safety
    /// The word came from [`Watch::into_word`] and is not used again.
    pub(super) unsafe fn from_word(word: Word) -> Box<Watch> {
        // SAFETY: as the caller promises.
        unsafe { Box::from_raw(word.cast()) }
    }

    /// Adds one who watches, whose type of result must be that of the cell. Before the list grows,
    /// those are removed who do not want to know any more.
    pub(super) fn add<T: 'static, S: See<T>>(&mut self, see: S) {
        if self.seers.len() == self.seers.capacity() {
            self.seers.retain(|seer| seer.is_wanted());
        }
        self.seers.push(Box::new(Typed { see, of: ptr::null() }));
    }

    /// Shows a result to all, or that there is none any more; returns the handle's waiter, and whom
    /// else to wake.
    ///
    /// # Safety
    /// `result` is of the type of the cell, and the caller's.
    pub(super) unsafe fn tell(
        self,
        result: Option<*mut ()>,
        whose: Who<'_>,
    ) -> (Option<Waiter>, Vec<Waker>) {
        let mut wakers = Vec::new();
        for seer in self.seers {
            // SAFETY: as the caller promises; all were made for the type of this cell.
            let seen =
                foreign::contain("what watches a coroutine", || unsafe { seer.see(result, whose) });
            wakers.extend(seen.into_iter().flatten());
        }
        (self.waiter, wakers)
    }
}

const _: () = assert!(align_of::<Watch>() == 8, "three bits of an address tell what a word is");

/// Sees how a coroutine has ended.
pub(in crate::coro) trait See<T>: Send + 'static {
    /// Sees the result; returns whom to wake when the coroutine has ended.
    fn see(self, result: Result<&T, &Ended>, origin: Origin) -> Vec<Waker>;
    /// Sees that it has ended and that its value was taken.
    fn see_none(self, origin: Origin) -> Vec<Waker>;
    /// Tells whether anybody still wants to know.
    fn is_wanted(&self) -> bool;
}

struct Typed<T, S> {
    see: S,
    of: *const T,
}

// SAFETY: the pointer is null, and there for its type only.
unsafe impl<T, S: Send> Send for Typed<T, S> {}

impl<T: 'static, S: See<T>> Seer for Typed<T, S> {
    unsafe fn see(self: Box<Self>, result: Option<*mut ()>, whose: Who<'_>) -> Vec<Waker> {
        debug_assert!(self.of.is_null());
        let Some(result) = result else {
            return self.see.see_none(Origin::new(whose.name, whose.place));
        };
        // SAFETY: the trait's contract.
        let result = unsafe { &mut *result.cast::<Result<T, Failure>>() };
        let kept = unname(result);
        let origin = Origin::new(kept.as_deref().or(whose.name), whose.place);
        match result {
            Ok(value) => self.see.see(Ok(value), origin),
            Err(failure) => {
                // Lent as an `Ended`; put back also if that panics.
                let bare = mem::replace(failure, Failure::Terminated);
                let lent = Lent { ended: Some(bare.of(origin.clone())), to: failure, name: kept };
                lent.ended.as_ref().map_or_else(Vec::new, |ended| self.see.see(Err(ended), origin))
            }
        }
    }

    fn is_wanted(&self) -> bool {
        self.see.is_wanted()
    }
}

/// A failure that is lent as an `Ended`.
struct Lent<'a> {
    ended: Option<Ended>,
    to: &'a mut Failure,
    name: Option<String>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(Ended::Panicked(payload, _)) = self.ended.take() {
            let payload: Box<dyn Any + Send> = payload;
            *self.to = Failure::Panicked(payload);
        }
        if let Some(kept) = &self.name {
            name(self.to, kept);
        }
    }
}
