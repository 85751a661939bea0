//! The cost of coroutines in Python, without sockets: each program measures its own turns.

use std::io;
use std::time::Duration;

use super::{BASES, GROUP, Python, Pythons, start_all};
use crate::group::run_case;
use crate::report::{Case, Report};
use crate::rounds::{Contestant, Cost};
use crate::served::fatal;

/// For each case its name, its metric, and its name in the programs.
pub(super) const CASES: [(&str, &str, &str); 17] = [
    ("switch, 1 coroutine", "time per switch", "switch 1"),
    ("switch, 100 coroutines", "time per switch", "switch 100"),
    ("spawn and run, 1,000 at once", "time per coroutine", "spawn"),
    ("nested call that does not wait", "time per call", "call"),
    ("message there and back", "time per round trip", "message"),
    ("throw into one that waits", "time per exception", "throw"),
    ("lock handed over, 2 coroutines", "time per hand-over", "lock"),
    ("event there and back", "time per round trip", "event"),
    ("semaphore of 2 handed over, 4 coroutines", "time per hand-over", "semaphore"),
    ("queue with room for 1", "time per item", "queue"),
    ("broadcast to 1,000", "time per received message", "broadcast"),
    ("scope of 100 children", "time per child", "scope"),
    ("function on a thread", "time per call", "thread"),
    ("file of 1 MiB, read whole", "time per file", "file"),
    ("process, started and waited for", "time per process", "process"),
    ("callback in a loop of asyncio's", "time per callback", "call_soon"),
    ("timer in a loop of asyncio's, cancelled", "time per timer", "timer"),
];

/// The subjects and their programs in `bench/python/costs/`.
const SUBJECTS: [(&str, &str); 9] = [
    ("pycos", "pycos_tasks.py"),
    ("asyncio", "asyncio_tasks.py"),
    ("uvloop", "uvloop_tasks.py"),
    ("asyncoro loop", "loop_tasks.py"),
    ("gevent", "gevent_greenlets.py"),
    ("trio", "trio_tasks.py"),
    ("curio", "curio_tasks.py"),
    ("asyncoro await", "asyncoro_await.py"),
    ("asyncoro yield", "asyncoro_yield.py"),
];

pub(super) fn run(pythons: &Pythons, time: Duration, report: &mut Report) -> io::Result<()> {
    for (name, metric, operation) in CASES {
        let contestants =
            start_all(name, pythons, &SUBJECTS, report, |python, subject, program| {
                contestant(python, subject, program, operation)
            });
        let name = name.to_owned();
        let case = Case { group: GROUP, name, metric, unit: "ns", bases: BASES, x: None };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}

/// Returns `None` if the subject lacks the operation.
fn contestant(
    python: &Python,
    subject: &str,
    program: &str,
    operation: &str,
) -> io::Result<Option<Contestant>> {
    let mut child = python.start(&format!("costs/{program}"), &[operation])?;
    let [operations] = child.numbers()?;
    if operations == 0 {
        return Ok(None);
    }
    // A subject that fails must not end the rounds of the others.
    let [_] = child.turn()?;
    Ok(Some(Contestant::new(subject, move || {
        let [took] = child.turn().unwrap_or_else(fatal);
        Cost::from(took as f64 / operations as f64)
    })))
}
