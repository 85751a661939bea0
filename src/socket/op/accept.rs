//! The operation that accepts a connection.

use std::io;

use rustix::io::Errno;

use super::operation::{Needs, Op};
use crate::{
    addr::Address,
    error,
    socket::{
        link::Link,
        settings::Settings,
        side::{Progress, ReadSide},
    },
    sys::{Call, Meaning, Sys, meaning},
};

/// `accept`: takes the next connection.
pub(crate) struct Accept;

impl Op for Accept {
    type Side = ReadSide;
    type Output = (Sys, Address);
    const VERB: &'static str = "accept";
    const NEEDS: Needs = Needs::Connections;

    fn step(&mut self, link: &Link, _: Settings, side: &mut ReadSide) -> Progress<(Sys, Address)> {
        if side.is_drained() {
            return Progress::Wait;
        }
        for _ in 0..FAILED_IN_A_ROW {
            let error = match link.sys().accept() {
                Ok(accepted) => return Progress::Done(Ok(accepted)),
                Err(error) => error,
            };
            match meaning(Call::Accept, error) {
                Meaning::Wait => {
                    side.note_drained();
                    return Progress::Wait;
                }
                // That client is gone already; another one may wait.
                Meaning::Next if link.sys().is_listening() => {}
                _ if error == Errno::INVAL && !link.sys().is_listening() => {
                    return Progress::Done(Err(error::context(
                        "accept",
                        "without listen",
                        error.into(),
                    )));
                }
                _ => return Progress::Done(Err(error.into())),
            }
        }
        // Many clients are gone, or each call fails: neither justifies a busy loop.
        side.pause();
        Progress::Wait
    }
}

/// Connections failed in a row after which `accept` pauses.
const FAILED_IN_A_ROW: usize = 64;

/// Tells whether the error means that no descriptor was left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| meaning(Call::Accept, error) == Meaning::Pause)
}
