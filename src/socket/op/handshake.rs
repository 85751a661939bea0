//! The operations of a handshake.
//!
//! A handshake is two operations in turns: our pending records leave, then records of the peer's
//! are read. It is over when the session says so and our last records have left.

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

/// Until our records of the handshake are in the system's hands.
pub(crate) struct ShakeSend;

impl Op for ShakeSend {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "handshake";
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<()> {
        match side.push(link) {
            // The failure sticks for sending; what the client has sent is there to be received.
            Progress::Done(Err(_)) if link.tls().is_some_and(Records::has_been_answered) => {
                Progress::Done(Ok(()))
            }
            progress => progress,
        }
    }
}

/// One read of the peer's; `false` once the handshake is done.
pub(crate) struct ShakeRecv;

impl Op for ShakeRecv {
    type Side = ReadSide;
    type Output = bool;
    const VERB: &'static str = "handshake";
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<bool> {
        let Some(tls) = link.tls() else { return Progress::Done(Ok(false)) };
        if side.is_drained() {
            return Progress::Wait;
        }
        match tls.shake(link.sys()) {
            Ok(more) => {
                // Behind the last of the handshake something may stand already.
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

/// Shakes hands on a connected socket whose channel has begun, no longer than until an instant.
pub(crate) async fn shake(face: &impl Face, until: Option<Instant>) -> io::Result<()> {
    loop {
        face.run_until(ShakeSend, until).await?;
        if !face.run_until(ShakeRecv, until).await? {
            return face.run_until(ShakeSend, until).await;
        }
    }
}
