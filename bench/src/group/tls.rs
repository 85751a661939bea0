//! TLS 1.3, both ends of a connection in one thread; the same certificate, suites and provider.
//!
//! Time and memory are those of both ends. The messages of the blocking loop and of tokio-rustls
//! are one write each, and, for comparison, all that are in flight in one write.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::run_case;
use crate::heap;
use crate::report::{Base, Case, Report};
use crate::rounds::{Contestant, Cost};
use crate::secured::{self, IN_FLIGHT, Identity, Secured};

/// A subject's turn, given the number of operations.
type Work = (fn(&mut dyn Secured, usize), usize, usize);

pub(super) const CASES: [(&str, &str, Work); 6] = [
    ("ping-pong, 64 B", "time there and back", (|s, n| s.ping_pong(n, 64), 100, 1)),
    (
        "messages, 100 B, 16 in flight, a write each",
        "time per message",
        (|s, n| s.messages(n, false), 20, IN_FLIGHT),
    ),
    (
        "messages, 100 B, 16 in flight, one write",
        "time per message",
        (|s, n| s.messages(n, true), 20, IN_FLIGHT),
    ),
    ("16 KiB records, one way", "time per record", (|s, n| s.bulk(n), 128, 1)),
    ("handshake, full", "time per connection", (|s, n| s.handshakes(n, false), 4, 1)),
    ("handshake, resumed", "time per connection", (|s, n| s.handshakes(n, true), 4, 1)),
];

pub(super) fn run(time: Duration, report: &mut Report) -> io::Result<()> {
    let bases = &[Base::Subject("tokio-rustls"), Base::Subject("rustls, blocking")];
    let identity = Identity::new();
    let subjects: Vec<_> = secured::subjects(&identity)
        .into_iter()
        .map(|(name, subject)| (name, Rc::new(RefCell::new(subject))))
        .collect();
    for (name, metric, (work, times, each)) in CASES {
        let contestants = subjects.iter().map(|(name, subject)| {
            let subject = Rc::clone(subject);
            Contestant::new(name, move || {
                let begun = Instant::now();
                work(&mut **subject.borrow_mut(), times);
                Cost::from(begun.elapsed().as_nanos() as f64 / (times * each) as f64)
            })
        });
        let (name, unit) = (name.to_owned(), "ns");
        let case = Case { group: "tls", name, metric, unit, bases, x: None };
        run_case(&case, contestants.collect(), time, report);
    }
    heap::count();
    let case = Case {
        group: "tls",
        name: format!("idle connection, {KEPT} of them"),
        metric: "heap, both ends",
        unit: "bytes",
        bases,
        x: None,
    };
    let contestants = subjects.iter().map(|(name, subject)| {
        let subject = Rc::clone(subject);
        Contestant::new(name, move || {
            let before = heap::live();
            subject.borrow_mut().keep(KEPT);
            Cost::from((heap::live() - before) as f64 / KEPT as f64)
        })
    });
    run_case(&case, contestants.collect(), Duration::ZERO, report);
    Ok(())
}

const KEPT: usize = 50;
