//! The writing side of a socket: what is queued, and how it leaves.
//!
//! Small messages are appended to a queue and leave together, in one gathered call, when the turn
//! ends. Whoever sends anything else goes behind the queue, in the same call. A failure sticks:
//! what could not be sent is gone, and each later verb says so. A lack of memory is none: the queue
//! stays, and the call is made again after a pause.

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

/// Keeps what is queued and not sent.
#[derive(Default)]
pub(crate) struct WriteSide {
    queue: Option<Box<SendQueue>>,
    /// How far connecting has come.
    pub(crate) connection: Connection,
    /// Calls that have moved something queued, as far as they fit: only whether it changes between
    /// two looks matters, and 2^32 calls do not fit between two looks.
    moved: u32,
    failure: Option<Errno>,
    /// Bytes that were queued when that failure came are lost.
    lost: bool,
    /// Nothing more is queued: there was a failure, or sending was shut down here.
    refuses: bool,
    room: Room,
    /// The scheduler has been asked to flush at the end of this turn.
    pub(crate) marked: bool,
}

/// Whether a write call is worth making.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Room {
    /// As far as anybody knows.
    #[default]
    Some,
    /// Not before the driver has reported again.
    None,
    /// Not before a pause is over: the system lacks memory, and does not tell when it has some.
    Paused,
}

impl WriteSide {
    /// Notes that the driver has reported, or a pause is over: a write may go on.
    pub(crate) fn refill(&mut self) {
        self.room = Room::Some;
    }

    /// Notes that nothing more can be written before the driver reports.
    pub(crate) fn note_full(&mut self) {
        self.room = Room::None;
    }

    /// Tells whether a write is known to find no room.
    pub(crate) fn is_full(&self) -> bool {
        self.room != Room::Some
    }

    /// Tells whether writing goes on after a pause, whatever the driver reports.
    pub(crate) fn is_paused(&self) -> bool {
        self.room == Room::Paused
    }

    /// Notes an error after which the same call may succeed later; `false` if it is none of those.
    fn waits_out(&mut self, error: Errno) -> bool {
        match meaning(Call::Send, error) {
            Meaning::Wait => self.room = Room::None,
            Meaning::Pause => self.room = Room::Paused,
            _ => return false,
        }
        true
    }

    /// Gives the bytes queued.
    pub(crate) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes)
    }

    /// Tells whether something is still to leave: what is queued, or pending records.
    pub(crate) fn has_unsent(&self, link: &Link) -> bool {
        self.queued() > 0 || link.has_pending()
    }

    /// Gives the failure that sticks, if there was one.
    pub(crate) fn check(&self, link: &Link) -> io::Result<()> {
        self.failure.map_or(Ok(()), |failure| Err(link.reason(failure)))
    }

    /// Does as [`WriteSide::check`], for whoever would queue more: nothing follows an end of
    /// sending.
    #[inline]
    pub(crate) fn check_open(&self, link: &Link) -> io::Result<()> {
        if self.refuses { Err(self.refusal(link)) } else { Ok(()) }
    }

    #[cold]
    fn refusal(&self, link: &Link) -> io::Error {
        self.failure.map_or_else(|| Errno::PIPE.into(), |failure| link.reason(failure))
    }

    /// Notes the failure that sticks.
    fn fail_with(&mut self, failure: Errno) {
        self.failure = Some(failure);
        self.refuses = true;
    }

    /// Sending was shut down.
    pub(crate) fn end(&mut self) {
        self.refuses = true;
    }

    /// Tells whether bytes are queued that will not leave, or were lost to the failure.
    pub(crate) fn loses(&self) -> bool {
        self.lost || self.queued() > 0
    }

    /// Tells whether there was one.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Gives a number that changes when something queued leaves.
    pub(crate) fn moved(&self) -> u32 {
        self.moved
    }

    /// Forgets the failure of a connection that another one has taken the place of.
    pub(crate) fn forget_failure(&mut self) {
        self.failure = None;
        self.lost = false;
        self.refuses = false;
    }

    /// Gives up what is queued; [`drop_spent`] is to be called outside.
    pub(crate) fn abandon(&mut self) -> usize {
        let bytes = self.queued();
        if let Some(queue) = self.queue.take() {
            queue.spend();
        }
        bytes
    }

    /// Gives up what is queued, for a reason that each later verb tells.
    pub(crate) fn fail(&mut self, error: &io::Error) {
        self.fail_with(Errno::from_io_error(error).unwrap_or(Errno::IO));
        self.abandon();
    }

    /// Queues copies of a header and what belongs to it.
    #[inline]
    pub(crate) fn append(&mut self, header: &[u8], payload: &[u8]) {
        self.queue.get_or_insert_with(SendQueue::take).append(header, payload);
    }

    /// Queues `bytes` without copying them.
    pub(crate) fn append_shared(&mut self, bytes: Bytes) {
        self.queue.get_or_insert_with(SendQueue::take).append_shared(bytes);
    }

    /// Sends what is queued, as far as it goes and a step may.
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

    /// Sends what is queued, as far as it goes: for those that nobody could go on for.
    pub(crate) fn flush_all(&mut self, link: &Link) -> Progress<()> {
        loop {
            match self.flush(link) {
                Progress::Again => {}
                progress => return progress,
            }
        }
    }

    /// Sends the pending records, as far as it goes.
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

    /// Makes one call that sends `bytes` behind what is queued; how many of them have left.
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

    /// Makes one call that sends what is queued and `parts` behind it; how many bytes of `parts`
    /// have left. With something to send and nothing of it gone, that is 0 and the queue has got
    /// shorter.
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

    /// Tells what the outcome of a call means for the queue and for what goes behind it.
    fn sent(&mut self, link: &Link, asked: usize, sent: Result<usize, Errno>) -> Progress<usize> {
        match sent {
            Ok(sent) => {
                if link.tells_full(sent, asked) {
                    self.room = if link.is_out_of_memory() { Room::Paused } else { Room::None };
                }
                if self.queue.is_some() {
                    // Those who queued what TLS has now have said that all is well.
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

    /// Gives the bytes asked for and the outcome of a gathered call.
    fn write_gathered(&self, link: &Link, parts: &[&[u8]]) -> (usize, Result<usize, Errno>) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let room = link.room_behind(self.queued());
        let count = fill(&mut slices, self.queue.as_deref(), parts, room);
        let slices = &slices[..count];
        (slices.iter().map(|slice| slice.len()).sum(), link.send_vectored(slices))
    }

    /// Makes one call that sends datagrams to addresses.
    ///
    /// `WouldBlock` where the queue of a Unix socket is full: that is the receiver's, and the
    /// system tells only a sender that is connected to it when there is room again.
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

    /// Takes `sent` bytes off the queue; what goes beyond it is returned.
    fn advance(&mut self, sent: usize) -> usize {
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

    #[test]
    fn any_number_of_writes_is_progress() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let link = Link::from(Sys::new(near).unwrap());
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
