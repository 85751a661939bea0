//! The operations of datagrams, one at a time and in batches.

use super::super::{
    batch::DatagramBatch,
    inbound::ReadSide,
    outbound::WriteSide,
    settings::Settings,
    step::{Needs, Op, Progress},
    sys::Sys,
};
use crate::addr::Address;

/// `recv_from`: one datagram and where it came from.
pub(crate) struct RecvFrom<'a>(pub(crate) &'a mut [u8]);

impl Op for RecvFrom<'_> {
    type Side = ReadSide;
    type Output = (usize, Address);
    const VERB: &'static str = "recv_from";
    const NEEDS: Needs = Needs::Datagram;

    fn step(&mut self, sys: &Sys, _: Settings, side: &mut ReadSide) -> Progress<(usize, Address)> {
        let mut from = None;
        let read = side.read(sys, 0, |sys| {
            let (got, address) = sys.recv_from(self.0)?;
            from = Some(address);
            Ok(got)
        });
        read.map(|got| (got, from.expect("the call succeeded")))
    }
}

/// `send_to`: one datagram.
pub(crate) struct SendTo<'a> {
    pub(crate) buffer: &'a [u8],
    pub(crate) to: &'a Address,
}

impl Op for SendTo<'_> {
    type Side = WriteSide;
    type Output = usize;
    const VERB: &'static str = "send_to";
    const NEEDS: Needs = Needs::Datagram;

    fn step(&mut self, sys: &Sys, _: Settings, side: &mut WriteSide) -> Progress<usize> {
        side.write_datagram(sys, |sys| sys.send_to(self.buffer, self.to))
    }
}

/// `recv_batch`: as many datagrams as are there and fit.
pub(crate) struct RecvBatch<'a>(pub(crate) &'a mut DatagramBatch);

impl Op for RecvBatch<'_> {
    type Side = ReadSide;
    type Output = usize;
    const VERB: &'static str = "recv_batch";
    const NEEDS: Needs = Needs::Datagram;

    fn step(&mut self, sys: &Sys, _: Settings, side: &mut ReadSide) -> Progress<usize> {
        side.read(sys, 0, |sys| self.0.fill(sys))
    }
}

/// `send_batch`: as many datagrams as go.
pub(crate) struct SendBatch<'a, B>(pub(crate) &'a [(B, Address)]);

impl<B: AsRef<[u8]>> Op for SendBatch<'_, B> {
    type Side = WriteSide;
    type Output = usize;
    const VERB: &'static str = "send_batch";
    const NEEDS: Needs = Needs::Datagram;

    fn step(&mut self, sys: &Sys, _: Settings, side: &mut WriteSide) -> Progress<usize> {
        if self.0.is_empty() {
            return Progress::Done(Ok(0));
        }
        side.write_datagram(sys, |sys| sys.send_many(self.0))
    }
}
