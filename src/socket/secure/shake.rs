//! The operations of a handshake, and how each face drives them.
//!
//! A handshake is two operations in turns: what we have to say leaves, then what the peer says is
//! read. It is over when the session says so and our last records have left.

use std::{
    future::{self, Future},
    io,
    pin::Pin,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use rustix::io::Errno;

use super::{Secure, took_too_long};
use crate::{
    socket::{
        AsyncSocket,
        inbound::ReadSide,
        link::Link,
        outbound::WriteSide,
        settings::Settings,
        step::{Needs, Op, Progress, Verb},
    },
    sys::{Call, Meaning, meaning},
    time,
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
            Progress::Done(Err(_)) if link.tls().is_some_and(Secure::has_been_answered) => {
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
                side.drain();
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

/// How far a server's handshake has come, in the order in which they make room for others: the
/// client has sent nothing; something, but not its whole first message; it was not looked at yet;
/// it was answered.
pub(super) const SILENT: u8 = 0;
pub(super) const BEGUN: u8 = 1;
pub(super) const NEW: u8 = 2;
pub(super) const ANSWERED: u8 = 3;

/// Shakes hands on a connected socket whose channel has begun, within the configuration's time.
/// How far it has come stands in `stage` while it waits.
pub(super) async fn shake(
    socket: &AsyncSocket,
    timeout: Duration,
    stage: Option<&AtomicU8>,
) -> io::Result<()> {
    let note = || {
        let now = stage.map(|stage| (stage, socket.core.tls(Secure::stage_of_handshake)));
        if let Some((stage, Some(now))) = now {
            stage.store(now, Ordering::Relaxed);
        }
    };
    let shaken = time::timeout(timeout, async {
        loop {
            Verb::new(socket, ShakeSend).await?;
            let mut receiving = Verb::new(socket, ShakeRecv);
            let more = future::poll_fn(|cx| {
                let poll = Pin::new(&mut receiving).poll(cx);
                note();
                poll
            });
            if !more.await? {
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
