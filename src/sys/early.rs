//! Calls that receive, made ahead of their readers: making them, and taking what they returned.
//!
//! All of [`Sys`]'s calls that receive from a stream look first whether bytes were received ahead.
//! So nothing above this module knows whether a call was made ahead. `ahead.rs` has the memory.

use std::{io::IoSliceMut, mem::MaybeUninit, rc::Rc};

use super::{ahead::Batch, errno::Result, ring::Ring, socket::Sys};

impl Sys {
    /// Receives at most `max` bytes ahead, into the memory of a batch; returns whether any came.
    pub(crate) fn receive_ahead(&self, batch: &Rc<Batch>, max: usize) -> bool {
        if self.is_ahead() {
            return false;
        }
        let piece = batch.receive(max, |room| self.recv_now(room));
        if let Some(number) = piece {
            self.ahead.set(batch, number);
        }
        piece.is_some()
    }

    /// Adds a call that receives at most `max` bytes ahead to the next run of a ring; returns its
    /// place among the results.
    pub(crate) fn push_ahead(
        &self,
        ring: &mut Ring,
        batch: &Rc<Batch>,
        max: usize,
    ) -> Option<usize> {
        if self.is_ahead() {
            return None;
        }
        let number = batch.push(ring, self.fd(), max)?;
        self.ahead.set(batch, number);
        Some(number)
    }

    /// Notes that a call of a ring, pushed ahead, has brought nothing, or was not made (`None`).
    pub(crate) fn nothing_ahead(&self, result: Option<Result<usize>>) {
        self.ahead.clear();
        if let Some(Err(error)) = result {
            // Stored, if it has ended the connection; the verb's own call returns it.
            let _ = self.heard(Err(error));
        }
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

    /// Receives where bytes were received ahead. If a call got all that it asked for, and the
    /// reader asks for more, the rest is asked of the kernel: a short result still means that the
    /// socket is drained.
    pub(super) fn recv_ahead(&self, buffer: &mut [u8]) -> Result<usize> {
        let (count, more) = self.ahead.take(buffer.len(), |bytes| {
            buffer[..bytes.len()].copy_from_slice(bytes);
        });
        let rest = &mut buffer[count..];
        if count > 0 && (!more || rest.is_empty()) {
            return Ok(count);
        }
        self.followed(count, self.recv_now(rest))
    }

    /// The same into uninitialised memory.
    pub(super) fn recv_uninit_ahead(&self, buffer: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let (count, more) = self.ahead.take(buffer.len(), |bytes| {
            buffer.iter_mut().zip(bytes).for_each(|(place, byte)| _ = place.write(*byte));
        });
        let rest = &mut buffer[count..];
        if count > 0 && (!more || rest.is_empty()) {
            return Ok(count);
        }
        self.followed(count, self.recv_uninit_now(rest))
    }

    /// The same into the free capacity of `buffer`, at most `max` bytes.
    pub(super) fn recv_spare_ahead(&self, buffer: &mut Vec<u8>, max: usize) -> Result<usize> {
        let (count, more) = self.ahead.take(max, |bytes| buffer.extend_from_slice(bytes));
        if count > 0 && (!more || count == max) {
            return Ok(count);
        }
        self.followed(count, self.recv_spare_now(buffer, max - count))
    }

    /// The same into several buffers.
    pub(super) fn recv_vectored_ahead(&self, mut buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let room = buffers.iter().map(|buffer| buffer.len()).sum();
        let mut places = buffers.iter_mut().flat_map(|buffer| buffer.iter_mut());
        let (count, more) = self.ahead.take(room, |bytes| {
            bytes.iter().zip(&mut places).for_each(|(byte, place)| *place = *byte);
        });
        if count > 0 && (!more || count == room) {
            return Ok(count);
        }
        IoSliceMut::advance_slices(&mut buffers, count);
        self.followed(count, self.recv_vectored_now(buffers))
    }

    /// Adds the result of a call to the bytes taken before it, if there are any. An error is
    /// returned by the next call again, or is stored.
    fn followed(&self, count: usize, result: Result<usize>) -> Result<usize> {
        match result {
            Ok(more) => Ok(count + more),
            Err(_) if count > 0 => Ok(count),
            Err(error) => Err(error),
        }
    }
}
