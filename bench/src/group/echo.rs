//! Echo: K connections have a request each, which the server sends back.

use std::io;
use std::time::Duration;

use super::{again, run_case, server_contestants};
use crate::report::{Base, Case, Report};
use crate::subject;

/// Ready connections and bytes of a request, for each case.
pub(super) const CASES: [(usize, usize); 5] = [(1, 64), (8, 64), (64, 64), (400, 64), (64, 1024)];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    for (k, size) in CASES {
        let contestants = server_contestants(&subject::echoing(), k, &request(size), 1)?;
        let name = format!("K = {k}, {size} B");
        let x = (size == 64).then_some(k as f64);
        let bases = &[Base::Subject("epoll")];
        let metric = "time per request";
        let case = Case { group: "echo", name, metric, unit: "ns", bases, x };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}

/// Compares asyncoro with itself.
pub(super) fn null(time: Duration, report: &mut Report) -> io::Result<()> {
    let subjects = again(subject::echoing());
    let contestants = server_contestants(&subjects, 64, &request(64), 1)?;
    let name = "echo, K = 64, 64 B".to_owned();
    let metric = "time per request";
    let case = Case { group: "null", name, metric, unit: "ns", bases: &[], x: None };
    run_case(&case, contestants, time, report);
    Ok(())
}

fn request(size: usize) -> Vec<u8> {
    (0..size).map(|place| place as u8).collect()
}
