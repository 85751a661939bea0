//! Scale: the cost of a request by the number of connections, most of which are idle.
//!
//! Both ends of the connections are in a child, one for each subject and number of connections; the
//! load is that of the group `echo`. All children take turns in the same rounds, so that costs can
//! be compared across the numbers too.

use std::io;
use std::time::Duration;

use asyncoro::coro::Scheduler;

use crate::child::{self, contestant};
use crate::load::Load;
use crate::report::{Case, Report};
use crate::rounds::{Cost, by_contestant, charge, take_turns};
use crate::runtime::Runtime;
use crate::subject::{self, find};

/// The numbers of connections, and their text.
pub(super) const CASES: [(usize, &str); 4] =
    [(10, "10"), (100, "100"), (1_000, "1,000"), (9_000, "9,000")];
/// The index of the number that asyncoro's other numbers are compared with.
const BASE: usize = 1;

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    let mut subjects = subject::echoing();
    subjects.retain(|subject| report.wants(&subject.name));
    let mut contestants = Vec::new();
    for (connections, _) in CASES {
        for subject in &subjects {
            let part = ["scale", &connections.to_string(), &subject.name];
            contestants.push(contestant(&subject.name, &part)?);
        }
    }
    report.begin(&case("all cases".to_owned()));
    let (count, time) = (contestants.len(), time * CASES.len() as u32);
    let turn = |index: usize| (contestants[index].turn)();
    let rounds = take_turns(count, turn, time, |round| report.tick(round));

    let mut asyncoro = Vec::new();
    for ((number, connections), place) in CASES.into_iter().zip(0..) {
        let these = place * subjects.len()..(place + 1) * subjects.len();
        let contestants = &contestants[these.clone()];
        let charge = |turns: &Vec<Cost>| charge(contestants, &turns[these.clone()]);
        let costs = by_contestant(rounds.iter().map(charge));
        let names = subjects.iter().map(|subject| subject.name.clone());
        let results: Vec<_> = names.zip(costs).collect();
        let name = format!("{ACTIVE} active of {connections}");
        report.add(&Case { x: Some(number as f64), ..case(name) }, &results);
        let ours = results.into_iter().filter(|(name, _)| name == Scheduler::NAME);
        asyncoro.extend(ours.map(|(_, costs)| (format!("{connections} connections"), costs)));
    }
    if asyncoro.len() > BASE {
        asyncoro[..=BASE].rotate_right(1);
        report.add(&case(format!("{} by connections", Scheduler::NAME)), &asyncoro);
    }
    Ok(())
}

fn case(name: String) -> Case {
    Case { group: "scale", name, metric: "time per request", unit: "ns", bases: &[], x: None }
}

/// In a child: runs both ends, given the number of connections and the subject.
pub(super) fn child(connections: &str, subject: &str) -> io::Result<()> {
    let make = find(subject::echoing(), subject)?;
    let connections = connections.parse().map_err(io::Error::other)?;
    let (load, accepted) = Load::connect_some(connections, ACTIVE, vec![b'?'; 64])?;
    let server = make(accepted, super::SMALLEST_BUFFER)?;
    child::serve_turns(server, &load, TIMES, TIMES * ACTIVE)
}

/// Connections that have a request in each iteration, spread evenly over all.
const ACTIVE: usize = 8;
/// So many that the state of the caches at the start of a turn, which all children share, matters
/// little.
const TIMES: usize = 96;
