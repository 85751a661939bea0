//! Spawn and yield: what coroutines cost without any socket.

use std::io;
use std::time::Duration;

use super::run_case;
use crate::report::{Case, Report};
use crate::rounds::Contestant;
use crate::subject::{Coroutines, Subject};

/// One kind of work: what one operation is, how many are in a turn, and the turn.
#[derive(Clone, Copy)]
pub(super) struct Work {
    name: &'static str,
    metric: &'static str,
    operations: usize,
    turn: fn(&mut dyn Coroutines) -> Duration,
}

/// Cases of the group `spawn`.
pub(super) const SPAWN: [Work; 2] = [
    Work {
        name: "one by one",
        metric: "time per spawn and join",
        operations: 1_000,
        turn: |runtime| runtime.spawn_and_join(1_000),
    },
    Work {
        name: "1,000 at once",
        metric: "time per spawn and join",
        operations: 1_000,
        turn: |runtime| runtime.spawn_together(1_000),
    },
];

/// Cases of the group `yield`; spawning the few coroutines is in the time.
pub(super) const YIELD: [Work; 2] = [
    Work {
        name: "1 coroutine",
        metric: "time per yield",
        operations: 10_000,
        turn: |runtime| runtime.yields(1, 10_000),
    },
    Work {
        name: "100 coroutines",
        metric: "time per yield",
        operations: 100_000,
        turn: |runtime| runtime.yields(100, 1_000),
    },
];

pub(super) fn run(
    group: &'static str,
    works: &[Work],
    subjects: &[Subject],
    time: Duration,
    report: &mut Report,
) -> io::Result<()> {
    for &Work { name, metric, operations, turn } in works {
        let mut contestants = Vec::new();
        for subject in subjects {
            if let Some(make) = subject.coroutines {
                let mut runtime = make()?;
                let cost = move || turn(&mut *runtime).as_nanos() as f64 / operations as f64;
                contestants.push(Contestant { name: subject.name.clone(), turn: Box::new(cost) });
            }
        }
        let case = Case { group, name: name.to_owned(), metric, unit: "ns" };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}
