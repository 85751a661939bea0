//! What a connection costs a server in Python that waits for its next request, having answered one:
//! the growth of its resident size. A process is measured once: a second thousand of connections
//! would get memory that the first left.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::servers::{self, SUBJECTS};
use super::{BASES, GROUP, Python, start_all};
use crate::group::SMALLEST_BUFFER;
use crate::listening::connect;
use crate::report::{Case, Report};

pub(super) const CASES: usize = 1;

pub(super) fn run(python: &Python, report: &mut Report) -> io::Result<()> {
    let name = format!("idle connection, {CONNECTIONS} of them");
    let metric = "resident size";
    let case = Case { group: GROUP, name, metric, unit: "bytes", bases: BASES, x: None };
    report.begin(&case);
    let measured = start_all(&case.name, &SUBJECTS, report, |subject, program| {
        let rounds = (0..ROUNDS).map(|_| measure(python, program));
        Ok(Some((subject.to_owned(), rounds.collect::<io::Result<Vec<f64>>>()?)))
    });
    report.add(&case, &measured);
    Ok(())
}

/// Bytes per connection, those of the first left out: what it has the server load is there for all.
fn measure(python: &Python, program: &str) -> io::Result<f64> {
    let (server, port) = servers::start(python, program, "echo", SMALLEST_BUFFER)?;
    let _first = asked(port)?;
    thread::sleep(SETTLING);
    let before = server.resident()?;
    let connections = (0..CONNECTIONS).map(|_| asked(port)).collect::<io::Result<Vec<_>>>()?;
    thread::sleep(SETTLING);
    let bytes = server.resident()?.saturating_sub(before);
    // As in `servers.rs`, the server is the first to leave.
    drop(server);
    Ok(bytes as f64 / connections.len() as f64)
}

/// A connection that has had an answer.
fn asked(port: u16) -> io::Result<TcpStream> {
    let mut connection = connect(port)?;
    connection.write_all(&REQUEST)?;
    let mut answer = [0; REQUEST.len()];
    connection.read_exact(&mut answer)?;
    if answer != REQUEST {
        return Err(io::Error::other("an answer differs from its request"));
    }
    Ok(connection)
}

const CONNECTIONS: usize = 1_000;
/// Fresh processes for each subject; their figures differ by a few pages.
const ROUNDS: usize = 5;
const REQUEST: [u8; 64] = [b'?'; 64];
/// Until a server has gone back to waiting.
const SETTLING: Duration = Duration::from_millis(10);
