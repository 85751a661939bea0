//! Locks and channels between the coroutines of one thread, by library.

use std::io;
use std::time::Duration;

use super::run_case;
use crate::primitives::Synchronizing;
use crate::report::{Base, Case, Report};
use crate::rounds::{Contestant, Cost};
use crate::subject;

struct Work {
    name: &'static str,
    metric: &'static str,
    operations: usize,
    turn: fn(&mut dyn Synchronizing) -> Duration,
    /// The libraries that lack it.
    left_out: &'static [&'static str],
}

pub(super) const CASES: usize = WORKS.len();

const WORKS: [Work; 7] = [
    Work {
        name: "lock, 10 coroutines, held over a yield",
        metric: "time per hand-over",
        operations: 10_000,
        turn: |library| library.lock_hand_over(10, 1_000),
        left_out: &["local-sync"],
    },
    Work {
        name: "lock, free",
        metric: "time per lock and unlock",
        operations: 10_000,
        turn: |library| library.free_lock(10_000),
        left_out: &["local-sync"],
    },
    Work {
        name: "semaphore of 2, 10 coroutines, held over a yield",
        metric: "time per permit",
        operations: 10_000,
        turn: |library| library.semaphore(10, 1_000),
        left_out: &[],
    },
    Work {
        name: "event, ping-pong",
        metric: "time there and back",
        operations: 5_000,
        turn: |library| library.events(5_000),
        left_out: &["smol", "local-sync"],
    },
    Work {
        name: "oneshot, made, awaited, sent",
        metric: "time per value",
        operations: 5_000,
        turn: |library| library.oneshots(5_000),
        left_out: &[],
    },
    Work {
        name: "broadcast to 1,000",
        metric: "time per message and subscriber",
        operations: 16_000,
        turn: |library| library.broadcast(1_000, 16),
        left_out: &["smol", "local-sync"],
    },
    Work {
        name: "watch",
        metric: "time per value",
        operations: 5_000,
        turn: |library| library.watch(5_000),
        left_out: &["smol", "local-sync"],
    },
];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    for Work { name, metric, operations, turn, left_out } in WORKS {
        let mut contestants = Vec::new();
        for subject in subject::primitives() {
            if left_out.contains(&&*subject.name) {
                continue;
            }
            let mut library = (subject.make)()?;
            let cost =
                move || Cost::from(turn(&mut *library).as_nanos() as f64 / operations as f64);
            contestants.push(Contestant::new(&subject.name, cost));
        }
        let (group, name, bases) = ("sync", name.to_owned(), &[Base::BestPeer]);
        let case = Case { group, name, metric, unit: "ns", bases, x: None };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}
