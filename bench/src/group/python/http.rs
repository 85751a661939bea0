//! A greeting by HTTP/1.1 from Python's servers, each on several event loops for asyncio: the
//! server's time on its core per request.

use std::io;
use std::time::Duration;

use super::{GROUP, Pythons, start_all};
use crate::child::{CLIENTS, Pinned};
use crate::clients::{Answer, Clients};
use crate::group::http::{REQUEST, STATUS, answer_size};
use crate::group::run_case;
use crate::listening::connect;
use crate::report::{Base, Case, Report};
use crate::rounds::{Contestant, Cost};
use crate::served::fatal;

/// The servers, and their programs in `bench/python/http/`.
pub(super) const CASES: [(&str, &str); 2] =
    [("uvicorn", "uvicorn_hello.py"), ("aiohttp", "aiohttp_hello.py")];

/// The loops, and what the programs call them.
const SUBJECTS: [(&str, &str); 3] =
    [("asyncio", "asyncio"), ("uvloop", "uvloop"), ("asyncoro loop", "asyncoro")];

const CONNECTIONS: usize = 64;

pub(super) fn run(pythons: &Pythons, time: Duration, report: &mut Report) -> io::Result<()> {
    for (server, program) in CASES {
        let name = format!("HTTP by {server}, {CONNECTIONS} connections");
        let contestants =
            start_all(&name, pythons, &SUBJECTS, report, |python, subject, of_loop| {
                let mut child = python.start(&format!("http/{program}"), &[of_loop])?;
                let [port] = child.numbers()?;
                let port = u16::try_from(port).map_err(io::Error::other)?;
                let answer = Answer::Begins(STATUS, answer_size(connect(port)?)?);
                let streams = (0..CONNECTIONS).map(|_| connect(port)).collect::<io::Result<_>>()?;
                let mut clients = Clients::new(streams, REQUEST, 1, answer)?;
                // A subject that fails must not end the rounds of the others.
                clients.load(TRIAL)?;
                Ok(Some(Contestant::new(subject, move || {
                    let load = || clients.load(WINDOW).unwrap_or_else(fatal);
                    let (answered, took) = child.run_time_of(load);
                    Cost::from(took.as_nanos() as f64 / answered as f64)
                })))
            });
        let metric = "server's CPU time per request";
        let bases = &[Base::Subject("asyncio"), Base::Subject("uvloop")];
        let case = Case { group: GROUP, name, metric, unit: "ns", bases, x: None };
        let _pinned = Pinned::to(CLIENTS)?;
        run_case(&case, contestants, time, report);
    }
    Ok(())
}

/// How long a server is loaded in its turn.
const WINDOW: Duration = Duration::from_millis(50);
/// How long a server is loaded before its first turn.
const TRIAL: Duration = Duration::from_millis(20);
