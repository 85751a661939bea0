//! Bytes received ahead of their readers, a batch at a time.
//!
//! Where several sockets are ready at once, the scheduler makes the readers' calls before it
//! resumes them, all in a row: the kernel's code for receiving then stays in the processor's cache.
//! What a call returns lies in the memory of the batch, and the reader's own call, when it comes,
//! takes it from there (`early.rs`). This file has the memory.
//!
//! A batch is counted: the scheduler has one reference, each socket whose bytes lie there another.
//! When only the scheduler's is left, the memory is used again.
//!
//! Only bytes are kept. A call that returns an end of stream is made again by the reader, with the
//! same result; an error that ends the connection is stored with the descriptor (`failure.rs`).
//! Another error, such as a lack of memory, is found by the reader's own call, or is over by then;
//! one that the kernel reports once to a connection that lives on (`IP_RECVERR`) is lost.
//!
//! Unsafe: a socket keeps its reference, and the number of its piece, in one word.
#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    mem,
    os::fd::BorrowedFd,
    ptr,
    rc::Rc,
    sync::atomic::{AtomicPtr, Ordering},
};

use super::{
    errno::Result,
    ring::{Ran, Ring},
};

/// Most bytes that one call receives ahead.
const PIECE: usize = 2 << 10;

/// Bytes between the memory of two calls of a ring, which get theirs before it is known how much
/// comes. Without them all pieces would begin in the same few sets of the processor's cache.
const APART: usize = 64;

/// Most calls of a batch.
const CALLS: usize = 256;

/// Most bytes of a batch: those of 64 calls.
const BYTES: usize = 64 * (PIECE + APART);

/// The memory of a batch. Its alignment leaves room in its address for the number of a piece.
#[repr(align(256))]
pub(crate) struct Batch(RefCell<Memory>);

const _: () = assert!(align_of::<Batch>() >= CALLS, "the number of a piece fits");

#[derive(Default)]
struct Memory {
    /// Allocated at the first use.
    bytes: Vec<u8>,
    used: usize,
    pieces: Vec<Piece>,
}

/// What one call has received: a place in the memory of its batch.
#[derive(Clone, Copy)]
struct Piece {
    from: usize,
    to: usize,
    /// The call got all that it asked for.
    full: bool,
    /// More may be in the kernel.
    more: bool,
}

impl Memory {
    /// Returns the free memory, `asked` bytes of it, for one more call.
    fn room(&mut self, asked: usize) -> Option<&mut [u8]> {
        if self.bytes.is_empty() {
            self.bytes = vec![0; BYTES];
        }
        if self.pieces.len() == CALLS {
            return None;
        }
        self.bytes.get_mut(self.used..self.used + asked)
    }

    /// Adds a piece; returns its number.
    fn add(&mut self, piece: Piece) -> usize {
        self.pieces.push(piece);
        self.pieces.len() - 1
    }
}

impl Batch {
    pub(crate) fn new() -> Rc<Batch> {
        Rc::new(Batch(RefCell::default()))
    }

    /// Empties the memory, unless bytes in it were not taken; returns whether that is so.
    pub(crate) fn reuse(self: &Rc<Self>) -> bool {
        let is_free = Rc::strong_count(self) == 1;
        if is_free {
            let memory = &mut *self.0.borrow_mut();
            memory.pieces.clear();
            memory.used = 0;
        }
        is_free
    }

    /// Makes a call that receives at most `max` bytes, if there is room; returns the number of the
    /// piece, if any came.
    pub(super) fn receive(
        &self,
        max: usize,
        call: impl FnOnce(&mut [u8]) -> Result<usize>,
    ) -> Option<Option<usize>> {
        let memory = &mut *self.0.borrow_mut();
        let (from, asked) = (memory.used, max.min(PIECE));
        let Some(got @ 1..) = call(memory.room(asked)?).ok() else { return Some(None) };
        memory.used = from + got;
        let number =
            memory.add(Piece { from, to: from + got, full: got == asked, more: got == asked });
        Some(Some(number))
    }

    /// Adds a call to the run of a ring; returns the number of the piece, which is its place among
    /// the results.
    pub(super) fn push(&self, ring: &mut Ring, fd: BorrowedFd<'_>, max: usize) -> Option<usize> {
        let memory = &mut *self.0.borrow_mut();
        let (from, asked) = (memory.used, max.min(PIECE));
        let room = memory.room(asked)?;
        // SAFETY: `run` comes before anything else is done with the memory; it is not freed or
        // moved before, and leaked if the run gets stuck.
        unsafe { ring.push_recv(fd, room) }?;
        memory.used = from + asked + APART;
        Some(memory.add(Piece { from, to: from + asked, full: false, more: false }))
    }

    /// Makes the calls that were pushed; tells whether the ring is still of use.
    pub(crate) fn run(&self, ring: &mut Ring) -> bool {
        let ran = ring.run();
        let memory = &mut *self.0.borrow_mut();
        for (place, piece) in memory.pieces.iter_mut().enumerate() {
            let asked = piece.to - piece.from;
            let got = ring.result(place).and_then(Result::ok).unwrap_or(0);
            piece.to = piece.from + got;
            piece.full = got == asked;
            piece.more = piece.full;
        }
        if ran == Ran::Stuck {
            let copy = memory.bytes.clone();
            mem::forget(mem::replace(&mut memory.bytes, copy));
        }
        ran == Ran::Whole
    }
}

/// A socket's bytes received ahead: the address of their batch, and in its lowest bits the number
/// of the piece; null if there are none. It counts as a reference to the batch.
///
/// Only a scheduler sets it, for a socket of its own. Like that socket it stays with its thread: a
/// socket that is given away is given away without it.
#[derive(Default)]
pub(super) struct Ahead(AtomicPtr<Batch>);

impl Ahead {
    /// Returns 0 if there are none.
    #[inline]
    pub(super) fn word(&self) -> usize {
        self.0.load(Ordering::Relaxed).addr()
    }

    #[inline]
    pub(super) fn is_some(&self) -> bool {
        self.word() != 0
    }

    pub(super) fn set(&self, batch: &Rc<Batch>, number: usize) {
        debug_assert!(!self.is_some() && number < CALLS, "one piece, taken before the next one");
        let batch = Rc::into_raw(Rc::clone(batch)).cast_mut();
        self.0.store(batch.map_addr(|address| address | number), Ordering::Relaxed);
    }

    /// Calls `f` with the memory of the batch and the number of the piece, if there is one.
    fn with<R>(&self, f: impl FnOnce(&mut Memory, usize) -> R) -> Option<R> {
        let word = self.0.load(Ordering::Relaxed);
        if word.is_null() {
            return None;
        }
        let number = word.addr() % CALLS;
        // SAFETY: the word is what `set` has made of a reference, which it still counts as.
        let batch = unsafe { &*word.map_addr(|address| address - number) };
        Some(f(&mut batch.0.borrow_mut(), number))
    }

    pub(super) fn clear(&self) {
        let word = self.0.swap(ptr::null_mut(), Ordering::Relaxed);
        if !word.is_null() {
            // SAFETY: as above; the word no longer counts as the reference.
            drop(unsafe { Rc::from_raw(word.map_addr(|address| address - address % CALLS)) });
        }
    }

    /// Copies bytes and leaves them in place; `None` if there are none.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> Option<usize> {
        self.with(|memory, number| {
            let piece = memory.pieces[number];
            let bytes = &memory.bytes[piece.from..piece.to];
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            count
        })
    }

    /// Returns how many bytes the next call with room for `max` takes.
    pub(super) fn next(&self, max: usize) -> usize {
        let left = self.with(|memory, number| {
            let piece = memory.pieces[number];
            piece.to - piece.from
        });
        left.unwrap_or(0).min(max)
    }

    /// Tells whether more may be in the kernel, behind these bytes.
    pub(super) fn has_more(&self) -> bool {
        self.with(|memory, number| memory.pieces[number].more).unwrap_or(true)
    }

    /// Notes whether more may be in the kernel.
    pub(super) fn note_more(&self, more: bool) {
        self.with(|memory, number| memory.pieces[number].more = more);
    }

    /// Tells whether the call got all that it asked for.
    pub(super) fn is_full(&self) -> bool {
        self.with(|memory, number| memory.pieces[number].full).unwrap_or(false)
    }

    /// Passes at most `max` bytes to `put`.
    pub(super) fn take(&self, max: usize, put: impl FnOnce(&[u8])) {
        let is_last = self.with(|memory, number| {
            let piece = &mut memory.pieces[number];
            let count = max.min(piece.to - piece.from);
            put(&memory.bytes[piece.from..piece.from + count]);
            piece.from += count;
            piece.from == piece.to
        });
        if is_last == Some(true) {
            self.clear();
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.clear();
    }
}
