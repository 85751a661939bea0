//! Timeouts that are armed anew for each request and never pass, and the same without.
//!
//! With 9,000 connections each subject has both ends in a child of its own, because of the file
//! limit; the load is that of the group `echo`, and all connections have a request in each
//! iteration.

use std::io;
use std::time::Duration;

use super::{run_case, server_contestants};
use crate::child::{self, contestant};
use crate::load::Load;
use crate::report::{Base, Case, Report};
use crate::subject::{self, find};

/// The few connections take the time that is asked for, the many longer: their rounds take seconds.
pub(super) const CASES: usize = 1 + LONGER;
const LONGER: usize = 4;

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    let subjects = subject::in_time();
    let contestants = server_contestants(&subjects, 64, &REQUEST, 1)?;
    run_case(&case("K = 64"), contestants, time, report);

    let mut contestants = Vec::new();
    for subject in subjects.iter().filter(|subject| report.wants(&subject.name)) {
        contestants.push(contestant(&subject.name, &["timers", &subject.name])?);
    }
    let time = time * LONGER as u32;
    run_case(&case("9,000 connections"), contestants, time, report);
    Ok(())
}

fn case(connections: &str) -> Case {
    let name = format!("echo, {connections}, 64 B, timeout armed per request");
    let (metric, bases) = ("time per request", &[Base::Subject("asyncoro without")]);
    Case { group: "timers", name, metric, unit: "ns", bases, x: None }
}

/// In a child: runs both ends of the many connections of a subject.
pub(super) fn child(subject: &str) -> io::Result<()> {
    let make = find(subject::in_time(), subject)?;
    let (load, accepted) = Load::connect(CONNECTIONS, REQUEST.to_vec())?;
    let server = make(accepted, super::SMALLEST_BUFFER)?;
    child::serve_turns(server, &load, 1, CONNECTIONS)
}

const CONNECTIONS: usize = 9_000;
const REQUEST: [u8; 64] = [b'?'; 64];
