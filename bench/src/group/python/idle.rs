//! The memory of a connection to a server in Python that has answered one request and waits for the
//! next: the growth of the server's resident size. A process is measured once, as a second thousand
//! of connections would reuse memory of the first.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::servers::{self, SUBJECTS};
use super::{BASES, GROUP, Python, Pythons, start_all};
use crate::group::SMALLEST_BUFFER;
use crate::listening::connect;
use crate::report::{Case, Report};

pub(super) const CASES: usize = 1;

pub(super) fn run(pythons: &Pythons, report: &mut Report) -> io::Result<()> {
    let name = format!("idle connection, {CONNECTIONS} of them");
    let metric = "resident size";
    let case = Case { group: GROUP, name, metric, unit: "bytes", bases: BASES, x: None };
    report.begin(&case);
    let measured = start_all(&case.name, pythons, &SUBJECTS, report, |python, subject, program| {
        let rounds = (0..ROUNDS).map(|_| measure(python, program));
        Ok(Some((subject.to_owned(), rounds.collect::<io::Result<Vec<f64>>>()?)))
    });
    report.add(&case, &measured);
    Ok(())
}

/// Returns bytes per connection, without the first one, which makes the server load its modules.
fn measure(python: &Python, program: &str) -> io::Result<f64> {
    let (server, port) = servers::start(python, program, "echo", SMALLEST_BUFFER)?;
    let _first = asked(port)?;
    thread::sleep(SETTLING);
    let before = server.resident()?;
    let connections = (0..CONNECTIONS).map(|_| asked(port)).collect::<io::Result<Vec<_>>>()?;
    thread::sleep(SETTLING);
    let bytes = server.resident()?.saturating_sub(before);
    // As in `servers.rs`, the server ends first.
    drop(server);
    Ok(bytes as f64 / connections.len() as f64)
}

/// Makes a connection and gets one answer.
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
/// How many new processes each subject gets; their figures differ by a few pages.
const ROUNDS: usize = 5;
const REQUEST: [u8; 64] = [b'?'; 64];
/// How long to wait until a server waits again.
const SETTLING: Duration = Duration::from_millis(10);
