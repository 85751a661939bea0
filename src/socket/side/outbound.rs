//! The writing side of a socket: the queue, and how it is sent.
//!
//! Small messages are appended to a queue and sent together, in one gathered call, at the end of
//! the turn. Other bytes are sent behind the queue, in the same call. A failure is permanent: what
//! was queued is dropped, and each later verb returns the error. A lack of memory is no failure:
//! the queue stays, and the call is repeated after a pause.

use std::io::{self, IoSlice};

use bytes::Bytes;
use rustix::io::Errno;

use super::{
    connection::Connection,
    progress::{Progress, Share},
    queue::{SLICES, SendQueue, fill},
};
use crate::{
    socket::link::Link,
    sys::{Call, Meaning, meaning},
};

/// Most bytes of a queue that is copied, to be sent together with others.
const SHORT: usize = 4 << 10;

/// The state of the writing side.
#[derive(Default)]
pub(crate) struct WriteSide {
    queue: Option<Box<SendQueue>>,
    /// The attempt to connect, if there is one.
    pub(crate) connection: Connection,
    /// Number of calls that sent something queued, modulo 2^32. Only a change between two looks
    /// matters, and fewer than 2^32 calls are made between them.
    moved: u32,
    failure: Option<Errno>,
    /// Bytes that were queued at the failure are lost.
    lost: bool,
    /// Nothing more may be queued: there was a failure, or sending was shut down.
    refuses: bool,
    room: Room,
    /// The scheduler has been asked to flush at the end of this turn.
    pub(crate) marked: bool,
}

/// Whether a write call may be made.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Room {
    /// Yes, as far as is known.
    #[default]
    Some,
    /// Not until the driver reports.
    None,
    /// Not until a pause is over: the system lacks memory, and reports no event when it has some.
    Paused,
}

impl WriteSide {
    /// Notes that the driver has reported or a pause is over: a write may be made.
    pub(crate) fn refill(&mut self) {
        self.room = Room::Some;
    }

    /// Notes that nothing more can be written until the driver reports.
    pub(crate) fn note_full(&mut self) {
        self.room = Room::None;
    }

    /// Tells whether no write is to be made yet.
    pub(crate) fn is_full(&self) -> bool {
        self.room != Room::Some
    }

    /// Tells whether writing continues after a pause, not after a report of the driver.
    pub(crate) fn is_paused(&self) -> bool {
        self.room == Room::Paused
    }

    /// Notes an error after which the same call may succeed later; `false` for other errors.
    fn waits_out(&mut self, error: Errno) -> bool {
        match meaning(Call::Send, error) {
            Meaning::Wait => self.room = Room::None,
            Meaning::Pause => self.room = Room::Paused,
            _ => return false,
        }
        true
    }

    /// Returns the number of bytes queued.
    pub(crate) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes)
    }

    /// Tells whether queued bytes or pending records have not been sent.
    #[inline]
    pub(crate) fn has_unsent(&self, link: &Link) -> bool {
        self.queued() > 0 || link.has_pending()
    }

    /// Returns the permanent failure as an error, if there is one.
    pub(crate) fn check(&self, link: &Link) -> io::Result<()> {
        self.failure.map_or(Ok(()), |failure| Err(link.reason(failure)))
    }

    /// Checks like [`WriteSide::check`], and also fails after sending was shut down.
    #[inline]
    pub(crate) fn check_open(&self, link: &Link) -> io::Result<()> {
        if self.refuses { Err(self.refusal(link)) } else { Ok(()) }
    }

    #[cold]
    fn refusal(&self, link: &Link) -> io::Error {
        self.failure.map_or_else(|| Errno::PIPE.into(), |failure| link.reason(failure))
    }

    /// Notes a permanent failure.
    fn fail_with(&mut self, failure: Errno) {
        self.failure = Some(failure);
        self.refuses = true;
    }

    /// Notes that sending was shut down.
    pub(crate) fn end(&mut self) {
        self.refuses = true;
    }

    /// Tells whether bytes are still queued, or were lost at the failure.
    pub(crate) fn loses(&self) -> bool {
        self.lost || self.queued() > 0
    }

    /// Tells whether there is a permanent failure.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Returns a number that changes when something queued is sent.
    pub(crate) fn moved(&self) -> u32 {
        self.moved
    }

    /// Clears the failure of an earlier connection, since a new one replaces it.
    pub(crate) fn forget_failure(&mut self) {
        self.failure = None;
        self.lost = false;
        self.refuses = false;
    }

    /// Drops the queue and returns how many bytes; the caller must call `drop_spent` later.
    pub(crate) fn abandon(&mut self) -> usize {
        let bytes = self.queued();
        if let Some(queue) = self.queue.take() {
            queue.spend();
        }
        bytes
    }

    /// Drops the queue, and makes `error` the permanent failure.
    pub(crate) fn fail(&mut self, error: &io::Error) {
        self.fail_with(Errno::from_io_error(error).unwrap_or(Errno::IO));
        self.abandon();
    }

    /// Queues copies of a header and a payload.
    #[inline(always)]
    pub(crate) fn append(&mut self, header: &[u8], payload: &[u8]) {
        self.queue.get_or_insert_with(SendQueue::take).append(header, payload);
    }

    /// Queues `bytes` without copying them.
    pub(crate) fn append_shared(&mut self, bytes: Bytes) {
        self.queue.get_or_insert_with(SendQueue::take).append_shared(bytes);
    }

    /// Sends the queue, as far as the system accepts it and one step may.
    pub(crate) fn flush(&mut self, link: &Link) -> Progress<()> {
        let mut share = Share::new();
        while self.queued() > 0 {
            let before = self.queued();
            match self.write(link, &[]) {
                Progress::Done(Ok(_)) if self.queued() == 0 => break,
                Progress::Done(Ok(_)) if share.goes_on(before - self.queued()) => {}
                Progress::Done(Ok(_)) => return Progress::Again,
                Progress::Done(Err(error)) => return Progress::Done(Err(error)),
                Progress::Wait => return Progress::Wait,
                Progress::Again => return Progress::Again,
            }
        }
        match self.check(link) {
            Ok(()) => self.push(link),
            Err(error) => Progress::Done(Err(error)),
        }
    }

    /// Sends the queue, as far as the system accepts it, where no later step can continue.
    pub(crate) fn flush_all(&mut self, link: &Link) -> Progress<()> {
        loop {
            match self.flush(link) {
                Progress::Again => {}
                progress => return progress,
            }
        }
    }

    /// Sends pending records, as far as the system accepts them.
    #[inline]
    pub(crate) fn push(&mut self, link: &Link) -> Progress<()> {
        if link.has_pending() { self.push_pending(link) } else { Progress::Done(Ok(())) }
    }

    #[inline(never)]
    fn push_pending(&mut self, link: &Link) -> Progress<()> {
        if self.is_full() {
            return Progress::Wait;
        }
        match link.push() {
            Ok(()) => {
                self.moved = self.moved.wrapping_add(1);
                Progress::Done(Ok(()))
            }
            Err(error) if self.waits_out(error) => Progress::Wait,
            Err(error) => {
                self.fail_with(error);
                Progress::Done(Err(link.reason(error)))
            }
        }
    }

    /// Makes one call that sends the queue and then `bytes`; returns how many of `bytes` were sent.
    #[inline]
    pub(crate) fn write_bytes(&mut self, link: &Link, bytes: &[u8]) -> Progress<usize> {
        if self.queue.is_some() || self.failure.is_some() || self.is_full() {
            return self.write(link, &[bytes]);
        }
        match link.send(bytes) {
            Ok(sent) if sent == bytes.len() => Progress::Done(Ok(sent)),
            sent => self.sent(link, bytes.len(), sent),
        }
    }

    /// Makes one call that sends the queue and `parts` behind it; returns how many bytes of
    /// `parts` were sent. With non-empty parts, 0 means that only the queue has got shorter.
    pub(crate) fn write(&mut self, link: &Link, parts: &[&[u8]]) -> Progress<usize> {
        if let Err(error) = self.check(link) {
            return Progress::Done(Err(error));
        }
        if self.is_full() {
            return Progress::Wait;
        }
        let (asked, sent) = match (self.queue.as_deref().map(SendQueue::single), parts) {
            (None, [part]) => (part.len(), link.send(part)),
            (Some(Some(bytes)), []) => {
                let bytes = &bytes[..bytes.len().min(Share::BYTES)];
                (bytes.len(), link.send(bytes))
            }
            _ => self.write_gathered(link, parts),
        };
        self.sent(link, asked, sent)
    }

    /// Returns the queue, if it is short and one call can send it. None of it is the user's memory,
    /// whose drop would run foreign code.
    pub(crate) fn as_one_call(&self) -> Option<&[u8]> {
        if self.failure.is_some() || self.is_full() {
            return None;
        }
        self.queue.as_deref()?.copied().filter(|bytes| bytes.len() <= SHORT)
    }

    /// Notes the result of a call that has sent `asked` bytes of the queue together with those of
    /// other sockets. The next flush continues. An error that has not ended the connection is left
    /// to it as well: it may be one of the way in which the call was made.
    #[cold]
    pub(crate) fn sent_together(&mut self, link: &Link, asked: usize, sent: Result<usize, Errno>) {
        let is_final = |error| meaning(Call::Send, error) == Meaning::Sticky;
        match link.sys().told(sent) {
            Err(error) if error != Errno::AGAIN && !is_final(error) => {}
            sent => _ = self.sent(link, asked, sent),
        }
    }

    /// Updates the state after a call that sends, and returns its progress.
    #[inline(always)]
    fn sent(&mut self, link: &Link, asked: usize, sent: Result<usize, Errno>) -> Progress<usize> {
        match sent {
            Ok(sent) => {
                if link.tells_full(sent, asked) {
                    self.room = if link.is_out_of_memory() { Room::Paused } else { Room::None };
                }
                if self.queue.is_some() {
                    // TLS has what was queued; the verbs that queued it have returned Ok.
                    link.promise();
                }
                Progress::Done(Ok(self.advance(sent)))
            }
            Err(error) if self.waits_out(error) => Progress::Wait,
            Err(error) => {
                if self.queue.is_some() {
                    self.fail_with(error);
                    self.lost = true;
                    self.abandon();
                }
                Progress::Done(Err(link.reason(error)))
            }
        }
    }

    /// Makes a gathered call, and returns the bytes asked for and the call's result.
    fn write_gathered(&self, link: &Link, parts: &[&[u8]]) -> (usize, Result<usize, Errno>) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let room = link.room_behind(self.queued());
        let count = fill(&mut slices, self.queue.as_deref(), parts, room);
        let slices = &slices[..count];
        (slices.iter().map(|slice| slice.len()).sum(), link.send_vectored(slices))
    }

    /// Makes one call of another kind that sends `asked` bytes; nothing may be queued.
    pub(crate) fn write_alone(
        &mut self,
        link: &Link,
        asked: usize,
        call: impl FnOnce(&Link) -> Result<usize, Errno>,
    ) -> Progress<usize> {
        if self.is_full() {
            return Progress::Wait;
        }
        let sent = call(link);
        self.sent(link, asked, sent)
    }

    /// Makes one call that sends datagrams to addresses.
    ///
    /// Fails with `WouldBlock` where the queue of a Unix socket is full: it is the receiver's
    /// queue, and the system reports room in it only to a sender that is connected to it.
    pub(crate) fn write_datagram(
        &mut self,
        link: &Link,
        call: impl FnOnce(&Link) -> Result<usize, Errno>,
    ) -> Progress<usize> {
        if self.is_full() {
            return Progress::Wait;
        }
        match call(link) {
            Ok(count) => Progress::Done(Ok(count)),
            Err(Errno::AGAIN) if link.kind().is_unix() => Progress::Done(Err(Errno::AGAIN.into())),
            Err(error) if self.waits_out(error) => Progress::Wait,
            Err(error) => Progress::Done(Err(error.into())),
        }
    }

    /// Removes `sent` bytes from the queue, and returns by how many they exceed it.
    #[inline(always)]
    fn advance(&mut self, sent: usize) -> usize {
        if self.queue.is_none() { sent } else { self.advance_queue(sent) }
    }

    fn advance_queue(&mut self, sent: usize) -> usize {
        let Some(queue) = &mut self.queue else { return sent };
        self.moved = self.moved.wrapping_add(1);
        let beyond = queue.advance(sent);
        if queue.bytes == 0
            && let Some(queue) = self.queue.take()
        {
            SendQueue::give_back(queue);
        }
        beyond
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream};

    use super::*;
    use crate::sys::Sys;

    fn ends() -> (Link, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Link::from(Sys::new(near).unwrap()), far)
    }

    /// Notes the result of a call that was to send "abcdef" together with others.
    fn side_after(link: &Link, sent: Result<usize, Errno>) -> WriteSide {
        let mut side = WriteSide::default();
        side.append(b"abc", b"def");
        let asked = side.as_one_call().expect("it is short").len();
        side.sent_together(link, asked, sent);
        side
    }

    /// Flushes what is queued, and checks what comes.
    #[track_caller]
    fn assert_sends(side: &mut WriteSide, link: &Link, far: &mut UnixStream, expected: &[u8]) {
        assert!(matches!(side.flush(link), Progress::Done(Ok(()))));
        let mut got = [0; 9];
        assert_eq!(far.read(&mut got).unwrap(), expected.len());
        assert_eq!(&got[..expected.len()], expected);
    }

    #[test]
    fn an_error_that_may_be_the_rings_own_is_left_to_the_flush() {
        let of_ring = [Errno::INTR, Errno::NOMEM, Errno::NOBUFS, Errno::CANCELED, Errno::INVAL];
        for error in of_ring.into_iter().chain([Errno::BADF, Errno::PIPE]) {
            let (link, mut far) = ends();
            let mut side = side_after(&link, Err(error));
            assert!(!side.has_failed() && !side.is_full(), "{error}");
            assert_eq!(side.as_one_call(), Some(&b"abcdef"[..]), "{error}");
            assert_sends(&mut side, &link, &mut far, b"abcdef");
        }
        // If it was the socket's own, the flush finds it again.
        let (link, far) = ends();
        drop(far);
        let mut side = side_after(&link, Err(Errno::PIPE));
        assert!(!side.has_failed());
        assert!(matches!(side.flush(&link), Progress::Done(Err(_))));
        assert!(side.has_failed() && side.loses() && side.queued() == 0);
    }

    #[test]
    fn an_error_of_a_common_call_that_ends_the_connection_is_the_sockets_failure() {
        for error in [Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH] {
            let (link, _far) = ends();
            let mut side = side_after(&link, Err(error));
            assert!(side.has_failed() && side.loses() && side.queued() == 0, "{error}");
            assert_eq!(side.as_one_call(), None);
            let Progress::Done(Err(told)) = side.flush(&link) else { panic!("{error} is lost") };
            assert_eq!(Errno::from_io_error(&told), Some(error));
        }
    }

    #[test]
    fn what_a_common_call_has_not_sent_stays_queued() {
        let (link, mut far) = ends();
        let mut side = side_after(&link, Err(Errno::AGAIN));
        assert!(side.is_full() && !side.is_paused() && !side.has_failed());
        assert!(matches!(side.flush(&link), Progress::Wait));
        side.refill();
        assert_sends(&mut side, &link, &mut far, b"abcdef");

        let mut side = side_after(&link, Ok(2));
        assert_sends(&mut side, &link, &mut far, b"cdef");
        let mut side = side_after(&link, Ok(6));
        assert!(side.queued() == 0 && matches!(side.flush(&link), Progress::Done(Ok(()))));
    }

    #[test]
    fn any_number_of_writes_is_progress() {
        let (link, mut far) = ends();
        let mut side = WriteSide::default();
        let before = side.moved();
        for _ in 0..1 << 16 {
            side.append(b"", b"x");
            assert!(matches!(side.flush(&link), Progress::Done(Ok(()))));
            far.read_exact(&mut [0]).unwrap();
        }
        assert_ne!(side.moved(), before, "65,536 calls");
    }
}
