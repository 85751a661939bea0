//! The operations of messages: a length, then that many bytes.
//!
//! `recv_msg` gathers in the reading side, so an unfinished message belongs to the socket and not
//! to the verb. `send_msg` queues a small message and sends a long one behind the queue. A message
//! that has been sent in part is always finished, by the queue if not by the verb.

use std::io;

use bytes::Bytes;

use super::operation::{Needs, Op};
use crate::{
    error,
    frame::{self, HEADER},
    socket::{
        link::Link,
        settings::{QUEUE_LIMIT, Settings},
        side::{Piece, Progress, ReadSide, Share, Want, WriteSide},
    },
    sys::Kind,
};

/// `recv_msg`: receives the next payload, in memory of its own.
#[derive(Default)]
pub(crate) struct RecvMsg {
    /// Bytes gathered so far, or of the finished message; `u32` holds any length of a message.
    have: u32,
}

impl Op for RecvMsg {
    type Side = ReadSide;
    type Output = Option<Bytes>;
    const VERB: &'static str = "recv_msg";
    const NEEDS: Needs = Needs::Stream;

    #[inline(always)]
    fn step(
        &mut self,
        link: &Link,
        settings: Settings,
        side: &mut ReadSide,
    ) -> Progress<Option<Bytes>> {
        if let Some(message) = side.take_message(settings.message_limit()) {
            self.have = message.len() as u32;
            return Progress::Done(Ok(Some(message)));
        }
        let mut want = Want::Message { limit: settings.message_limit() };
        let progress = side.gather(link, &mut want, &mut |piece| match piece {
            Piece::Lent(bytes) => Bytes::copy_from_slice(bytes),
            Piece::Own(bytes) => bytes,
        });
        self.have = match &progress {
            Progress::Done(Ok(Some(message))) => message.len() as u32,
            _ => side.held().len() as u32,
        };
        progress
    }

    fn moved(&self) -> usize {
        self.have as usize
    }

    fn weight(&self, _: &Option<Bytes>) -> usize {
        self.have as usize
    }

    fn is_nothing(&self, got: &Option<Bytes>) -> bool {
        got.is_none()
    }
}

/// `recv_msg_into`: receives the next payload into the caller's vector.
pub(crate) struct RecvMsgInto<'a> {
    pub(crate) into: &'a mut Vec<u8>,
    pub(crate) have: usize,
}

impl Op for RecvMsgInto<'_> {
    type Side = ReadSide;
    type Output = Option<usize>;
    const VERB: &'static str = "recv_msg_into";
    const NEEDS: Needs = Needs::Stream;

    fn step(
        &mut self,
        link: &Link,
        settings: Settings,
        side: &mut ReadSide,
    ) -> Progress<Option<usize>> {
        let mut want = Want::Message { limit: settings.message_limit() };
        let progress = side.gather(link, &mut want, &mut |piece| {
            let bytes = match &piece {
                Piece::Lent(bytes) => bytes,
                Piece::Own(bytes) => &bytes[..],
            };
            self.into.clear();
            self.into.extend_from_slice(bytes);
            bytes.len()
        });
        self.have = side.held().len();
        progress
    }

    fn moved(&self) -> usize {
        self.have
    }

    fn weight(&self, got: &Option<usize>) -> usize {
        got.unwrap_or(0)
    }

    fn is_nothing(&self, got: &Option<usize>) -> bool {
        got.is_none()
    }
}

/// `send_msg`, with a header before the payload, and `send_queued`, without one.
pub(crate) struct SendMsg<'a, const FRAMED: bool> {
    payload: &'a [u8],
    /// Bytes sent, header included.
    sent: usize,
}

impl<'a> SendMsg<'a, true> {
    pub(crate) fn message(payload: &'a [u8]) -> Self {
        SendMsg { payload, sent: 0 }
    }
}

impl<'a> SendMsg<'a, false> {
    pub(crate) fn raw(payload: &'a [u8]) -> Self {
        SendMsg { payload, sent: 0 }
    }
}

impl<const FRAMED: bool> SendMsg<'_, FRAMED> {
    fn header_len(&self) -> usize {
        if FRAMED { HEADER } else { 0 }
    }

    fn len(&self) -> usize {
        self.header_len() + self.payload.len()
    }

    /// Returns what was not sent yet of the header and of the payload.
    fn rest<'b>(&'b self, header: &'b [u8; HEADER]) -> [&'b [u8]; 2] {
        let of_header = self.sent.min(self.header_len());
        [&header[of_header..self.header_len()], &self.payload[self.sent - of_header..]]
    }

    fn header(&self) -> io::Result<[u8; HEADER]> {
        if FRAMED { frame::header(self.payload.len()) } else { Ok([0; HEADER]) }
    }

    /// Tells whether the message is small enough to be copied into the queue.
    fn is_small(&self, settings: Settings) -> bool {
        settings.coalescing && self.payload.len() < QUEUE_LIMIT
    }

    /// Queues the message if it is small and there is room for it, as for most messages.
    #[inline]
    fn queue_if_small(
        &self,
        settings: Settings,
        side: &mut WriteSide,
        header: &[u8; HEADER],
    ) -> bool {
        let fits = || side.queued() + self.len() <= settings.queue_limit() + HEADER;
        let queues = self.is_small(settings) && self.sent == 0 && fits();
        if queues {
            side.append(&header[..self.header_len()], self.payload);
        }
        queues
    }

    /// Sends until all was sent or the message fits into the queue.
    #[inline(never)]
    fn send(
        &mut self,
        link: &Link,
        settings: Settings,
        side: &mut WriteSide,
        header: &[u8; HEADER],
    ) -> Progress<()> {
        let mut share = Share::new();
        loop {
            if self.queue_if_small(settings, side, header) {
                return Progress::Done(Ok(()));
            }
            if self.sent == self.len() {
                return if settings.coalescing { Progress::Done(Ok(())) } else { side.push(link) };
            }
            // A small message waits for room in the queue. A long one is sent behind the queue in
            // the same call.
            let waits = self.is_small(settings) && self.sent == 0 && side.queued() > 0;
            let [header, payload] = if waits { [&[][..], &[]] } else { self.rest(header) };
            let payload = &payload[..payload.len().min(Share::BYTES)];
            match side.write(link, &[header, payload]) {
                Progress::Done(Ok(sent)) => {
                    self.sent += sent;
                    if !share.goes_on(sent) && self.sent < self.len() {
                        return Progress::Again;
                    }
                }
                Progress::Done(Err(error)) => return Progress::Done(Err(error)),
                Progress::Wait => return Progress::Wait,
                Progress::Again => return Progress::Again,
            }
        }
    }
}

impl<const FRAMED: bool> Op for SendMsg<'_, FRAMED> {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = if FRAMED { "send_msg" } else { "send_queued" };
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, link: &Link, settings: Settings, side: &mut WriteSide) -> Progress<()> {
        let header = match side.check_open(link).and_then(|()| self.header()) {
            Ok(header) => header,
            Err(error) => return Progress::Done(Err(error)),
        };
        if !FRAMED && self.payload.is_empty() {
            return Progress::Done(Ok(()));
        }
        if self.queue_if_small(settings, side, &header) {
            return Progress::Done(Ok(()));
        }
        self.send(link, settings, side, &header)
    }

    fn moved(&self) -> usize {
        self.sent
    }

    fn weight(&self, (): &()) -> usize {
        self.payload.len()
    }

    fn give_up(&mut self, side: &mut WriteSide) -> bool {
        if self.sent == 0 || side.has_failed() {
            return false;
        }
        // The header was valid when the first byte left. If TLS has all, its records are the rest.
        if let (true, Ok(header)) = (self.sent < self.len(), self.header()) {
            let [header, payload] = self.rest(&header);
            side.append(header, payload);
            self.sent = self.len();
        }
        true
    }
}

/// A message or raw bytes to be queued without waiting.
#[derive(Clone, Copy)]
pub(crate) enum Tried<'a> {
    /// A message.
    Message(&'a Bytes),
    /// Raw bytes.
    Raw(&'a [u8]),
}

impl Tried<'_> {
    fn verb(self) -> &'static str {
        match self {
            Tried::Message(_) => "try_send_msg",
            Tried::Raw(_) => "try_send_queued",
        }
    }

    /// Refuses a socket without a queue: only streams have one.
    pub(crate) fn check(self, kind: Kind) -> io::Result<()> {
        if kind.is_stream() { Ok(()) } else { Err(error::wrong_kind(self.verb(), kind.name())) }
    }

    fn len(self) -> usize {
        match self {
            Tried::Message(payload) => payload.len(),
            Tried::Raw(bytes) => bytes.len(),
        }
    }
}

/// Queues for `try_send_msg` and `try_send_queued`; returns `false` if that would wait.
pub(crate) fn try_queue(
    link: &Link,
    settings: Settings,
    side: &mut WriteSide,
    tried: Tried<'_>,
) -> io::Result<bool> {
    side.check_open(link)?;
    // Checks the length before anything is sent.
    let header = match tried {
        Tried::Message(payload) => frame::header(payload.len())?,
        Tried::Raw(_) => [0; HEADER],
    };
    // The whole queue may be of this turn, so a long one is flushed before it counts as full. An
    // empty one takes a message of any length.
    let limit = settings.queue_limit();
    let has_room = |side: &WriteSide| side.queued() == 0 || side.queued() + tried.len() <= limit;
    if !has_room(side) {
        if let Progress::Done(Err(error)) = side.flush(link) {
            return Err(error);
        }
        if !has_room(side) {
            return Ok(false);
        }
    }
    match tried {
        Tried::Message(payload) if payload.len() < QUEUE_LIMIT => side.append(&header, payload),
        Tried::Message(payload) => {
            side.append(&header, &[]);
            side.append_shared(payload.clone());
        }
        // Nothing to queue: a queue is never empty.
        Tried::Raw(&[]) => {}
        Tried::Raw(bytes) => side.append(&[], bytes),
    }
    Ok(true)
}
