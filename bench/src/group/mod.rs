//! The groups: kinds of work, each with its cases.

mod coroutines;
mod echo;
pub(crate) mod memory;
mod messages;

use std::io;
use std::time::Duration;

use clap::ValueEnum;

use crate::load::Load;
use crate::report::{Case, Report};
use crate::rounds::{Contestant, compete};
use crate::subject::{MakeServer, Subject};

/// What can be asked for on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// 64 B back and forth on K connections, both ends in one thread.
    Echo,
    /// Messages of 100 B on 64 connections, some in flight.
    Messages,
    /// Spawn coroutines and wait for their end.
    Spawn,
    /// Yield and be resumed.
    Yield,
    /// Bytes per idle connection and per parked coroutine.
    Memory,
}

impl Group {
    /// All groups in the order of the report.
    pub(crate) const ALL: [Self; 5] =
        [Self::Echo, Self::Messages, Self::Spawn, Self::Yield, Self::Memory];

    /// How many of its cases last as long as is asked for.
    pub(crate) fn timed_cases(self) -> usize {
        match self {
            Self::Echo => echo::CASES.len(),
            Self::Messages => messages::CASES.len(),
            Self::Spawn => coroutines::SPAWN.len(),
            Self::Yield => coroutines::YIELD.len(),
            Self::Memory => 0,
        }
    }
}

/// Runs the cases of a group, each for so long.
pub(crate) fn run(
    group: Group,
    subjects: &[Subject],
    time: Duration,
    report: &mut Report,
) -> io::Result<()> {
    match group {
        Group::Echo => echo::run(subjects, time, report),
        Group::Messages => messages::run(subjects, time, report),
        Group::Spawn => coroutines::run("spawn", &coroutines::SPAWN, subjects, time, report),
        Group::Yield => coroutines::run("yield", &coroutines::YIELD, subjects, time, report),
        Group::Memory => memory::run(subjects, report),
    }
}

/// Lets the contestants of a case take turns and reports it.
fn run_case(case: &Case, mut contestants: Vec<Contestant>, time: Duration, report: &mut Report) {
    report.begin(case);
    let costs = compete(&mut contestants, time, |round| report.tick(round));
    let names = contestants.into_iter().map(|contestant| contestant.name);
    report.add(case, &names.zip(costs).collect::<Vec<_>>());
}

/// A server and its load: `operations` are in each request of each of the K connections.
fn server_contestant(
    name: &str,
    make: MakeServer,
    k: usize,
    request: Vec<u8>,
    operations: usize,
) -> io::Result<Contestant> {
    let length = (2 * request.len()).max(SMALLEST_BUFFER);
    let (load, connections) = Load::connect(k, request)?;
    let mut server = make(connections, length)?;
    let times = (REQUESTS_PER_TURN / k).max(2);
    let all = (times * k * operations) as f64;
    let turn = Box::new(move || server.turn(&load, times).as_nanos() as f64 / all);
    Ok(Contestant { name: name.to_owned(), turn })
}

/// So few that a turn lasts 1 to 3 ms, less than the scheduler of the system takes a core away for:
/// with shorter turns a null run came out closer to 1 than with longer ones in the same time.
const REQUESTS_PER_TURN: usize = 192;
/// Nobody receives into less.
const SMALLEST_BUFFER: usize = 4096;
