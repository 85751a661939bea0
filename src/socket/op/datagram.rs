//! The operations of datagrams, one at a time and in batches.

use super::operation::{Lend, Needs, Op};
use crate::{
    addr::Address,
    error,
    socket::{
        batch::DatagramBatch,
        link::Link,
        settings::Settings,
        side::{Progress, ReadSide, WriteSide},
    },
    sys::MANY,
};

/// `recv_from`: receives one datagram and its sender's address.
pub(crate) struct RecvFrom<'a>(pub(crate) &'a mut [u8]);

impl Op for RecvFrom<'_> {
    type Side = ReadSide;
    type Output = (usize, Address);
    const VERB: &'static str = "recv_from";
    const NEEDS: Needs = Needs::Datagram;

    fn step(
        &mut self,
        link: &Link,
        _: Settings,
        side: &mut ReadSide,
    ) -> Progress<(usize, Address)> {
        let mut from = None;
        let read = side.read(link, 0, |link| {
            let (got, address) = link.sys().recv_from(self.0)?;
            from = Some(address);
            Ok(got)
        });
        read.map(|got| (got, from.expect("the call succeeded")))
    }
}

/// `send_to`: sends one datagram.
pub(crate) struct SendTo<'a> {
    pub(crate) buffer: &'a [u8],
    pub(crate) to: &'a Address,
}

impl Op for SendTo<'_> {
    type Side = WriteSide;
    type Output = usize;
    const VERB: &'static str = "send_to";
    const NEEDS: Needs = Needs::Datagram;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<usize> {
        side.write_datagram(link, |link| link.sys().send_to(self.buffer, self.to))
    }
}

/// `recv_batch`: receives as many datagrams as are there and fit.
pub(crate) struct RecvBatch<'a>(pub(crate) &'a mut DatagramBatch);

impl Op for RecvBatch<'_> {
    type Side = ReadSide;
    type Output = usize;
    const VERB: &'static str = "recv_batch";
    const NEEDS: Needs = Needs::Datagram;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<usize> {
        side.read(link, 0, |link| self.0.fill(link))
    }
}

/// `send_batch`: sends as many datagrams as the system accepts.
pub(crate) struct SendBatch<'a, B>(pub(crate) &'a [(B, Address)]);

impl<B: AsRef<[u8]>> Op for SendBatch<'_, B> {
    type Side = WriteSide;
    type Output = usize;
    const VERB: &'static str = "send_batch";
    const NEEDS: Needs = Needs::Datagram;

    fn step(&mut self, _: &Link, _: Settings, _: &mut WriteSide) -> Progress<usize> {
        unreachable!("its attempts are made of another step")
    }

    fn attempt(&mut self, lend: &mut impl Lend<WriteSide>) -> Option<Progress<usize>> {
        let datagrams = &self.0[..self.0.len().min(MANY)];
        let mut shown = [&[][..]; MANY];
        for (place, (bytes, _)) in shown.iter_mut().zip(datagrams) {
            // Calls `as_ref` once: a second call may return other bytes.
            *place = bytes.as_ref();
        }
        if lend.is_closed() {
            return Some(Progress::Done(Err(error::closed())));
        }
        lend.step(&mut SendShown { shown: &shown[..datagrams.len()], datagrams })
    }
}

/// One call that sends a batch, with the bytes that its datagrams returned.
struct SendShown<'a, B> {
    shown: &'a [&'a [u8]],
    datagrams: &'a [(B, Address)],
}

impl<B> Op for SendShown<'_, B> {
    type Side = WriteSide;
    type Output = usize;
    const VERB: &'static str = "send_batch";
    const NEEDS: Needs = Needs::Datagram;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<usize> {
        if self.datagrams.is_empty() {
            return Progress::Done(Ok(0));
        }
        side.write_datagram(link, |link| link.sys().send_many(self.shown, self.datagrams))
    }
}
