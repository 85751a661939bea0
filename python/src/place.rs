//! Stores one call in place: its future while it waits, then its result. So a call whose future
//! fits allocates nothing.
//!
//! Unsafe: a future is written where it stays, and polled and dropped there by its own functions.
//! A place is pinned from its first future on, which its owner ensures (`runner.rs`).
#![allow(unsafe_code)]

use std::{
    cell::{Cell, UnsafeCell},
    future::Future,
    mem::{MaybeUninit, align_of, size_of},
    pin::Pin,
    task::{Context, Poll},
};

use crate::call::{Given, Outcome, given};

/// The most bytes of a future that is stored in place; longer ones are boxed. Futures of frequent
/// verbs fit, and every coroutine takes up this many bytes.
const ROOM: usize = 128;

type Room = MaybeUninit<[u64; ROOM / 8]>;

const _: () = assert!(size_of::<Given>() <= ROOM && align_of::<Given>() <= align_of::<Room>());

/// The functions of the future in a place.
struct Table {
    poll: unsafe fn(*mut Room, &mut Context<'_>) -> Poll<Outcome>,
    drop: unsafe fn(*mut Room),
}

/// What a place holds.
#[derive(Clone, Copy)]
enum Holds {
    Nothing,
    /// A future that is being polled or dropped.
    Busy,
    Future(&'static Table),
    Given,
}

/// Storage for one call.
pub(crate) struct Place {
    room: UnsafeCell<Room>,
    holds: Cell<Holds>,
}

struct Of<F>(F);

impl<F: Future<Output = Outcome> + 'static> Of<F> {
    const TABLE: Table = Table {
        // SAFETY: a table is used only with a future of its type, which is pinned.
        poll: |room, cx| unsafe { Pin::new_unchecked(&mut *room.cast::<F>()).poll(cx) },
        // SAFETY: as above; it is dropped once.
        drop: |room| unsafe { room.cast::<F>().drop_in_place() },
    };
    const FITS: bool = size_of::<F>() <= ROOM && align_of::<F>() <= align_of::<Room>();
}

impl Place {
    pub(crate) fn new() -> Place {
        let room = UnsafeCell::new(MaybeUninit::uninit());
        Place { room, holds: Cell::new(Holds::Nothing) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.holds.get(), Holds::Nothing)
    }

    /// Returns whether a future is being polled or dropped, so that nothing can be stored.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.holds.get(), Holds::Busy)
    }

    /// Stores a future in the empty place and polls it; a result that it gives at once stays.
    ///
    /// # Safety
    /// The place does not move any more, and is dropped where it is.
    pub(crate) unsafe fn start<F>(&self, future: F, cx: &mut Context<'_>)
    where
        F: Future<Output = Outcome> + 'static,
    {
        if const { Of::<F>::FITS } {
            // SAFETY: the caller promises it.
            unsafe { self.put(future, cx) }
        } else {
            // SAFETY: the caller promises it.
            unsafe { self.put(Box::pin(future), cx) }
        }
    }

    /// # Safety
    /// As [`Place::start`]; the future fits.
    unsafe fn put<F>(&self, future: F, cx: &mut Context<'_>)
    where
        F: Future<Output = Outcome> + 'static,
    {
        assert!(self.is_empty() && Of::<F>::FITS, "there is room for one");
        // SAFETY: nothing is there, and it fits.
        unsafe { self.room.get().cast::<F>().write(future) };
        if let Some(given) = self.poll(const { &Of::<F>::TABLE }, cx) {
            self.leave(given);
        }
    }

    /// Stores a result in the empty place.
    pub(crate) fn leave(&self, given: Given) {
        assert!(self.is_empty(), "there is room for one");
        // SAFETY: nothing is there, and it fits, which is asserted above.
        unsafe { self.room.get().cast::<Given>().write(given) };
        self.holds.set(Holds::Given);
    }

    /// Takes the result; a future stays.
    pub(crate) fn take_left(&self) -> Option<Given> {
        match self.holds.get() {
            Holds::Given => {
                self.holds.set(Holds::Nothing);
                // SAFETY: it is there, and is taken once.
                Some(unsafe { self.room.get().cast::<Given>().read() })
            }
            _ => None,
        }
    }

    /// Polls the future, if there is one; the place is empty once it is done.
    pub(crate) fn poll_future(&self, cx: &mut Context<'_>) -> Option<Given> {
        match self.holds.get() {
            Holds::Future(table) => self.poll(table, cx),
            _ => None,
        }
    }

    fn poll(&self, table: &'static Table, cx: &mut Context<'_>) -> Option<Given> {
        // Busy while it runs: what it calls must not poll or drop it.
        self.holds.set(Holds::Busy);
        // SAFETY: the table is the future's, which is pinned.
        match unsafe { (table.poll)(self.room.get(), cx) } {
            Poll::Ready(outcome) => {
                // SAFETY: as above, and nobody else has the table any more.
                unsafe { (table.drop)(self.room.get()) };
                // This may run any code, which must find the place busy.
                let given = given(outcome);
                self.holds.set(Holds::Nothing);
                Some(given)
            }
            Poll::Pending => {
                self.holds.set(Holds::Future(table));
                None
            }
        }
    }

    /// Drops what is there; `true` if there was something.
    pub(crate) fn clear(&self) -> bool {
        match self.holds.get() {
            Holds::Nothing => return false,
            Holds::Busy => {}
            Holds::Given => drop(self.take_left()),
            Holds::Future(table) => {
                self.holds.set(Holds::Busy);
                // SAFETY: the table is the future's, and is taken once.
                unsafe { (table.drop)(self.room.get()) };
                self.holds.set(Holds::Nothing);
            }
        }
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}
