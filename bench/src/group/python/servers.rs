//! Servers in Python, loaded by this process: the server's time on its core per request.

use std::io;
use std::time::Duration;

use super::{BASES, GROUP, Python, Pythons, start_all};
use crate::child::{CLIENTS, Child, Pinned};
use crate::clients::{Answer, Clients};
use crate::group::messages::message;
use crate::group::{SMALLEST_BUFFER, run_case};
use crate::listening::connect;
use crate::report::{Case, Report};
use crate::rounds::{Contestant, Cost};
use crate::served::fatal;

/// For each case what the server does, the connections, the bytes of a request, and the requests in
/// flight on each connection.
pub(super) const CASES: [(&str, usize, usize, usize); 5] = [
    ("echo", 64, 64, 1),
    ("echo", 1_000, 64, 1),
    ("echo", 64, 16 * 1024, 1),
    ("records", 64, 64, 16),
    ("messages", 64, 64, 16),
];

/// The subjects and their programs in `bench/python/servers/`.
pub(super) const SUBJECTS: [(&str, &str); 18] = [
    ("pycos", "pycos_tasks.py"),
    ("asyncio streams", "asyncio_streams.py"),
    ("asyncio Protocol", "asyncio_protocol.py"),
    ("asyncio sock_*", "asyncio_sock.py"),
    ("uvloop streams", "uvloop_streams.py"),
    ("uvloop Protocol", "uvloop_protocol.py"),
    ("uvloop sock_*", "uvloop_sock.py"),
    ("gevent", "gevent_greenlets.py"),
    ("trio", "trio_streams.py"),
    ("curio", "curio_sockets.py"),
    ("asyncoro await", "asyncoro_await.py"),
    ("asyncoro yield", "asyncoro_yield.py"),
    ("asyncoro on asyncio", "asyncio_asyncoro.py"),
    ("asyncoro on uvloop", "uvloop_asyncoro.py"),
    ("asyncoro loop", "loop_asyncoro.py"),
    ("asyncoro loop streams", "loop_streams.py"),
    ("asyncoro loop Protocol", "loop_protocol.py"),
    ("asyncoro loop sock_*", "loop_sock.py"),
];

pub(super) fn run(pythons: &Pythons, time: Duration, report: &mut Report) -> io::Result<()> {
    for (kind, connections, size, in_flight) in CASES {
        let name = match in_flight {
            1 => format!("{kind}, {connections} x {size} B"),
            _ => format!("{kind}, {connections} x {size} B, {in_flight} in flight"),
        };
        let request = if kind == "messages" { message(size) } else { vec![b'?'; size] };
        let contestants =
            start_all(&name, pythons, &SUBJECTS, report, |python, subject, program| {
                let mut loaded =
                    Loaded::new(python, program, kind, connections, &request, in_flight)?;
                // A subject that fails must not end the rounds of the others.
                loaded.clients.load(TRIAL)?;
                Ok(Some(Contestant::new(subject, move || loaded.turn())))
            });
        let metric = "server's CPU time per request";
        let case = Case { group: GROUP, name, metric, unit: "ns", bases: BASES, x: None };
        let _pinned = Pinned::to(CLIENTS)?;
        run_case(&case, contestants, time, report);
    }
    Ok(())
}

/// Starts a server; returns its port.
pub(super) fn start(
    python: &Python,
    program: &str,
    kind: &str,
    length: usize,
) -> io::Result<(Child, u16)> {
    let program = format!("servers/{program}");
    let mut server = python.start(&program, &[kind, &length.to_string()])?;
    let [port] = server.numbers()?;
    Ok((server, u16::try_from(port).map_err(io::Error::other)?))
}

/// A server and its clients. The server ends first, since pycos spins when its clients disconnect.
struct Loaded {
    server: Child,
    clients: Clients,
}

impl Loaded {
    fn new(
        python: &Python,
        program: &str,
        kind: &str,
        connections: usize,
        request: &[u8],
        in_flight: usize,
    ) -> io::Result<Self> {
        let length = (2 * request.len()).max(SMALLEST_BUFFER);
        let (server, port) = start(python, program, kind, length)?;
        let streams = (0..connections).map(|_| connect(port)).collect::<io::Result<_>>()?;
        Ok(Self { server, clients: Clients::new(streams, request, in_flight, Answer::Same)? })
    }

    fn turn(&mut self) -> Cost {
        let load = || self.clients.load(WINDOW).unwrap_or_else(fatal);
        let (answered, took) = self.server.run_time_of(load);
        Cost::from(took.as_nanos() as f64 / answered as f64)
    }
}

/// How long a server is loaded in its turn.
const WINDOW: Duration = Duration::from_millis(50);
/// How long a server is loaded before its first turn.
const TRIAL: Duration = Duration::from_millis(5);
