//! The operations that only wait for readiness, for system calls that asyncoro does not offer.

use std::{io, time::Duration};

use super::operation::{Needs, Op};
use crate::{
    socket::{
        link::Link,
        settings::Settings,
        side::{Progress, ReadSide, WriteSide},
    },
    sys::{Direction, LATER},
};

/// `readable`: waits until a read would not wait.
pub(crate) struct Readable;

impl Op for Readable {
    type Side = ReadSide;
    type Output = ();
    const VERB: &'static str = "readable";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<()> {
        if !side.held().is_empty() {
            return Progress::Done(Ok(()));
        }
        // The bytes stay in the kernel, for a call of the caller's.
        side.set_awaits(0);
        if side.is_drained() {
            return Progress::Wait;
        }
        match link.is_readable() {
            Ok(true) => Progress::Done(Ok(())),
            Ok(false) => {
                side.note_drained();
                Progress::Wait
            }
            Err(LATER) => Progress::Again,
            Err(error) => Progress::Done(Err(io::Error::from(error))),
        }
    }

    fn is_nothing(&self, (): &()) -> bool {
        true
    }
}

/// `writable`: waits until a write would not wait.
pub(crate) struct Writable;

impl Op for Writable {
    type Side = WriteSide;
    type Output = ();
    const VERB: &'static str = "writable";
    const NEEDS: Needs = Needs::Any;

    fn step(&mut self, link: &Link, _: Settings, side: &mut WriteSide) -> Progress<()> {
        match side.flush(link) {
            Progress::Done(Ok(())) => {}
            progress => return progress,
        }
        if side.is_full() {
            return Progress::Wait;
        }
        match link.sys().wait(Direction::Write, Some(Duration::ZERO)) {
            Ok(None | Some(true)) => Progress::Done(Ok(())),
            Ok(Some(false)) => {
                side.note_full();
                Progress::Wait
            }
            Err(error) => Progress::Done(Err(io::Error::from(error))),
        }
    }

    fn is_nothing(&self, (): &()) -> bool {
        true
    }
}
