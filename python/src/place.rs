//! Room for one future of any kind, so that a call allocates nothing.
//!
//! Unsafe: a future is written where it stays, and polled and dropped there by its own functions.
//! A place is pinned from its first future on, which whoever owns it sees to (`runner.rs`).
#![allow(unsafe_code)]

use std::{
    cell::{Cell, UnsafeCell},
    future::Future,
    mem::{MaybeUninit, align_of, size_of},
    pin::Pin,
    task::{Context, Poll},
};

use crate::call::Outcome;

/// Bytes of a future that has room; longer ones go into a box, which has.
const ROOM: usize = 192;

type Room = MaybeUninit<[u64; ROOM / 8]>;

/// What can be done with the future in a place.
struct Table {
    poll: unsafe fn(*mut Room, &mut Context<'_>) -> Poll<Outcome>,
    drop: unsafe fn(*mut Room),
}

/// See the module's page.
pub(crate) struct Place {
    room: UnsafeCell<Room>,
    table: Cell<Option<&'static Table>>,
    /// Whether the future is being polled or dropped.
    busy: Cell<bool>,
}

struct Of<F>(F);

impl<F: Future<Output = Outcome> + 'static> Of<F> {
    const TABLE: Table = Table {
        // SAFETY: a table goes with a future of its kind, which is pinned.
        poll: |room, cx| unsafe { Pin::new_unchecked(&mut *room.cast::<F>()).poll(cx) },
        // SAFETY: as above; it is dropped once.
        drop: |room| unsafe { room.cast::<F>().drop_in_place() },
    };
    const FITS: bool = size_of::<F>() <= ROOM && align_of::<F>() <= align_of::<Room>();
}

impl Place {
    pub(crate) fn new() -> Place {
        let room = UnsafeCell::new(MaybeUninit::uninit());
        Place { room, table: Cell::new(None), busy: Cell::new(false) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.get().is_none()
    }

    /// Whether its future is at work, so that nothing can be put in.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// Puts a future in, of which there must be none, and polls it.
    ///
    /// # Safety
    /// The place does not move any more, and is dropped where it is.
    pub(crate) unsafe fn start<F>(&self, future: F, cx: &mut Context<'_>) -> Option<Outcome>
    where
        F: Future<Output = Outcome> + 'static,
    {
        if const { Of::<F>::FITS } {
            // SAFETY: the caller's.
            unsafe { self.put(future, cx) }
        } else {
            // SAFETY: the caller's.
            unsafe { self.put(Box::pin(future), cx) }
        }
    }

    /// # Safety
    /// As [`Place::start`]; the future fits.
    unsafe fn put<F>(&self, future: F, cx: &mut Context<'_>) -> Option<Outcome>
    where
        F: Future<Output = Outcome> + 'static,
    {
        assert!(self.is_empty() && !self.busy.get() && Of::<F>::FITS, "there is room for one");
        // SAFETY: nothing is there, and it fits.
        unsafe { self.room.get().cast::<F>().write(future) };
        self.table.set(Some(const { &Of::<F>::TABLE }));
        self.poll(cx)
    }

    /// Polls the future that is there; one that is done is dropped.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Option<Outcome> {
        let table = self.table.get().expect("there is a future");
        // While it runs there is none: what it calls must not find itself.
        self.table.set(None);
        self.busy.set(true);
        // SAFETY: the table is the future's, which is pinned.
        match unsafe { (table.poll)(self.room.get(), cx) } {
            Poll::Ready(outcome) => {
                // SAFETY: as above, and nobody else has the table any more.
                unsafe { (table.drop)(self.room.get()) };
                self.busy.set(false);
                Some(outcome)
            }
            Poll::Pending => {
                self.busy.set(false);
                self.table.set(Some(table));
                None
            }
        }
    }

    /// Drops what is there; `true` if there was something.
    pub(crate) fn clear(&self) -> bool {
        let table = self.table.take();
        if let Some(table) = table {
            self.busy.set(true);
            // SAFETY: the table is the future's, and is taken once.
            unsafe { (table.drop)(self.room.get()) };
            self.busy.set(false);
        }
        table.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}
