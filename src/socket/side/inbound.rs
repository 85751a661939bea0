//! The reading side of a socket: what was received and not yet taken, and how more is gathered.
//!
//! Bytes leave the kernel in the hot buffer or, when many are still missing, straight in the memory
//! where they stay. Whatever a verb does not take belongs to the socket, not to the verb: an
//! unfinished `recv_msg` that is dropped or times out leaves its bytes here, header included, for
//! the next verb.
//!
//! Memory grows only with bytes that have come: nothing is reserved on the word of a peer beyond
//! [`AHEAD`] bytes, or as much again as has come.

use std::io;

use bytes::{Buf, Bytes};
use memchr::memmem;
use rustix::io::Errno;

use super::progress::{Progress, Share};
use crate::{
    error, frame,
    socket::{
        hot::{self, HOT},
        link::Link,
    },
    sys::{Call, LATER, Meaning, meaning},
};

/// Bytes that may be reserved before they have come.
const AHEAD: usize = 64 << 10;

/// Missing bytes from which on they are received straight into the memory where they stay.
const DIRECT: usize = HOT / 2;

/// Keeps what was received and not taken.
#[derive(Default)]
pub(crate) struct ReadSide {
    /// In a box, since most sockets that wait have received nothing.
    held: Option<Box<Held>>,
    /// No read call is made before the driver has reported again.
    drained: bool,
    /// Reading goes on after a pause, whatever the driver reports.
    paused: bool,
    /// The driver has seen a hang-up or urgent data: a short read no longer means "drained".
    pub(crate) suspicious: bool,
    /// The driver reports room to send as well. It stands here because there is a byte to spare.
    pub(crate) hears_of_room: bool,
    /// The log was told that there was no descriptor left for a connection.
    pub(crate) told_of_limit: bool,
}

/// Bytes received and not taken.
enum Held {
    /// What was left over of a read, to be sliced.
    Rest(Bytes),
    /// Something long that is being put together.
    Growing(Vec<u8>),
}

/// What a gathering verb wants at the front of the stream.
pub(crate) enum Want {
    /// A message with a payload of at most this many bytes.
    Message { limit: usize },
    /// Exactly this many bytes.
    Exactly(usize),
    /// Everything up to and with a delimiter, within `max` bytes.
    Until { delimiter: Box<[u8]>, max: usize, searched: usize },
}

/// What stands at the front.
enum Front {
    /// All of it: after `skip` bytes, `take` bytes.
    Whole { skip: usize, take: usize },
    /// Not all; this many bytes in all will do, if that is known yet.
    Missing { total: Option<usize> },
}

/// A whole piece, where it lies.
pub(crate) enum Piece<'a> {
    /// In a buffer that will be used again.
    Lent(&'a [u8]),
    /// In memory of its own.
    Own(Bytes),
}

/// Bytes lent by `recv_with`.
pub(crate) enum Lent {
    Hot(hot::Hot, usize),
    Own(Bytes),
}

impl Lent {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Lent::Hot(hot, len) => &hot[..*len],
            Lent::Own(bytes) => bytes,
        }
    }
}

impl Want {
    fn look(&mut self, bytes: &[u8]) -> io::Result<Front> {
        match self {
            Want::Message { limit } => Ok(match frame::parse(bytes, *limit)? {
                frame::Frame::Header => Front::Missing { total: None },
                frame::Frame::Payload(len) => whole_or_missing(bytes, frame::HEADER, len),
            }),
            Want::Exactly(count) => Ok(whole_or_missing(bytes, 0, *count)),
            Want::Until { delimiter, max, searched } => {
                let visible = &bytes[..bytes.len().min(*max)];
                // The delimiter may begin in the last bytes of what was searched before.
                let from = searched.saturating_sub(delimiter.len().saturating_sub(1));
                if let Some(at) = memmem::find(&visible[from.min(visible.len())..], delimiter) {
                    let end = from + at + delimiter.len();
                    return Ok(Front::Whole { skip: 0, take: end });
                }
                if bytes.len() >= *max {
                    return Err(error::delimiter_missing(*max));
                }
                *searched = visible.len();
                Ok(Front::Missing { total: None })
            }
        }
    }

    /// Tells what an end of stream after `bytes` means.
    pub(crate) fn ended(&self, bytes: &[u8]) -> io::Error {
        let (got, expected) = match self {
            Want::Message { .. } => match bytes.first_chunk::<{ frame::HEADER }>() {
                None => (bytes.len(), frame::HEADER),
                Some(header) => (bytes.len() - frame::HEADER, u32::from_be_bytes(*header) as usize),
            },
            Want::Exactly(count) => (bytes.len(), *count),
            Want::Until { max, .. } => (bytes.len(), *max),
        };
        error::incomplete(got, expected)
    }
}

fn whole_or_missing(bytes: &[u8], skip: usize, take: usize) -> Front {
    if bytes.len() - skip >= take {
        Front::Whole { skip, take }
    } else {
        Front::Missing { total: Some(skip + take) }
    }
}

impl ReadSide {
    /// Notes that the driver has reported, or a pause is over: a read may go on.
    pub(crate) fn refill(&mut self) {
        self.drained = false;
        self.paused = false;
    }

    /// Nothing is read before a pause is over.
    pub(crate) fn pause(&mut self) {
        self.drained = true;
        self.paused = true;
    }

    /// Tells whether reading goes on after a pause.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Notes that nothing is there before the driver reports.
    pub(crate) fn note_drained(&mut self) {
        self.drained = true;
    }

    /// Tells whether a read is known to find nothing.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Gives the bytes received and not taken.
    pub(crate) fn held(&self) -> &[u8] {
        match self.held.as_deref() {
            None => &[],
            Some(Held::Rest(bytes)) => bytes,
            Some(Held::Growing(bytes)) => bytes,
        }
    }

    /// Moves all held bytes out.
    pub(crate) fn take_held(&mut self) -> Bytes {
        match self.held.take().map(|held| *held) {
            None => Bytes::new(),
            Some(Held::Rest(bytes)) => bytes,
            Some(Held::Growing(bytes)) => Bytes::from(bytes),
        }
    }

    /// Moves at most `max` held bytes out.
    pub(crate) fn take_front(&mut self, max: usize) -> Bytes {
        self.split_front(max.min(self.held().len()))
    }

    /// Moves the first `count` held bytes out.
    fn split_front(&mut self, count: usize) -> Bytes {
        match self.held.as_deref_mut() {
            Some(Held::Rest(bytes)) if bytes.len() > count => bytes.split_to(count),
            _ => {
                let mut bytes = self.take_held();
                let front = bytes.split_to(count);
                self.hold(bytes);
                front
            }
        }
    }

    /// Gives the payload of a message that lies whole in what is left of an earlier read: the usual
    /// case where many are in flight.
    #[inline]
    pub(crate) fn take_message(&mut self, limit: usize) -> Option<Bytes> {
        let Some(Held::Rest(bytes)) = self.held.as_deref_mut() else { return None };
        let Ok(frame::Frame::Payload(len)) = frame::parse(bytes, limit) else { return None };
        let end = frame::HEADER + len;
        // What ends here is gathered, which frees the box.
        if bytes.len() <= end {
            return None;
        }
        let mut piece = bytes.split_to(end);
        piece.advance(frame::HEADER);
        Some(piece)
    }

    /// Copies held bytes into `buffer`; the number copied.
    pub(crate) fn copy_front(&mut self, buffer: &mut [u8]) -> usize {
        if self.held.is_none() {
            return 0;
        }
        let front = self.take_front(buffer.len());
        buffer[..front.len()].copy_from_slice(&front);
        front.len()
    }

    /// Puts bytes back that nobody has taken; they must be the only ones.
    pub(crate) fn hold(&mut self, bytes: Bytes) {
        self.held = (!bytes.is_empty()).then(|| Box::new(Held::Rest(bytes)));
    }

    /// Makes one read call unless the socket is known to be drained. `asked` is how many bytes it
    /// may return.
    pub(crate) fn read(
        &mut self,
        link: &Link,
        asked: usize,
        call: impl FnOnce(&Link) -> Result<usize, Errno>,
    ) -> Progress<usize> {
        if self.drained {
            return Progress::Wait;
        }
        match call(link) {
            Ok(got) => {
                if !self.suspicious && link.tells_drained(got, asked) && got > 0 {
                    self.drained = true;
                }
                Progress::Done(Ok(got))
            }
            Err(Errno::AGAIN) => {
                self.drained = true;
                Progress::Wait
            }
            Err(LATER) => Progress::Again,
            Err(error) if meaning(Call::Receive, error) == Meaning::Pause => {
                self.pause();
                Progress::Wait
            }
            Err(error) => Progress::Done(Err(link.reason(error))),
        }
    }

    /// Goes on until what `want` describes stands at the front, and hands it to `done`; `None` is
    /// the end of the stream with nothing before it.
    pub(crate) fn gather<R>(
        &mut self,
        link: &Link,
        want: &mut Want,
        done: &mut dyn FnMut(Piece<'_>) -> R,
    ) -> Progress<Option<R>> {
        let (mut share, mut goes_on) = (Share::new(), true);
        loop {
            let front = match want.look(self.held()) {
                Ok(front) => front,
                Err(error) => return Progress::Done(Err(error)),
            };
            let total = match front {
                Front::Whole { skip, take } => {
                    let piece = self.split_piece(skip, take);
                    return Progress::Done(Ok(Some(done(Piece::Own(piece)))));
                }
                Front::Missing { total } if goes_on => total,
                Front::Missing { .. } => return Progress::Again,
            };
            let have = self.held().len();
            let missing = total.map_or(0, |total| total - have);
            let growing = matches!(self.held.as_deref(), Some(Held::Growing(_)));
            let read = if growing || missing > DIRECT || have > DIRECT {
                self.read_direct(link, have, total)
            } else {
                match self.read_hot(link, want, done) {
                    Progress::Done(Ok(Read::Done(result))) => {
                        return Progress::Done(Ok(Some(result)));
                    }
                    Progress::Done(Ok(Read::Some(count))) => Progress::Done(Ok(count)),
                    Progress::Done(Err(error)) => Progress::Done(Err(error)),
                    Progress::Wait => Progress::Wait,
                    Progress::Again => Progress::Again,
                }
            };
            match read {
                Progress::Done(Ok(0)) if have == 0 && !link.is_cut() => {
                    return Progress::Done(Ok(None));
                }
                Progress::Done(Ok(0)) => return Progress::Done(Err(want.ended(self.held()))),
                Progress::Done(Ok(got)) => goes_on = share.goes_on(got),
                Progress::Done(Err(error)) => return Progress::Done(Err(error)),
                Progress::Wait => return Progress::Wait,
                Progress::Again => return Progress::Again,
            }
        }
    }

    /// Makes one read through the hot buffer. If it completes what is wanted, that is handed over
    /// from there when nothing follows it, else from the one copy made of everything.
    fn read_hot<R>(
        &mut self,
        link: &Link,
        want: &mut Want,
        done: &mut dyn FnMut(Piece<'_>) -> R,
    ) -> Progress<Read<R>> {
        if self.drained {
            return Progress::Wait;
        }
        let mut hot = hot::take();
        let have = self.held().len();
        hot[..have].copy_from_slice(self.held());
        let got = match self.read(link, HOT - have, |link| link.recv(&mut hot[have..])) {
            Progress::Done(Ok(0)) => return Progress::Done(Ok(Read::Some(0))),
            Progress::Done(Ok(got)) => got,
            Progress::Done(Err(error)) => return Progress::Done(Err(error)),
            Progress::Wait => return Progress::Wait,
            Progress::Again => return Progress::Again,
        };
        let data = &hot[..have + got];
        match want.look(data) {
            Ok(Front::Whole { skip, take }) if skip + take == data.len() => {
                self.held = None;
                Progress::Done(Ok(Read::Done(done(Piece::Lent(&data[skip..])))))
            }
            Ok(Front::Missing { total: Some(total) }) => {
                let mut growing = Vec::with_capacity(total.min(data.len() + AHEAD));
                growing.extend_from_slice(data);
                self.held = Some(Box::new(Held::Growing(growing)));
                Progress::Done(Ok(Read::Some(got)))
            }
            // The loop looks again, at a copy, and finds the rest, or the error.
            _ => {
                self.held = Some(Box::new(Held::Rest(Bytes::copy_from_slice(data))));
                Progress::Done(Ok(Read::Some(got)))
            }
        }
    }

    /// Makes one read into the memory where the bytes stay; no further than `total`, if that is
    /// known.
    fn read_direct(&mut self, link: &Link, have: usize, total: Option<usize>) -> Progress<usize> {
        if self.drained {
            return Progress::Wait;
        }
        let mut growing = match self.held.take().map(|held| *held) {
            Some(Held::Growing(growing)) => growing,
            Some(Held::Rest(bytes)) => bytes.into(),
            None => Vec::new(),
        };
        let missing = total.map_or(AHEAD.max(have), |total| total - have);
        if growing.capacity() - have < missing.min(AHEAD) {
            // At least doubling, so that each byte is moved a bounded number of times.
            growing.reserve_exact(missing.min(AHEAD.max(have)));
        }
        let asked = missing.min(growing.capacity() - have).min(Share::BYTES);
        let read = self.read(link, asked, |link| link.recv_spare(&mut growing, asked));
        if !growing.is_empty() {
            self.held = Some(Box::new(Held::Growing(growing)));
        }
        read
    }

    fn split_piece(&mut self, skip: usize, take: usize) -> Bytes {
        let mut piece = self.split_front(skip + take);
        piece.advance(skip);
        piece
    }
}

/// What a read through the hot buffer gave.
enum Read<R> {
    /// All that was wanted.
    Done(R),
    /// Some bytes, which are held now.
    Some(usize),
}
