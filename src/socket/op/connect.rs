//! The operation that connects to one address; its states are in `connection.rs`.

use std::mem;

use rustix::io::Errno;

use super::operation::{Needs, Op};
use crate::{
    addr::Address,
    socket::{
        link::Link,
        settings::Settings,
        side::{Found, Progress, WriteSide},
    },
};

/// `connect`: starts an attempt, then waits for its result.
pub(crate) enum Connect {
    To(Address),
    Begun,
}

impl Op for Connect {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "connect";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<()> {
        match mem::replace(self, Connect::Begun) {
            Connect::To(to) => begin(link, side, to),
            Connect::Begun => go_on(link, side),
        }
    }

    fn is_nothing(&self, (): &()) -> bool {
        true
    }
}

fn begin(link: &Link, side: &mut WriteSide, to: Address) -> Progress<()> {
    side.refill();
    match side.connection.clear_for(link, &to) {
        Ok(Found::Nothing) => {}
        Ok(Found::Same) => {
            side.note_full();
            return Progress::Wait;
        }
        Ok(Found::Connected) => return Progress::Done(Ok(())),
        Err(error) => return Progress::Done(Err(error.into())),
    }
    match link.sys().connect(&to) {
        Ok(()) => {
            side.forget_failure();
            Progress::Done(Ok(()))
        }
        Err(Errno::INPROGRESS) => {
            side.connection.begin(to);
            side.forget_failure();
            side.note_full();
            Progress::Wait
        }
        // This includes the full queue of a Unix listener: no event reports room in it.
        Err(error) => Progress::Done(Err(error.into())),
    }
}

fn go_on(link: &Link, side: &mut WriteSide) -> Progress<()> {
    let Some(to) = side.connection.target() else {
        // This verb has the lock, so no other has ended the attempt.
        return Progress::Done(Err(Errno::CONNABORTED.into()));
    };
    match link.sys().is_connected_to(to) {
        Ok(true) => {
            side.connection.succeed();
            Progress::Done(Ok(()))
        }
        Ok(false) => {
            side.note_full();
            Progress::Wait
        }
        Err(error) => {
            side.connection.fail();
            Progress::Done(Err(error.into()))
        }
    }
}
