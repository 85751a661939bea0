//! One connection, 64 B back and forth: how long an answer takes, and its cost for the server.
//!
//! The server, in a child on one core, sleeps between two requests or polls, as it is configured;
//! the client, on another core, sleeps or polls until the answer comes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::{Turns, run_metrics};
use crate::child::{CLIENTS, Child, Pinned};
use crate::listening;
use crate::report::{Base, Case, Report};
use crate::served::fatal;
use crate::subject;

/// How the client receives.
type Receive = fn(&mut TcpStream, &mut [u8]) -> io::Result<usize>;

pub(super) const CASES: [(&str, Receive); 2] =
    [("sleeping client", sleeping), ("polling client", polling)];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    let mut subjects = subject::listening();
    subjects.retain(|subject| report.wants(&subject.name));
    for (name, receive) in CASES {
        let mut turns = Turns::new();
        for subject in &subjects {
            let length = super::SMALLEST_BUFFER.to_string();
            let (child, port) = listening::start(&["processes", &length, &subject.name])?;
            let mut stream = listening::connect(port)?;
            let turn = move || turn(&child, &mut stream, receive).unwrap_or_else(fatal);
            turns.push((subject.name.clone(), Box::new(turn)));
        }
        let (name, bases) = (name.to_owned(), &[Base::Subject("tokio"), Base::Subject("epoll")]);
        let unit = "us";
        let case =
            |metric| Case { group: "latency", name: name.clone(), metric, unit, bases, x: None };
        let metrics = [case("median time of a request"), case("server's CPU time per request")];
        let _pinned = Pinned::to(CLIENTS)?;
        run_metrics(metrics, turns, time, report);
    }
    Ok(())
}

/// Returns the median round-trip time, and the server's time on its core per request.
fn turn(child: &Child, stream: &mut TcpStream, receive: Receive) -> io::Result<[f64; 2]> {
    let (times, spent) = child.run_time_of(|| ping_pong(stream, receive));
    let mut times = times?;
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = median.as_secs_f64() * 1e6;
    Ok([median, spent.as_secs_f64() * 1e6 / times.len() as f64])
}

fn ping_pong(stream: &mut TcpStream, receive: Receive) -> io::Result<Vec<Duration>> {
    let (mut times, mut answer) = (Vec::with_capacity(10_000), [0; 2 * REQUEST.len()]);
    let mut sent = Instant::now();
    let until = sent + WINDOW;
    while sent < until {
        stream.write_all(&REQUEST)?;
        let mut received = 0;
        while received < REQUEST.len() {
            match receive(stream, &mut answer[received..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                more => received += more,
            }
        }
        let now = Instant::now();
        times.push(now - sent);
        assert_eq!(answer[..received], REQUEST, "an answer differs from its request");
        sent = now;
    }
    Ok(times)
}

fn sleeping(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    stream.read(buffer)
}

fn polling(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let since = Instant::now();
    loop {
        match recv(&*stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) if since.elapsed() < PATIENCE => std::hint::spin_loop(),
            received => return Ok(received?.0),
        }
    }
}

const REQUEST: [u8; 64] = [b'?'; 64];
/// How long a server gets requests in its turn.
const WINDOW: Duration = Duration::from_millis(50);
/// Far longer than loopback ever takes.
const PATIENCE: Duration = Duration::from_secs(5);
