//! Messages: several are in flight on each connection, the server sends each back.

use std::io;
use std::time::Duration;

use super::{again, run_case, server_contestants};
use crate::report::{Base, Case, Report};
use crate::subject;

/// For each case the connections, the bytes of a message, and the messages in flight on each
/// connection.
pub(super) const CASES: [(usize, usize, usize); 4] =
    [(64, 100, 1), (64, 100, 16), (64, 10 * 1024, 1), (64, 10 * 1024, 16)];

const BASES: &[Base] =
    &[Base::Subject("epoll"), Base::Subject("tokio"), Base::Subject("tokio feed+flush")];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    for (k, size, in_flight) in CASES {
        let request = message(size).repeat(in_flight);
        let contestants = server_contestants(&subject::messaging(), k, &request, in_flight)?;
        let name = format!("{k} connections, {size} B, {in_flight} in flight");
        let (metric, bases) = ("time per message", BASES);
        let case = Case { group: "messages", name, metric, unit: "ns", bases, x: None };
        run_case(&case, contestants, time, report);
    }
    Ok(())
}

/// Compares asyncoro with itself.
pub(super) fn null(time: Duration, report: &mut Report) -> io::Result<()> {
    let subjects = again(subject::messaging());
    let contestants = server_contestants(&subjects, 64, &message(100).repeat(16), 16)?;
    let name = "messages, 64 connections, 100 B, 16 in flight".to_owned();
    let metric = "time per message";
    let case = Case { group: "null", name, metric, unit: "ns", bases: &[], x: None };
    run_case(&case, contestants, time, report);
    Ok(())
}

/// Makes a message in its wire format: its length in four bytes, big-endian, and that many bytes.
pub(super) fn message(size: usize) -> Vec<u8> {
    let length = u32::try_from(size).expect("messages of a benchmark are small");
    let payload = (0..size).map(|place| place as u8);
    length.to_be_bytes().into_iter().chain(payload).collect()
}
