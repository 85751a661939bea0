//! The operations of a handshake.
//!
//! A handshake alternates two operations: send our pending records, then read records of the peer.
//! It ends when the session says so and our last records were sent.

use std::{io, time::Instant};

use rustix::io::Errno;

use super::{
    composite::Face,
    operation::{Needs, Op},
};
use crate::{
    socket::{
        link::Link,
        records::Records,
        settings::Settings,
        side::{Progress, ReadSide, WriteSide},
    },
    sys::{Call, Meaning, meaning},
};

/// Sends our records of the handshake.
pub(crate) struct ShakeSend;

impl Op for ShakeSend {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "handshake";
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<()> {
        match side.push(link) {
            // The failure stays for sending; what the client has sent can still be received.
            Progress::Done(Err(_)) if link.tls().is_some_and(Records::has_been_answered) => {
                Progress::Done(Ok(()))
            }
            progress => progress,
        }
    }
}

/// Reads records of the peer once; returns `false` when the handshake is done.
pub(crate) struct ShakeRecv;

impl Op for ShakeRecv {
    type Side = ReadSide;
    type Output = bool;
    const VERB: &'static str = "handshake";
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<bool> {
        let Some(tls) = link.tls() else { return Progress::Done(Ok(false)) };
        // Of a poll method before: what comes is read by the handshake itself.
        side.set_awaits(0);
        if side.is_drained() {
            return Progress::Wait;
        }
        match tls.shake(link.sys()) {
            Ok(more) => {
                // Bytes may follow the last record of the handshake already.
                side.refill();
                Progress::Done(Ok(more))
            }
            Err(Errno::AGAIN) => {
                side.note_drained();
                Progress::Wait
            }
            Err(Errno::CONNRESET) => {
                let text = "the peer has left during the TLS handshake";
                Progress::Done(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)))
            }
            Err(error) if meaning(Call::Receive, error) == Meaning::Pause => {
                side.pause();
                Progress::Wait
            }
            Err(error) => Progress::Done(Err(link.reason(error))),
        }
    }
}

/// Runs the handshake on a connected socket whose channel has begun, until `until` at most.
pub(crate) async fn shake(face: &impl Face, until: Option<Instant>) -> io::Result<()> {
    loop {
        face.run_until(ShakeSend, until).await?;
        if !face.run_until(ShakeRecv, until).await? {
            return face.run_until(ShakeSend, until).await;
        }
    }
}
