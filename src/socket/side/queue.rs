//! The send queue of a socket: bytes to be sent, in order, copied or shared.
//!
//! A thread keeps emptied queues, with the memory of their first chunk, for the next socket that
//! queues something. Dropping the user's bytes may run the user's code, so sent bytes are dropped
//! later, when nothing is borrowed or locked ([`drop_spent`]).

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::IoSlice,
};

use bytes::Bytes;

use super::progress::Share;
use crate::{foreign, frame, socket::settings::QUEUE_LIMIT};

/// Most bytes of copies in one chunk: all that may be queued before a sender waits.
const CHUNK: usize = QUEUE_LIMIT + frame::HEADER;

/// Slices of one gathered call.
pub(super) const SLICES: usize = 64;

/// Most parts that one call sends behind the queue.
pub(crate) const PARTS: usize = 16;

/// Fills `slices` with what is queued and at most `room` bytes of `parts` behind it; returns the
/// number of slices.
#[inline]
pub(super) fn fill<'a>(
    slices: &mut [IoSlice<'a>; SLICES],
    queue: Option<&'a SendQueue>,
    parts: &[&'a [u8]],
    mut room: usize,
) -> usize {
    let mut count = 0;
    let mut put = |bytes: &'a [u8]| {
        slices[count] = IoSlice::new(bytes);
        count += 1;
    };
    if let Some(queue) = queue {
        let (mut skip, mut left) = (queue.sent, Share::BYTES);
        for chunk in queue.chunks.iter().take(SLICES - PARTS) {
            let bytes = &chunk.bytes()[skip..];
            if bytes.len() >= left {
                put(&bytes[..left]);
                return count;
            }
            put(bytes);
            left -= bytes.len();
            skip = 0;
        }
        if queue.chunks.len() > SLICES - PARTS {
            return count;
        }
    }
    for part in parts.iter().filter(|part| !part.is_empty()).take(PARTS) {
        let part = &part[..part.len().min(room)];
        room -= part.len();
        put(part);
    }
    count
}

/// The queued bytes of one socket.
#[derive(Default)]
pub(super) struct SendQueue {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that were sent.
    sent: usize,
    /// Bytes that were not sent.
    pub(super) bytes: usize,
}

enum Chunk {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Chunk {
    /// Sets the chunk aside. Dropping the user's bytes may run the user's code, which must not
    /// happen here; [`drop_spent`] does it.
    fn spend(self) {
        if let Chunk::Shared(bytes) = self {
            // While the thread ends no code is on the stack that the drop could disturb.
            let _ = SPENT.try_with(|spent| spent.borrow_mut().push(bytes));
            ANY_SPENT.set(true);
        }
    }

    /// Returns how many bytes of memory the chunk occupies.
    fn memory(&self) -> usize {
        match self {
            Chunk::Copied(bytes) => bytes.capacity(),
            Chunk::Shared(bytes) => bytes.len(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Copied(bytes) => bytes,
            Chunk::Shared(bytes) => bytes,
        }
    }
}

thread_local! {
    #[expect(clippy::vec_box, reason = "a socket holds the box, which is what is kept here")]
    /// Emptied queues with the memory of their first chunk.
    static SPARE: RefCell<Vec<Box<SendQueue>>> = const { RefCell::new(Vec::new()) };
}

thread_local! {
    /// The user's bytes that were sent and are to be dropped.
    static SPENT: RefCell<Vec<Bytes>> = const { RefCell::new(Vec::new()) };
    /// Whether `SPENT` may have any.
    static ANY_SPENT: Cell<bool> = const { Cell::new(false) };
}

/// Drops sent bytes. Nothing may be borrowed or locked: the drop may run foreign code.
#[inline]
pub(crate) fn drop_spent() {
    if ANY_SPENT.replace(false) {
        drop_all_spent();
    }
}

#[cold]
fn drop_all_spent() {
    let spent = SPENT.try_with(RefCell::take).unwrap_or_default();
    for bytes in spent {
        foreign::contain("the drop of sent bytes", || drop(bytes));
    }
}

/// Most emptied queues that a thread keeps.
const SPARES: usize = 64;

impl SendQueue {
    /// Takes a queue that the thread keeps, or makes one.
    pub(super) fn take() -> Box<SendQueue> {
        SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default()
    }

    /// Keeps an emptied queue for the next socket.
    pub(super) fn give_back(mut queue: Box<SendQueue>) {
        if queue.chunks.iter().any(|chunk| chunk.memory() > 2 * QUEUE_LIMIT) {
            queue.chunks.clear();
        }
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARES {
                spare.push(queue);
            }
        });
    }

    /// Queues copies of a header and a payload.
    #[inline(always)]
    pub(super) fn append(&mut self, header: &[u8], payload: &[u8]) {
        let len = header.len() + payload.len();
        debug_assert!(len > 0, "a queue with nothing in it is none");
        self.bytes += len;
        match self.chunks.back_mut() {
            Some(Chunk::Copied(chunk)) if chunk.len() + len <= CHUNK => {
                chunk.reserve(len);
                chunk.extend_from_slice(header);
                chunk.extend_from_slice(payload);
            }
            _ => self.append_chunk(header, payload),
        }
    }

    #[cold]
    fn append_chunk(&mut self, header: &[u8], payload: &[u8]) {
        self.chunks.push_back(Chunk::Copied([header, payload].concat()));
    }

    /// Returns the unsent bytes of the only chunk, if there is exactly one.
    #[inline]
    pub(super) fn single(&self) -> Option<&[u8]> {
        match self.chunks.front() {
            Some(chunk) if self.chunks.len() == 1 => Some(&chunk.bytes()[self.sent..]),
            _ => None,
        }
    }

    /// Returns the unsent bytes, if they are copies in one chunk.
    pub(super) fn copied(&self) -> Option<&[u8]> {
        match self.chunks.front() {
            Some(Chunk::Copied(chunk)) if self.chunks.len() == 1 => Some(&chunk[self.sent..]),
            _ => None,
        }
    }

    /// Queues `bytes` without copying them.
    pub(super) fn append_shared(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.chunks.push_back(Chunk::Shared(bytes));
    }

    /// Removes `sent` bytes from the front, and returns by how many they exceed the queue. The last
    /// copied chunk is cleared but kept.
    #[inline]
    pub(super) fn advance(&mut self, mut sent: usize) -> usize {
        let beyond = sent.saturating_sub(self.bytes);
        sent -= beyond;
        self.bytes -= sent;
        while let Some(chunk) = self.chunks.front_mut() {
            let left = chunk.bytes().len() - self.sent;
            if sent < left {
                self.sent += sent;
                return beyond;
            }
            sent -= left;
            self.sent = 0;
            let last = self.chunks.len() == 1;
            match self.chunks.front_mut() {
                Some(Chunk::Copied(bytes)) if last => {
                    bytes.clear();
                    return beyond;
                }
                _ => self.chunks.pop_front().into_iter().for_each(Chunk::spend),
            }
        }
        beyond
    }

    /// Drops all that is queued; the caller must call [`drop_spent`] later.
    pub(super) fn spend(self) {
        self.chunks.into_iter().for_each(Chunk::spend);
    }
}
