//! Echo of 16 KiB by verb; the verbs differ in who owns the memory for receiving.

use std::io;
use std::time::Duration;

use super::{run_case, server_contestants};
use crate::report::{Base, Case, Report};
use crate::subject;

pub(super) const CASES: usize = 1;

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    let request: Vec<u8> = (0..16 * 1024).map(|place| place as u8).collect();
    let contestants = server_contestants(&subject::verbs(), 64, &request, 1)?;
    let name = "K = 64, 16 KiB".to_owned();
    let (metric, bases) = ("time per request", &[Base::Subject("epoll")]);
    let case = Case { group: "verbs", name, metric, unit: "ns", bases, x: None };
    run_case(&case, contestants, time, report);
    Ok(())
}
