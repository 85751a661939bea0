//! Short-lived connections.

use std::io;
use std::time::Duration;

use super::run_case;
use crate::arrivals::Arrivals;
use crate::report::{Base, Case, Report};
use crate::rounds::{Contestant, Cost};
use crate::subject;

/// For each case its name, the connections at once, and whether each has a request.
pub(super) const CASES: [(&str, usize, bool); 2] =
    [("connect, one echo, reset", 64, true), ("accept storm", 256, false)];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    for (name, connections, echo) in CASES {
        let mut contestants = Vec::new();
        for subject in subject::accepting() {
            let (arrivals, listener) = Arrivals::new(connections, echo)?;
            let mut turn = (subject.make)(listener, arrivals)?;
            let turn = move || Cost::from(turn(1).as_nanos() as f64 / connections as f64);
            contestants.push(Contestant::new(&subject.name, turn));
        }
        let name = format!("{name}, {connections} at once");
        let metric = "time per connection";
        let bases = &[Base::Subject("tokio"), Base::Subject("epoll")];
        let case = Case { group: "connections", name, metric, unit: "ns", bases, x: None };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}
