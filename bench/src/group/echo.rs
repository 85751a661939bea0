//! Echo: K connections have a request each, the server sends it back.

use std::io;
use std::time::Duration;

use super::{run_case, server_contestant};
use crate::report::{Case, Report};
use crate::subject::Subject;

/// Ready connections and bytes of a request.
pub(super) const CASES: [(usize, usize); 3] = [(1, 64), (8, 64), (64, 64)];

pub(super) fn run(subjects: &[Subject], time: Duration, report: &mut Report) -> io::Result<()> {
    for (k, size) in CASES {
        let mut contestants = Vec::new();
        for subject in subjects {
            if let Some(make) = subject.echo {
                let request: Vec<u8> = (0..size).map(|place| place as u8).collect();
                contestants.push(server_contestant(&subject.name, make, k, request, 1)?);
            }
        }
        let name = format!("K = {k}, {size} B");
        let case = Case { group: "echo", name, metric: "time per request", unit: "ns" };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}
