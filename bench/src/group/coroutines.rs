//! Coroutines, channels and timers: their cost, without sockets.

use std::io;
use std::time::Duration;

use super::{again, run_case};
use crate::coroutines::Coroutines;
use crate::report::{Base, Case, Report};
use crate::rounds::{Contestant, Cost};
use crate::subject::{self, MakeCoroutines, Subject};

/// A kind of work: the name of an operation, how many are in a turn, and the turn.
#[derive(Clone, Copy)]
pub(super) struct Work {
    name: &'static str,
    metric: &'static str,
    operations: usize,
    turn: fn(&mut dyn Coroutines) -> Duration,
    /// The subject that cannot do it.
    left_out: &'static [&'static str],
}

/// A task of monoio that wakes itself goes to the front of the queue, so no other runs.
const YIELDS_TO_NOBODY: &[&str] = &["monoio"];

/// The cases of the group `coroutines`; the time includes spawning those that yield.
pub(super) const COROUTINES: [Work; 7] = [
    Work {
        name: "spawn + join, one by one",
        metric: "time per spawn and join",
        operations: 1_000,
        turn: |runtime| runtime.spawn_and_join(1_000),
        left_out: &[],
    },
    Work {
        name: "spawn + join, 1,000 at once",
        metric: "time per spawn and join",
        operations: 1_000,
        turn: |runtime| runtime.spawn_together(1_000),
        left_out: &[],
    },
    Work {
        name: "yield, 1 coroutine",
        metric: "time per yield",
        operations: 10_000,
        turn: |runtime| runtime.yields(1, 10_000),
        left_out: YIELDS_TO_NOBODY,
    },
    Work {
        name: "yield, 100 coroutines",
        metric: "time per yield",
        operations: 100_000,
        turn: |runtime| runtime.yields(100, 1_000),
        left_out: YIELDS_TO_NOBODY,
    },
    Work {
        name: "wake from another thread",
        metric: "time there and back",
        operations: 100,
        turn: |runtime| runtime.wakes_across(100),
        left_out: &[],
    },
    Work {
        name: "mailbox, ping-pong",
        metric: "time there and back",
        operations: 2_000,
        turn: |runtime| runtime.ping_pong(2_000),
        left_out: &[],
    },
    Work {
        name: "mailbox, stream",
        metric: "time per value",
        operations: 10_000,
        turn: |runtime| runtime.stream(10_000),
        left_out: &[],
    },
];

/// The cases of the group `timers`.
pub(super) const TIMERS: [Work; 3] = [
    Work {
        name: "arm, poll, drop",
        metric: "time per timer",
        operations: 5_000,
        turn: |runtime| runtime.arm_and_drop(5_000),
        left_out: &[],
    },
    Work {
        name: "arm one of 1,000,000",
        metric: "time per timer",
        operations: MANY,
        turn: |runtime| runtime.many_timers(MANY)[0],
        left_out: &[],
    },
    Work {
        name: "drop one of 1,000,000",
        metric: "time per timer",
        operations: MANY,
        turn: |runtime| runtime.many_timers(MANY)[1],
        left_out: &[],
    },
];

const MANY: usize = 1_000_000;

pub(super) fn run(
    group: &'static str,
    works: &[Work],
    time: Duration,
    report: &mut Report,
) -> io::Result<()> {
    let bases = &[Base::BestPeer];
    let compete = |work| compete(group, work, &subject::coroutines(), bases, time, report);
    works.iter().try_for_each(compete)
}

/// Compares asyncoro with itself.
pub(super) fn null(time: Duration, report: &mut Report) -> io::Result<()> {
    compete("null", &COROUTINES[0], &again(subject::coroutines()), &[], time, report)
}

fn compete(
    group: &'static str,
    &Work { name, metric, operations, turn, left_out }: &Work,
    subjects: &[Subject<MakeCoroutines>],
    bases: &'static [Base],
    time: Duration,
    report: &mut Report,
) -> io::Result<()> {
    let mut contestants = Vec::new();
    for subject in subjects.iter().filter(|who| !left_out.contains(&&*who.name)) {
        let mut runtime = (subject.make)()?;
        let cost = move || Cost::from(turn(&mut *runtime).as_nanos() as f64 / operations as f64);
        contestants.push(Contestant::new(&subject.name, cost));
    }
    let case = Case { group, name: name.to_owned(), metric, unit: "ns", bases, x: None };
    run_case(&case, contestants, time, report);
    Ok(())
}
