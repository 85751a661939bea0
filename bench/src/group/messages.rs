//! Messages: several are in flight on each connection, the server sends each back.

use std::io;
use std::time::Duration;

use super::{run_case, server_contestant};
use crate::report::{Case, Report};
use crate::subject::Subject;

/// Connections, bytes of a message, messages in flight on each connection.
pub(super) const CASES: [(usize, usize, usize); 2] = [(64, 100, 1), (64, 100, 16)];

pub(super) fn run(subjects: &[Subject], time: Duration, report: &mut Report) -> io::Result<()> {
    for (k, size, in_flight) in CASES {
        let mut contestants = Vec::new();
        for subject in subjects {
            if let Some(make) = subject.messages {
                let request = message(size).repeat(in_flight);
                contestants.push(server_contestant(&subject.name, make, k, request, in_flight)?);
            }
        }
        let name = format!("{k} connections, {size} B, {in_flight} in flight");
        let case = Case { group: "messages", name, metric: "time per message", unit: "ns" };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}

/// A message on the wire: its length in four bytes, big-endian, and so many bytes.
pub(super) fn message(size: usize) -> Vec<u8> {
    let length = u32::try_from(size).expect("messages of a benchmark are small");
    let payload = (0..size).map(|place| place as u8);
    length.to_be_bytes().into_iter().chain(payload).collect()
}
