//! Files that are in the system's cache, processes, blocking functions.

use std::io;
use std::time::Duration;

use super::run_case;
use crate::files::FileWork;
use crate::report::{Base, Case, Report};
use crate::rounds::{Contestant, Cost};
use crate::subject;

/// A kind of work: its name, how many times it is done in a turn, and the turn.
pub(super) struct Work {
    name: &'static str,
    times: usize,
    turn: fn(&mut dyn FileWork, usize) -> Duration,
}

pub(super) const CASES: [Work; 4] = [
    Work {
        name: "whole file of 1 MiB",
        times: 8,
        turn: |runtime, times| runtime.read_whole(times),
    },
    Work {
        name: "open, read 1 MiB, close",
        times: 8,
        turn: |runtime, times| runtime.open_and_read(times),
    },
    Work {
        name: "process, spawn + wait",
        times: 4,
        turn: |runtime, times| runtime.spawn_and_wait(times),
    },
    Work {
        name: "blocking function, there and back",
        times: 100,
        turn: |runtime, times| runtime.run_blocking(times),
    },
];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    for &Work { name, times, turn } in &CASES {
        let mut contestants = Vec::new();
        for subject in subject::files() {
            let mut runtime = (subject.make)()?;
            let cost = move || {
                let took = turn(&mut *runtime, times);
                Cost::from(took.as_nanos() as f64 / times as f64)
            };
            contestants.push(Contestant::new(&subject.name, cost));
        }
        let (metric, bases) = ("time for one", &[Base::BestPeer]);
        let name = name.to_owned();
        let case = Case { group: "files", name, metric, unit: "ns", bases, x: None };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}
