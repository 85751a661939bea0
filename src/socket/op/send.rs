//! The operations that send on a stream or a connected datagram socket, behind the queue.

use std::cell::Cell;

use bytes::{Buf, Bytes};

use super::operation::{Needs, Op};
use crate::socket::{
    link::Link,
    settings::Settings,
    side::{PARTS, Progress, Share, WriteSide},
};

/// `send`: writes the caller's bytes once, behind the queue.
pub(crate) struct Send<'a>(pub(crate) &'a [u8]);

impl Op for Send<'_> {
    type Side = WriteSide;
    type Output = usize;
    const VERB: &'static str = "send";
    const NEEDS: Needs = Needs::Any;

    // Part of the verb also where a poll method has it too.
    #[inline(always)]
    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<usize> {
        let some = match self.0.split_at_checked(Share::BYTES) {
            Some((part, _)) if link.kind().is_stream() => part,
            _ => self.0,
        };
        send_some(link, side, &[some], some.is_empty())
    }

    fn weight(&self, sent: &usize) -> usize {
        *sent
    }
}

/// `send_vectored`: writes from several buffers once, behind the queue.
pub(crate) struct SendVectored<'a>(pub(crate) &'a [&'a [u8]]);

impl Op for SendVectored<'_> {
    type Side = WriteSide;
    type Output = usize;
    const VERB: &'static str = "send_vectored";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<usize> {
        send_some(link, side, self.0, self.0.iter().all(|part| part.is_empty()))
    }

    fn weight(&self, sent: &usize) -> usize {
        *sent
    }
}

/// Writes until something of `parts` was sent or, if they are empty, until the queue was.
#[inline(always)]
fn send_some(link: &Link, side: &mut WriteSide, parts: &[&[u8]], empty: bool) -> Progress<usize> {
    // An empty datagram is sent; an empty write to a stream only flushes the queue.
    if empty && link.kind().is_stream() {
        return side.flush(link).map(|()| 0);
    }
    if parts.len() > PARTS && !link.kind().is_stream() {
        // A verb on a stream can continue with the parts left over; a datagram must be one call.
        return side.write(link, &[&parts.concat()]);
    }
    loop {
        match side.write(link, parts) {
            Progress::Done(Ok(0)) if !empty => {}
            progress => return progress,
        }
    }
}

/// `send_all`: writes all of the caller's bytes, behind the queue.
pub(crate) struct SendAll<'a> {
    pub(crate) buffer: &'a [u8],
    pub(crate) sent: usize,
}

impl Op for SendAll<'_> {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "send_all";
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<()> {
        let mut share = Share::new();
        while self.sent < self.buffer.len() {
            let rest = &self.buffer[self.sent..];
            match side.write_bytes(link, &rest[..rest.len().min(Share::BYTES)]) {
                Progress::Done(Ok(sent)) => {
                    self.sent += sent;
                    if !share.goes_on(sent) && self.sent < self.buffer.len() {
                        return Progress::Again;
                    }
                }
                Progress::Done(Err(error)) => return Progress::Done(Err(error)),
                Progress::Wait => return Progress::Wait,
                Progress::Again => return Progress::Again,
            }
        }
        if self.buffer.is_empty() {
            return side.flush(link);
        }
        side.push(link)
    }

    fn moved(&self) -> usize {
        self.sent
    }

    fn weight(&self, (): &()) -> usize {
        self.sent
    }
}

/// What `copy` could not send at once: writes all of it, behind the queue. What is left is the
/// caller's, whatever becomes of the operation.
pub(crate) struct SendRest<'a> {
    pub(crate) rest: &'a mut Bytes,
    pub(crate) count: &'a Cell<u64>,
}

impl Op for SendRest<'_> {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "copy";
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<()> {
        let mut share = Share::new();
        while !self.rest.is_empty() {
            let some = &self.rest[..self.rest.len().min(Share::BYTES)];
            match side.write_bytes(link, some) {
                Progress::Done(Ok(sent)) => {
                    self.rest.advance(sent);
                    self.count.set(self.count.get() + sent as u64);
                    if !share.goes_on(sent) && !self.rest.is_empty() {
                        return Progress::Again;
                    }
                }
                progress => return progress.map(|_| ()),
            }
        }
        side.push(link)
    }

    fn moved(&self) -> usize {
        self.count.get() as usize
    }
}
