//! The reading side of a socket: bytes received but not taken, and how more are read.
//!
//! Bytes are read into the hot buffer or, when many are still missing, directly into their final
//! memory. Bytes that no verb takes belong to the socket: an unfinished `recv_msg` that is dropped
//! or times out leaves its bytes here, header included, for the next verb.
//!
//! Memory grows only with bytes that have arrived: a length that a peer announces reserves at most
//! [`AHEAD`] bytes, or as many as have arrived.

use std::io;

use bytes::{Buf, Bytes};
use memchr::{memchr, memmem};
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

/// Most bytes reserved for a message before they arrive, until as many have arrived.
const AHEAD: usize = 64 << 10;

/// Missing bytes above which a read goes directly into their final memory.
const DIRECT: usize = HOT / 2;

/// The state of the reading side.
#[derive(Default)]
pub(crate) struct ReadSide {
    /// Bytes received and not taken. Boxed, since most waiting sockets hold none.
    held: Option<Box<Held>>,
    /// No read call is made until the driver reports again.
    drained: bool,
    /// Reading continues after a pause, not after a report of the driver.
    paused: bool,
    /// How many bytes the read may return that the verb that waits will make; 0 if it makes none.
    awaits: u16,
    /// The driver has reported a hang-up or urgent data: a short read no longer means "drained".
    pub(crate) suspicious: bool,
    /// The driver reports room to send as well. The field is here because a byte is free here.
    pub(crate) hears_of_room: bool,
    /// The log has a line that no descriptor was left for a connection.
    pub(crate) told_of_limit: bool,
    /// Bytes were put back before those that a waiting verb has searched.
    is_front_new: bool,
}

/// Bytes received and not taken.
enum Held {
    /// The remainder of a read; pieces are sliced off.
    Rest(Bytes),
    /// A long piece that is still incomplete.
    Growing(Vec<u8>),
}

/// The piece that a gathering verb wants from the front of the stream.
pub(crate) enum Want {
    /// A message with a payload of at most this many bytes.
    Message { limit: usize },
    /// Exactly this many bytes.
    Exactly(usize),
    /// Everything up to and including a delimiter, within `max` bytes.
    Until { delimiter: Box<[u8]>, max: usize, searched: usize },
    /// Everything up to and including a line feed, within `max` bytes.
    Line { max: usize, searched: usize },
}

/// The result of looking for the wanted piece in the bytes held.
enum Front {
    /// The piece is complete: `take` bytes after the first `skip`.
    Whole { skip: usize, take: usize },
    /// The piece is incomplete; it ends at `total` bytes, if that is known yet.
    Missing { total: Option<usize> },
}

/// A complete piece, in the memory where it is.
pub(crate) enum Piece<'a> {
    /// In the hot buffer, which is reused.
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

    /// Returns the bytes from `start` on, in memory of their own.
    pub(crate) fn into_rest(self, start: usize) -> Bytes {
        match self {
            Lent::Hot(hot, len) => Bytes::copy_from_slice(&hot[start..len]),
            Lent::Own(bytes) => bytes.slice(start..),
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
                let find = |part: &[u8]| memmem::find(part, delimiter);
                search(bytes, *max, searched, delimiter.len(), find)
            }
            Want::Line { max, searched } => {
                search(bytes, *max, searched, 1, |part| memchr(b'\n', part))
            }
        }
    }

    /// Makes the next look search from the front.
    #[cold]
    fn search_anew(&mut self) {
        if let Want::Until { searched, .. } | Want::Line { searched, .. } = self {
            *searched = 0;
        }
    }

    /// Returns the error for an end of stream after `bytes`.
    pub(crate) fn ended(&self, bytes: &[u8]) -> io::Error {
        let (got, expected) = match self {
            Want::Message { .. } => match bytes.first_chunk::<{ frame::HEADER }>() {
                None => (bytes.len(), frame::HEADER),
                Some(header) => (bytes.len() - frame::HEADER, u32::from_be_bytes(*header) as usize),
            },
            Want::Exactly(count) => (bytes.len(), *count),
            Want::Until { max, .. } | Want::Line { max, .. } => (bytes.len(), *max),
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

/// Looks, by `find`, for a delimiter of `len` bytes that ends within the first `max` bytes; those
/// that were `searched` before are not searched again.
fn search(
    bytes: &[u8],
    max: usize,
    searched: &mut usize,
    len: usize,
    find: impl FnOnce(&[u8]) -> Option<usize>,
) -> io::Result<Front> {
    let visible = &bytes[..bytes.len().min(max)];
    // The delimiter may begin in the last bytes of what was searched before.
    let from = searched.saturating_sub(len.saturating_sub(1));
    if let Some(at) = find(&visible[from.min(visible.len())..]) {
        return Ok(Front::Whole { skip: 0, take: from + at + len });
    }
    if bytes.len() >= max {
        return Err(error::delimiter_missing(max));
    }
    *searched = visible.len();
    Ok(Front::Missing { total: None })
}

impl ReadSide {
    /// Notes that the driver has reported or a pause is over: a read may be made.
    pub(crate) fn refill(&mut self) {
        self.drained = false;
        self.paused = false;
    }

    /// Stops reading until a pause is over.
    pub(crate) fn pause(&mut self) {
        self.drained = true;
        self.paused = true;
    }

    /// Tells whether reading continues after a pause.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Notes that nothing more can be read until the driver reports.
    pub(crate) fn note_drained(&mut self) {
        self.drained = true;
    }

    /// Tells whether no read is to be made yet.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Returns how many bytes may be received ahead for the verb that waits: as many as its own
    /// call will ask for, as far as that is known.
    pub(crate) fn awaits(&self) -> usize {
        self.awaits.into()
    }

    /// Notes how many bytes may be received ahead; 0 if no verb waits to make a read.
    pub(crate) fn set_awaits(&mut self, bytes: usize) {
        self.awaits = u16::try_from(bytes).unwrap_or(u16::MAX);
    }

    /// Notes that a verb waits that will make a read of `asked` bytes.
    fn wait(&mut self, asked: usize) -> Progress<usize> {
        self.set_awaits(asked);
        Progress::Wait
    }

    /// Holds what was received ahead of a verb that has left.
    #[cold]
    pub(crate) fn hold_ahead(&mut self, link: &Link) {
        link.take_ahead(&mut |bytes| {
            let mut all = Vec::from(self.take_held());
            all.extend_from_slice(&bytes);
            self.hold(all.into());
        });
    }

    /// Returns the bytes received and not taken.
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

    /// Returns the payload of a message that is complete in the remainder of an earlier read: the
    /// usual case where many are in flight.
    #[inline]
    pub(crate) fn take_message(&mut self, limit: usize) -> Option<Bytes> {
        let Some(Held::Rest(bytes)) = self.held.as_deref_mut() else { return None };
        let Ok(frame::Frame::Payload(len)) = frame::parse(bytes, limit) else { return None };
        let end = frame::HEADER + len;
        // A message that ends here is left to `gather`, which frees the box.
        if bytes.len() <= end {
            return None;
        }
        let mut piece = bytes.split_to(end);
        piece.advance(frame::HEADER);
        Some(piece)
    }

    /// Copies held bytes into `buffer`, and returns how many.
    #[inline(always)]
    pub(crate) fn copy_front(&mut self, buffer: &mut [u8]) -> usize {
        if self.held.is_none() {
            return 0;
        }
        let front = self.take_front(buffer.len());
        buffer[..front.len()].copy_from_slice(&front);
        front.len()
    }

    /// Puts back bytes that no verb has taken; nothing else may be held.
    pub(crate) fn hold(&mut self, bytes: Bytes) {
        self.held = (!bytes.is_empty()).then(|| Box::new(Held::Rest(bytes)));
    }

    /// Puts bytes back that were received and that nobody has taken, before those that are held.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        self.is_front_new = true;
        if self.held().is_empty() {
            return self.hold(bytes);
        }
        let mut all = Vec::from(bytes);
        all.extend_from_slice(self.held());
        self.hold(all.into());
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
            return self.wait(asked);
        }
        match call(link) {
            Ok(got) => {
                // First what most reads settle with: one that has filled its buffer ends here.
                if link.tells_drained(got, asked) && !self.suspicious && got > 0 {
                    self.drained = true;
                }
                Progress::Done(Ok(got))
            }
            Err(Errno::AGAIN) => {
                self.drained = true;
                self.wait(asked)
            }
            Err(LATER) => Progress::Again,
            Err(error) if meaning(Call::Receive, error) == Meaning::Pause => {
                self.pause();
                Progress::Wait
            }
            Err(error) => Progress::Done(Err(link.reason(error))),
        }
    }

    /// Reads until the piece that `want` describes is complete, and calls `done` with it; `None` is
    /// the end of the stream with no bytes before it.
    pub(crate) fn gather<R>(
        &mut self,
        link: &Link,
        want: &mut Want,
        done: &mut dyn FnMut(Piece<'_>) -> R,
    ) -> Progress<Option<R>> {
        let (mut share, mut goes_on) = (Share::new(), true);
        if std::mem::take(&mut self.is_front_new) {
            want.search_anew();
        }
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

    /// Makes one read through the hot buffer. If it completes the piece and nothing follows, `done`
    /// gets the piece from the hot buffer; otherwise all bytes are copied and held.
    fn read_hot<R>(
        &mut self,
        link: &Link,
        want: &mut Want,
        done: &mut dyn FnMut(Piece<'_>) -> R,
    ) -> Progress<Read<R>> {
        let have = self.held().len();
        if self.drained {
            return self.wait(HOT - have).map(Read::Some);
        }
        let mut hot = hot::take();
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
            // The loop in `gather` looks again, at the copy, and finds the piece or the error.
            _ => {
                self.held = Some(Box::new(Held::Rest(Bytes::copy_from_slice(data))));
                Progress::Done(Ok(Read::Some(got)))
            }
        }
    }

    /// Makes one read directly into the final memory of the bytes, not beyond `total`, if that is
    /// known.
    fn read_direct(&mut self, link: &Link, have: usize, total: Option<usize>) -> Progress<usize> {
        if self.drained {
            // Long pieces go directly into their memory.
            return self.wait(0);
        }
        let mut growing = match self.held.take().map(|held| *held) {
            Some(Held::Growing(growing)) => growing,
            Some(Held::Rest(bytes)) => bytes.into(),
            None => Vec::new(),
        };
        let missing = total.map_or(AHEAD.max(have), |total| total - have);
        if growing.capacity() - have < missing.min(AHEAD) {
            // At least doubles, so that each byte is moved a bounded number of times.
            growing.reserve_exact(missing.min(AHEAD.max(have)));
        }
        let asked = missing.min(growing.capacity() - have).min(Share::BYTES);
        let read = self.read(link, asked, |link| link.recv_spare(&mut growing, asked));
        self.set_awaits(0);
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

/// The result of a read through the hot buffer.
enum Read<R> {
    /// The piece was completed.
    Done(R),
    /// So many bytes were received, and are held.
    Some(usize),
}
