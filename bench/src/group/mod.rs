//! The groups: kinds of work, each with its cases.

mod bulk;
mod connections;
mod coroutines;
mod datagrams;
mod echo;
mod files;
mod http;
mod latency;
mod loaded;
pub(crate) mod memory;
mod messages;
mod processes;
mod python;
mod scale;
mod scope;
mod sync;
mod timeouts;
mod tls;
mod verbs;

use std::io;
use std::time::Duration;

use clap::ValueEnum;

use crate::load::Load;
use crate::report::{Case, Report};
use crate::rounds::{Contestant, Cost, by_contestant, compete, take_turns};
use crate::served::MakeServer;
use crate::subject::Subject;

/// A group, as named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// asyncoro against itself: the difference between equals is the resolution.
    Null,
    /// Bytes back and forth on K connections, both ends in one thread.
    Echo,
    /// Echo of 16 KiB, by verb.
    Verbs,
    /// Echo between two processes, the server's time on its core.
    Processes,
    /// hyper between two processes, the server's time on its core.
    Http,
    /// One connection: how long an answer takes, and its cost.
    Latency,
    /// Many connections at once: how long an answer takes, batching on and off.
    Loaded,
    /// Messages on 64 connections, some in flight.
    Messages,
    /// Spawn, yield, wake from another thread, channels.
    Coroutines,
    /// A scope of 100 children.
    Scope,
    /// Locks and channels between coroutines of one thread.
    Sync,
    /// Timers that are dropped before they are due, and timeouts that never pass.
    Timers,
    /// Short-lived connections.
    Connections,
    /// Datagrams, one by one and in batches.
    Datagrams,
    /// Many bytes in one direction.
    Bulk,
    /// Few active connections among many.
    Scale,
    /// Files, processes, blocking functions.
    Files,
    /// Bytes per idle connection and per parked coroutine.
    Memory,
    /// TLS: records, messages, handshakes, idle connections.
    Tls,
    /// Python: echo, records, messages, coroutines, idle connections.
    Python,
}

impl Group {
    /// All groups, in the order of the report.
    pub(crate) const ALL: [Self; 20] = [
        Self::Null,
        Self::Echo,
        Self::Verbs,
        Self::Processes,
        Self::Http,
        Self::Latency,
        Self::Loaded,
        Self::Messages,
        Self::Coroutines,
        Self::Scope,
        Self::Sync,
        Self::Timers,
        Self::Connections,
        Self::Datagrams,
        Self::Bulk,
        Self::Scale,
        Self::Files,
        Self::Memory,
        Self::Tls,
        Self::Python,
    ];

    /// Returns how many cases it has that take the time that is asked for; those of memory take it
    /// only roughly.
    pub(crate) fn timed_cases(self) -> usize {
        match self {
            Self::Null => 3,
            Self::Echo => echo::CASES.len(),
            Self::Verbs => verbs::CASES,
            Self::Processes => processes::CASES.len(),
            Self::Http => http::CASES.len(),
            Self::Latency => latency::CASES.len(),
            Self::Loaded => loaded::CASES.len(),
            Self::Messages => messages::CASES.len(),
            Self::Coroutines => coroutines::COROUTINES.len(),
            Self::Scope => scope::CASES.len(),
            Self::Sync => sync::CASES,
            Self::Timers => coroutines::TIMERS.len() + timeouts::CASES,
            Self::Connections => connections::CASES.len(),
            Self::Datagrams => datagrams::CASES.len(),
            Self::Bulk => bulk::CASES.len(),
            Self::Scale => scale::CASES.len(),
            Self::Files => files::CASES.len(),
            Self::Memory => memory::CASES,
            Self::Tls => tls::CASES.len(),
            Self::Python => python::cases(),
        }
    }
}

/// Runs the cases of a group, each for a time.
pub(crate) fn run(group: Group, time: Duration, report: &mut Report) -> io::Result<()> {
    match group {
        Group::Null => {
            echo::null(time, report)?;
            messages::null(time, report)?;
            coroutines::null(time, report)
        }
        Group::Echo => echo::run(time, report),
        Group::Verbs => verbs::run(time, report),
        Group::Processes => processes::run(time, report),
        Group::Http => http::run(time, report),
        Group::Latency => latency::run(time, report),
        Group::Loaded => loaded::run(time, report),
        Group::Messages => messages::run(time, report),
        Group::Coroutines => coroutines::run("coroutines", &coroutines::COROUTINES, time, report),
        Group::Scope => scope::run(time, report),
        Group::Sync => sync::run(time, report),
        Group::Timers => {
            coroutines::run("timers", &coroutines::TIMERS, time, report)?;
            timeouts::run(time, report)
        }
        Group::Connections => connections::run(time, report),
        Group::Datagrams => datagrams::run(time, report),
        Group::Bulk => bulk::run(time, report),
        Group::Scale => scale::run(time, report),
        Group::Files => files::run(time, report),
        Group::Memory => memory::run(report),
        Group::Tls => tls::run(time, report),
        Group::Python => python::run(time, report),
    }
}

/// Runs the part of a group that has a process of its own.
pub(crate) fn child(part: &[String]) -> io::Result<()> {
    let words: Vec<&str> = part.iter().map(String::as_str).collect();
    match words[..] {
        ["processes", length, subject] => processes::child(length, subject),
        ["http", subject] => http::child(subject),
        ["bulk", way, total, piece, subject] => bulk::child(way, total, piece, subject),
        ["scale", connections, subject] => scale::child(connections, subject),
        ["timers", subject] => timeouts::child(subject),
        _ => Err(io::Error::other(format!("there is no part {words:?}"))),
    }
}

/// Reduces a list of subjects to asyncoro, twice.
fn again<M: Clone>(subjects: Vec<Subject<M>>) -> [Subject<M>; 2] {
    let asyncoro = subjects.into_iter().last().expect("asyncoro is the last of each list");
    let again = Subject { name: asyncoro.name.clone() + " again", make: asyncoro.make.clone() };
    [asyncoro, again]
}

/// Lets the contestants of a case take turns and reports it.
fn run_case(case: &Case, mut contestants: Vec<Contestant>, time: Duration, report: &mut Report) {
    contestants.retain(|contestant| report.wants(&contestant.name));
    report.begin(case);
    if contestants.is_empty() {
        return;
    }
    let costs = compete(&mut contestants, time, |round| report.tick(round));
    let names = contestants.into_iter().map(|contestant| contestant.name);
    report.add(case, &names.zip(costs).collect::<Vec<_>>());
}

/// A turn that returns several figures.
type Turn<const N: usize> = Box<dyn FnMut() -> [f64; N]>;
/// The subjects of a case with as many metrics.
type Turns<const N: usize> = Vec<(String, Turn<N>)>;

/// Lets the subjects take turns and reports each metric.
fn run_metrics<const N: usize>(
    metrics: [Case; N],
    mut subjects: Turns<N>,
    time: Duration,
    report: &mut Report,
) {
    report.begin(&metrics[0]);
    let (count, turn) = (subjects.len(), |index: usize| (subjects[index].1)());
    let rounds = take_turns(count, turn, time, |round| report.tick(round));
    for (place, case) in metrics.iter().enumerate() {
        let figures = rounds.iter().map(|turns| turns.iter().map(|turn| turn[place]).collect());
        let names = subjects.iter().map(|(name, _)| name.clone());
        report.add(case, &names.zip(by_contestant(figures)).collect::<Vec<_>>());
    }
}

/// Makes servers and their loads: each request of each of the K connections has a number of
/// operations.
fn server_contestants(
    subjects: &[Subject<MakeServer>],
    k: usize,
    request: &[u8],
    operations: usize,
) -> io::Result<Vec<Contestant>> {
    let contestant = |subject: &Subject<MakeServer>| {
        let length = (2 * request.len()).max(SMALLEST_BUFFER);
        let (load, connections) = Load::connect(k, request.to_vec())?;
        let mut server = (subject.make)(connections, length)?;
        let works_in_sends = server.works_in_sends();
        let times = (REQUESTS_PER_TURN / k).max(2);
        let all = (times * k * operations) as f64;
        let turn = move || {
            let spent = server.turn(&load, times);
            let per_operation = |time: Duration| time.as_nanos() as f64 / all;
            Cost { own: per_operation(spent.serving), sending: per_operation(spent.sending) }
        };
        Ok(Contestant { works_in_sends, ..Contestant::new(&subject.name, turn) })
    };
    subjects.iter().map(contestant).collect()
}

/// So few that a turn lasts 1 to 3 ms, less than the time slice of the system's scheduler: with
/// shorter turns a null run came closer to 1 than with longer ones in the same time.
const REQUESTS_PER_TURN: usize = 192;
/// The least length of a server's buffer.
const SMALLEST_BUFFER: usize = 4096;
