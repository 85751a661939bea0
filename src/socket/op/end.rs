//! The operations that end sending: they send the queue first, and over TLS a close_notify.

use std::{io, net::Shutdown};

use super::operation::{Needs, Op};
use crate::socket::{
    link::Link,
    settings::Settings,
    side::{Progress, WriteSide},
};

/// `flush`: sends until nothing is queued.
#[derive(Default)]
pub(crate) struct Flush {
    /// Records were left.
    pending: bool,
}

impl Op for Flush {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "flush";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<()> {
        let flushed = side.flush(link);
        self.pending = link.has_pending();
        flushed
    }

    fn give_up(&mut self, side: &mut WriteSide) -> bool {
        side.queued() > 0 || self.pending
    }
}

/// The first half of `close`: sends until nothing is queued.
pub(crate) struct LastFlush;

impl Op for LastFlush {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "close";
    const CLOSES: bool = true;
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<()> {
        side.flush(link)
    }
}

/// The end of TLS in `close`, or when the socket is taken apart: sends the queue, then a
/// close_notify.
pub(crate) struct CloseNotify;

impl Op for CloseNotify {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "close";
    const CLOSES: bool = true;
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<()> {
        send_close_notify(link, side)
    }
}

/// Sends the queue and, if TLS is spoken, a close_notify behind it.
fn send_close_notify(link: &Link, side: &mut WriteSide) -> Progress<()> {
    match side.flush(link) {
        Progress::Done(Ok(())) => {}
        progress => return progress,
    }
    link.close_notify();
    side.push(link)
}

/// `shutdown` of sending, or of both directions: sends the queue first.
pub(crate) struct ShutDown {
    how: Shutdown,
    /// Records were left.
    pending: bool,
}

impl ShutDown {
    pub(crate) fn new(how: Shutdown) -> Self {
        Self { how, pending: false }
    }
}

impl Op for ShutDown {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "shutdown";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<()> {
        let sent = send_close_notify(link, side);
        self.pending = link.has_pending();
        match sent {
            Progress::Done(Ok(())) => {}
            progress => return progress,
        }
        // Over TLS, sending ends later, when what was sent has arrived: after a shutdown of both
        // directions the system would answer arriving bytes with a reset.
        let how =
            if self.how == Shutdown::Both && link.is_secure() { Shutdown::Read } else { self.how };
        let ended = link.shutdown(how).map_err(io::Error::from);
        if ended.is_ok() {
            side.end();
        }
        Progress::Done(ended)
    }

    fn give_up(&mut self, side: &mut WriteSide) -> bool {
        side.queued() > 0 || self.pending
    }
}
