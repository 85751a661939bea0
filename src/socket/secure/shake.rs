//! The operations of a handshake, and how each face drives them.
//!
//! A handshake is two operations in turns: what we have to say leaves, then what the peer says is
//! read. It is over when the session says so and our last records have left.

use std::{io, time::Duration};

use rustix::io::Errno;

use super::{
    super::{
        AsyncSocket,
        inbound::ReadSide,
        outbound::WriteSide,
        settings::Settings,
        step::{Needs, Op, Progress, Verb},
        sys::Sys,
    },
    Secure, took_too_long,
};
use crate::time;

/// Until our records of the handshake are in the system's hands.
pub(crate) struct ShakeSend;

impl Op for ShakeSend {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "handshake";
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, sys: &Sys, _: Settings, side: &mut WriteSide) -> Progress<()> {
        side.push(sys)
    }
}

/// One read of the peer's; `false` once the handshake is done.
pub(crate) struct ShakeRecv;

impl Op for ShakeRecv {
    type Side = ReadSide;
    type Output = bool;
    const VERB: &'static str = "handshake";
    const NEEDS: Needs = Needs::Stream;

    fn step(&mut self, sys: &Sys, _: Settings, side: &mut ReadSide) -> Progress<bool> {
        let Some(tls) = sys.tls() else { return Progress::Done(Ok(false)) };
        if side.is_drained() {
            return Progress::Wait;
        }
        match tls.shake(sys) {
            Ok(more) => {
                // Behind the last of the handshake something may stand already.
                side.refill();
                Progress::Done(Ok(more))
            }
            Err(Errno::AGAIN) => {
                side.drain();
                Progress::Wait
            }
            Err(Errno::CONNRESET) => {
                let text = "the peer has left during the TLS handshake";
                Progress::Done(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)))
            }
            Err(error) => Progress::Done(Err(sys.reason(error))),
        }
    }
}

/// Shakes hands on a connected socket whose channel has begun, within the configuration's time.
pub(super) async fn shake(socket: &AsyncSocket, timeout: Duration) -> io::Result<()> {
    let shaken = time::timeout(timeout, async {
        loop {
            Verb::new(socket, ShakeSend).await?;
            if !Verb::new(socket, ShakeRecv).await? {
                return Verb::new(socket, ShakeSend).await;
            }
        }
    });
    let given_up = GiveUp(socket);
    let shaken = shaken.await.unwrap_or_else(|_| Err(took_too_long()));
    drop(given_up);
    shaken
}

/// A handshake that was dropped, has failed, or took too long, is not taken up again.
struct GiveUp<'a>(&'a AsyncSocket);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.core.tls(Secure::give_up);
    }
}
