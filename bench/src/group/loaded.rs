//! Many connections at once, 64 B back and forth: how long an answer takes when the server always
//! has something to do.
//!
//! The servers are those of `processes`, in a child on one core; asyncoro is there twice, with its
//! batching and without. The client, on another core, has a request in flight on each connection,
//! and sends the next one when the answer has come: so the times are those of a server that is
//! busy, and go with its cost, but for their tail.

use std::io;
use std::time::Duration;

use super::{SMALLEST_BUFFER, Turns, run_metrics};
use crate::child::{CLIENTS, Pinned};
use crate::clients::{Answer, Clients};
use crate::listening::{self, connect};
use crate::report::{Base, Case, Report};
use crate::served::fatal;

/// The connections of each case.
pub(super) const CASES: [usize; 2] = [64, 1_000];

/// For each subject its name, that of its server, and how that batches.
const SUBJECTS: [(&str, &str, Option<&str>); 4] = [
    ("epoll", "epoll", None),
    ("tokio", "tokio", None),
    ("asyncoro, batching off", "asyncoro", Some("off")),
    ("asyncoro", "asyncoro", None),
];

/// The parts of the answers that take no longer than the time that is reported.
const PARTS: [(&str, f64); 3] = [
    ("median time of an answer", 0.5),
    ("99th percentile of the time of an answer", 0.99),
    ("99.9th percentile of the time of an answer", 0.999),
];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    let length = SMALLEST_BUFFER.to_string();
    for connections in CASES {
        let mut turns = Turns::new();
        for (name, server, batching) in SUBJECTS {
            if !report.wants(name) {
                continue;
            }
            let variables: Vec<_> =
                batching.into_iter().map(|how| ("ASYNCORO_BATCHING", how)).collect();
            let part = ["processes", &length, server];
            let (child, port) = listening::start_with(&part, &variables)?;
            let streams = (0..connections).map(|_| connect(port)).collect::<io::Result<_>>()?;
            let mut clients = Clients::new(streams, &[b'?'; 64], 1, Answer::Same)?;
            let turn = move || {
                let _lives = &child;
                percentiles(clients.time_answers(WINDOW).unwrap_or_else(fatal))
            };
            turns.push((name.to_owned(), Box::new(turn)));
        }
        let name = format!("{connections} x 64 B");
        let bases = &[Base::Subject("asyncoro, batching off"), Base::Subject("tokio")];
        let metrics = PARTS.map(|(metric, _)| Case {
            group: "loaded",
            name: name.clone(),
            metric,
            unit: "us",
            bases,
            x: None,
        });
        let _pinned = Pinned::to(CLIENTS)?;
        run_metrics(metrics, turns, time, report);
    }
    Ok(())
}

fn percentiles(mut times: Vec<Duration>) -> [f64; 3] {
    times.sort_unstable();
    let last = times.len().saturating_sub(1) as f64;
    PARTS.map(|(_, part)| times[(last * part) as usize].as_secs_f64() * 1e6)
}

/// How long a server is loaded in its turn: long enough that a thousandth of the answers are some.
const WINDOW: Duration = Duration::from_millis(400);
