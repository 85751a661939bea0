//! Calls that receive, made ahead of their readers: making them, and taking what they returned.
//!
//! All of [`Sys`]'s calls that receive from a stream look first whether bytes were received ahead.
//! So nothing above this module knows whether a call was made ahead. `ahead.rs` has the memory.
//!
//! A reader concludes from a short result that the socket is drained. So if more may be in the
//! kernel, the reader's call asks the kernel as well: the call made ahead has got all that it asked
//! for, or the driver has reported since. The kernel is asked first, so that an error which says
//! nothing about the connection (there is no memory, say) leaves the bytes where they are.

use std::{io::IoSliceMut, mem::MaybeUninit, rc::Rc, sync::atomic::Ordering};

use rustix::io::Errno;

use super::{
    ahead::Batch,
    errno::{Call, Meaning, Result, meaning},
    ring::Ring,
    socket::Sys,
};

/// How many calls are not made ahead, where they might be, after one has brought all that it asked
/// for, and less than its reader has room for: a second copy of long pieces would cost more than is
/// saved.
const LONG: u8 = 64;

impl Sys {
    // ---- making calls

    /// Receives at most `max` bytes ahead, into the memory of a batch. `None` if no call was made,
    /// `false` if nothing came.
    pub(crate) fn receive_ahead(&self, batch: &Rc<Batch>, max: usize) -> Option<bool> {
        if self.is_ahead() || self.reads_long() {
            return None;
        }
        let piece = batch.receive(max, |room| self.recv_now(room))?;
        if let Some(number) = piece {
            self.ahead.set(batch, number);
        }
        Some(piece.is_some())
    }

    /// Adds a call that receives at most `max` bytes ahead to the next run of a ring; tells whether
    /// it could.
    pub(crate) fn push_ahead(&self, ring: &mut Ring, batch: &Rc<Batch>, max: usize) -> bool {
        if self.is_ahead() || self.reads_long() {
            return false;
        }
        let pushed = batch.push(ring, self.fd(), max);
        if let Some(number) = pushed {
            self.ahead.set(batch, number);
        }
        pushed.is_some()
    }

    /// Notes that a call of a ring, pushed ahead, has brought nothing, or was not made (`None`).
    pub(crate) fn nothing_ahead(&self, result: Option<Result<usize>>) {
        self.ahead.clear();
        if let Some(Err(error)) = result {
            // Stored, if it has ended the connection; the verb's own call returns it.
            let _ = self.heard(Err(error));
        }
    }

    /// Notes that the driver has reported again: more may be in the kernel.
    pub(crate) fn more_than_ahead(&self) {
        self.ahead.note_more(true);
    }

    /// Makes the next call take only what was received ahead.
    #[cfg(feature = "tls")]
    pub(crate) fn no_more_than_ahead(&self) {
        self.ahead.note_more(false);
    }

    /// Tells whether the next call of a reader is not made ahead, since long pieces come.
    fn reads_long(&self) -> bool {
        let left = self.long.load(Ordering::Relaxed);
        self.long.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }

    // ---- what was received

    /// Returns 0 if nothing was received ahead, for a test together with others.
    #[inline]
    pub(crate) fn ahead_word(&self) -> usize {
        self.ahead.word()
    }

    /// Tells whether bytes were received ahead and not taken.
    #[inline]
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Takes the bytes received ahead.
    pub(crate) fn take_ahead(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.ahead.take(usize::MAX, |ahead| bytes.extend_from_slice(ahead));
        bytes
    }

    /// Receives where bytes were received ahead.
    pub(super) fn recv_ahead(&self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.ahead.next(buffer.len());
        let more = self.more_behind(count, buffer.len(), || self.recv_now(&mut buffer[count..]))?;
        self.ahead.take(count, |bytes| buffer[..count].copy_from_slice(bytes));
        Ok(count + more)
    }

    /// The same into uninitialised memory.
    pub(super) fn recv_uninit_ahead(&self, buffer: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let count = self.ahead.next(buffer.len());
        let more =
            self.more_behind(count, buffer.len(), || self.recv_uninit_now(&mut buffer[count..]))?;
        self.ahead.take(count, |bytes| {
            buffer.iter_mut().zip(bytes).for_each(|(place, byte)| _ = place.write(*byte));
        });
        Ok(count + more)
    }

    /// The same into the free capacity of `buffer`, at most `max` bytes.
    pub(super) fn recv_spare_ahead(&self, buffer: &mut Vec<u8>, max: usize) -> Result<usize> {
        let (before, count) = (buffer.len(), self.ahead.next(max));
        // The place of the bytes; what the kernel returns comes behind it.
        buffer.resize(before + count, 0);
        match self.more_behind(count, max, || self.recv_spare_now(buffer, max - count)) {
            Ok(more) => {
                let place = &mut buffer[before..before + count];
                self.ahead.take(count, |bytes| place.copy_from_slice(bytes));
                Ok(count + more)
            }
            Err(error) => {
                buffer.truncate(before);
                Err(error)
            }
        }
    }

    /// The same into several buffers.
    pub(super) fn recv_vectored_ahead(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let room = buffers.iter().map(|buffer| buffer.len()).sum();
        let count = self.ahead.next(room);
        let more = self.more_behind(count, room, || {
            let mut skip = count;
            let rest = buffers.iter_mut().filter_map(|buffer| {
                let skipped = skip.min(buffer.len());
                skip -= skipped;
                let left = &mut buffer[skipped..];
                (!left.is_empty()).then(|| IoSliceMut::new(left))
            });
            self.recv_vectored_now(&mut rest.collect::<Vec<_>>())
        })?;
        let places = buffers.iter_mut().flat_map(|buffer| buffer.iter_mut());
        self.ahead.take(count, |bytes| {
            bytes.iter().zip(places).for_each(|(byte, place)| *place = *byte);
        });
        Ok(count + more)
    }

    /// Makes the call that asks for what is behind the next `count` bytes, if there may be more and
    /// there is room for it; returns how many came.
    ///
    /// # Errors
    /// One that does not end the connection, and after which the same call may succeed.
    fn more_behind(
        &self,
        count: usize,
        room: usize,
        call: impl FnOnce() -> Result<usize>,
    ) -> Result<usize> {
        self.note_received();
        if count == room || !self.ahead.has_more() {
            return Ok(0);
        }
        let is_full = self.ahead.is_full();
        match call() {
            Ok(more) => {
                if more > 0 && is_full {
                    self.long.store(LONG, Ordering::Relaxed);
                }
                Ok(more)
            }
            Err(Errno::AGAIN) => Ok(0),
            // Stored by the call; the end of the stream, which follows, is returned as that.
            Err(error) if meaning(Call::Receive, error) == Meaning::Sticky => Ok(0),
            Err(error) => Err(error),
        }
    }
}
