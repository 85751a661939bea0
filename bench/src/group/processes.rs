//! Echo between two processes: the server on one core, its clients on another.
//!
//! The cost is the server's time on its core per request, not the requests per second: the host may
//! run both cores on one processor, which divides the latter by three and hardly changes the
//! former. The servers of all cases exist at the same time and take turns in the same rounds,
//! sleeping between their turns. So the mean of the cases can be taken within each round.

use std::io;
use std::time::Duration;

use crate::child::{CLIENTS, Pinned};
use crate::clients::{Answer, Clients};
use crate::listening::{self, connect};
use crate::report::{Base, Case, Report};
use crate::rounds::{Contestant, Cost, compete};
use crate::served::fatal;
use crate::subject::{self, find};

/// For each case the connections, the bytes of a request, and the requests in flight on each
/// connection.
pub(super) const CASES: [(usize, usize, usize); 5] =
    [(1, 64, 1), (64, 64, 1), (1_000, 64, 1), (64, 16 * 1024, 1), (64, 64, 16)];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    let mut subjects = subject::listening();
    subjects.retain(|subject| report.wants(&subject.name));
    let mut contestants = Vec::new();
    for case in CASES {
        for subject in &subjects {
            contestants.push(contestant(&subject.name, case)?);
        }
    }
    report.begin(&Case { name: "all cases".to_owned(), ..case("") });
    let pinned = Pinned::to(CLIENTS)?;
    let time = time * CASES.len() as u32;
    let costs = compete(&mut contestants, time, |round| report.tick(round));
    drop(pinned);

    let names = || subjects.iter().map(|subject| subject.name.clone());
    let by_case: Vec<&[Vec<f64>]> = costs.chunks(subjects.len().max(1)).collect();
    for ((connections, size, in_flight), costs) in CASES.into_iter().zip(&by_case) {
        let name = match in_flight {
            1 => format!("{connections} x {size} B"),
            _ => format!("{connections} x {size} B, {in_flight} in flight"),
        };
        report.add(&case(&name), &names().zip(costs.iter().cloned()).collect::<Vec<_>>());
    }
    let means = (0..subjects.len()).map(|subject| mean(&by_case, subject));
    let mean = Case { unit: "% of the first's", ..case("mean of the cases") };
    report.add(&mean, &names().zip(means).collect::<Vec<_>>());
    Ok(())
}

fn case(name: &str) -> Case {
    let metric = "server's CPU time per request";
    let bases = &[Base::Subject("epoll"), Base::Subject("tokio")];
    Case { group: "processes", name: name.to_owned(), metric, unit: "ns", bases, x: None }
}

fn contestant(
    subject: &str,
    (connections, size, in_flight): (usize, usize, usize),
) -> io::Result<Contestant> {
    let length = (2 * size * in_flight).max(super::SMALLEST_BUFFER).to_string();
    let (child, port) = listening::start(&["processes", &length, subject])?;
    let streams = (0..connections).map(|_| connect(port)).collect::<io::Result<_>>()?;
    let mut clients = Clients::new(streams, &vec![b'?'; size], in_flight, Answer::Same)?;
    Ok(Contestant::new(subject, move || {
        let (answered, took) = child.run_time_of(|| clients.load(WINDOW).unwrap_or_else(fatal));
        Cost::from(took.as_nanos() as f64 / answered as f64)
    }))
}

/// Returns for each round the mean over the cases of a subject's cost, in per cent of the first
/// subject's.
fn mean(by_case: &[&[Vec<f64>]], subject: usize) -> Vec<f64> {
    let rounds = by_case[0][subject].len();
    let ratio = |round| move |case: &&[Vec<f64>]| case[subject][round] / case[0][round];
    let mean = |round| by_case.iter().map(ratio(round)).sum::<f64>() / by_case.len() as f64;
    (0..rounds).map(|round| 100.0 * mean(round)).collect()
}

/// In a child: runs the server, given the length of its buffers and its name.
pub(super) fn child(length: &str, subject: &str) -> io::Result<()> {
    let listen = find(subject::listening(), subject)?;
    let length = length.parse().map_err(io::Error::other)?;
    listening::run(|listener| listen(listener, length))
}

/// How long a server is loaded in its turn.
const WINDOW: Duration = Duration::from_millis(50);
