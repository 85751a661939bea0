//! A greeting by HTTP/1.1 between two processes: hyper on each runtime, its clients on another
//! core.
//!
//! As in `processes.rs`, the cost is the server's time on its core per request, and the servers of
//! both cases take turns in the same rounds.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::child::{CLIENTS, Pinned};
use crate::clients::{Answer, Clients};
use crate::listening::{self, connect};
use crate::report::{Base, Case, Report};
use crate::rounds::{Contestant, Cost, compete};
use crate::served::fatal;
use crate::subject::{self, find};

/// The connections of each case.
pub(super) const CASES: [usize; 2] = [64, 1_000];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    let mut subjects = subject::speaking_http();
    subjects.retain(|subject| report.wants(&subject.name));
    let mut contestants = Vec::new();
    for connections in CASES {
        for subject in &subjects {
            contestants.push(contestant(&subject.name, connections)?);
        }
    }
    report.begin(&Case { name: "both cases".to_owned(), ..case("") });
    let pinned = Pinned::to(CLIENTS)?;
    let time = time * CASES.len() as u32;
    let costs = compete(&mut contestants, time, |round| report.tick(round));
    drop(pinned);
    for (connections, costs) in CASES.into_iter().zip(costs.chunks(subjects.len().max(1))) {
        let names = subjects.iter().map(|subject| subject.name.clone());
        let costs: Vec<_> = names.zip(costs.iter().cloned()).collect();
        report.add(&case(&format!("{connections} connections")), &costs);
    }
    Ok(())
}

fn case(name: &str) -> Case {
    let metric = "server's CPU time per request";
    let bases = &[Base::Subject("tokio")];
    Case { group: "http", name: name.to_owned(), metric, unit: "ns", bases, x: None }
}

fn contestant(subject: &str, connections: usize) -> io::Result<Contestant> {
    let (child, port) = listening::start(&["http", subject])?;
    let size = answer_size(connect(port)?)?;
    let streams = (0..connections).map(|_| connect(port)).collect::<io::Result<_>>()?;
    let mut clients = Clients::new(streams, REQUEST, 1, Answer::Begins(STATUS, size))?;
    Ok(Contestant::new(subject, move || {
        let (answered, took) = child.run_time_of(|| clients.load(WINDOW).unwrap_or_else(fatal));
        Cost::from(took.as_nanos() as f64 / answered as f64)
    }))
}

/// Returns how long an answer is, which the date in it does not change.
pub(super) fn answer_size(mut stream: TcpStream) -> io::Result<usize> {
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"Hello, World!") {
        let mut piece = [0; 1024];
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
    Ok(answer.len())
}

/// In a child: runs the server of this name.
pub(super) fn child(subject: &str) -> io::Result<()> {
    let listen = find(subject::speaking_http(), subject)?;
    listening::run(|listener| listen(listener, 0))
}

/// What wrk sends.
pub(super) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
pub(super) const STATUS: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// How long a server is loaded in its turn.
const WINDOW: Duration = Duration::from_millis(50);
