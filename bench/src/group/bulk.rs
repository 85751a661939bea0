//! Bulk: one connection, many bytes in one direction.
//!
//! Each turn has a connection of its own: the size of the kernel's buffers on a long-lived one
//! varies by chance, and one was stuck at four times the cost.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Turns, run_metrics};
use crate::bulk::{self, Bulk, Serve};
use crate::child::{CLIENTS, Pinned};
use crate::listening::{self, connect};
use crate::report::{Base, Case, Report};
use crate::served::fatal;
use crate::subject::{self, Subject, find};

/// The direction, the bytes of a write, and the case's name.
pub(super) const CASES: [(Way, usize, &str); 4] = [
    (Way::Sends, 64 << 10, "64 KiB"),
    (Way::Sends, 1 << 20, "1 MiB"),
    (Way::Receives, 64 << 10, "64 KiB"),
    (Way::Receives, 1 << 20, "1 MiB"),
];

/// What the subject does.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Sends,
    Receives,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Sends => "sends",
            Self::Receives => "receives",
        }
    }

    fn subjects(self) -> Vec<Subject<Serve>> {
        match self {
            Self::Sends => subject::sending(),
            Self::Receives => subject::receiving(),
        }
    }

    /// Runs the parent's part.
    fn peer(self) -> fn(&mut TcpStream, Bulk) -> io::Result<()> {
        match self {
            Self::Sends => bulk::receive,
            Self::Receives => bulk::send,
        }
    }
}

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    let total = if time < ENOUGH_FOR_ALL { ALL / 8 } else { ALL };
    for (way, piece, written) in CASES {
        let mut turns = Turns::new();
        for Subject { name, .. } in way.subjects() {
            if report.wants(&name) {
                let turn = contestant(way, Bulk { total, piece }, &name)?;
                turns.push((name, turn));
            }
        }
        let name = format!("{}, writes of {written}", way.name());
        let (unit, bases) = ("us", &[Base::Subject("epoll")]);
        let case =
            |metric| Case { group: "bulk", name: name.clone(), metric, unit, bases, x: None };
        let metrics = [case("CPU time per MiB"), case("time per MiB")];
        let _pinned = Pinned::to(CLIENTS)?;
        run_metrics(metrics, turns, time, report);
    }
    Ok(())
}

fn contestant(way: Way, bulk: Bulk, subject: &str) -> io::Result<super::Turn<2>> {
    let (total, piece) = (bulk.total.to_string(), bulk.piece.to_string());
    let (child, port) = listening::start(&["bulk", way.name(), &total, &piece, subject])?;
    Ok(Box::new(move || {
        let (took, spent) = child.run_time_of(|| {
            let mut stream = connect(port).unwrap_or_else(fatal);
            let started = Instant::now();
            way.peer()(&mut stream, bulk).unwrap_or_else(fatal);
            started.elapsed()
        });
        let per_mib = |time: Duration| time.as_secs_f64() * 1e6 / (bulk.total >> 20) as f64;
        [per_mib(spent), per_mib(took)]
    }))
}

/// In a child: runs the subject, given the direction, the bytes in total and of a write, and its
/// name.
pub(super) fn child(way: &str, total: &str, piece: &str, subject: &str) -> io::Result<()> {
    let way = if way == Way::Sends.name() { Way::Sends } else { Way::Receives };
    let serve = find(way.subjects(), subject)?;
    let bytes = |text: &str| text.parse().map_err(io::Error::other);
    let bulk = Bulk { total: bytes(total)?, piece: bytes(piece)? };
    listening::run(|listener| serve(listener, bulk))
}

/// Returns the bytes of a turn: 1 GiB, or an eighth of it if there is little time.
const ALL: usize = 1 << 30;
const ENOUGH_FOR_ALL: Duration = Duration::from_secs(5);
