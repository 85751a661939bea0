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

/// `accept`: the next connection.
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
                // That client is gone already; the next one may be there.
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
        // A flood of them, or something that fails each call: neither is worth a loop.
        side.pause();
        Progress::Wait
    }
}

/// Connections that have failed before they were accepted, after which `accept` pauses.
const FAILED_IN_A_ROW: usize = 64;

/// Tells whether there was no descriptor left.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|error| meaning(Call::Accept, error) == Meaning::Pause)
}
