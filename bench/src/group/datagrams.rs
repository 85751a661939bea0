//! Datagrams: 100 B each, some in flight, each sent back.

use std::io;
use std::time::Duration;

use super::run_case;
use crate::flight::Flight;
use crate::report::{Base, Case, Report};
use crate::rounds::{Contestant, Cost};
use crate::subject;

/// How many datagrams are in flight.
pub(super) const CASES: [u8; 2] = [1, 32];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    for in_flight in CASES {
        let mut contestants = Vec::new();
        for subject in subject::datagrams() {
            let (flight, socket) = Flight::new(in_flight)?;
            let mut turn = (subject.make)(socket, flight)?;
            let times = 192 / usize::from(in_flight);
            let all = (times * usize::from(in_flight)) as f64;
            let turn = move || Cost::from(turn(times).as_nanos() as f64 / all);
            contestants.push(Contestant::new(&subject.name, turn));
        }
        let name = format!("100 B, {in_flight} in flight");
        let metric = "time per datagram";
        let bases = &[Base::Subject("tokio"), Base::Subject("epoll")];
        let case = Case { group: "datagrams", name, metric, unit: "ns", bases, x: None };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}
