//! Benchmarks: the same work on asyncoro and its peers, side by side, in one run.
//!
//! `cargo xtask bench [GROUP...] [--quick] [--seconds S]`
//!
//! A group (`group/`) is a kind of work with its cases; a subject (`subject/`) does the work. The
//! work is written once, over the three traits of `runtime.rs` that each runtime implements:
//! `served.rs` has the servers of streams, `load.rs` their load, `flight.rs` datagrams,
//! `arrivals.rs` short-lived connections, `coroutines.rs` work without sockets. `child.rs` runs
//! second processes; their servers are in `listening.rs`, `hyper.rs` and `bulk.rs`, the load of the
//! first two in `clients.rs`. The programs of the group `python` are in `bench/python/`.
//!
//! In each case the subjects take turns (`rounds.rs`), because the speed of a machine changes
//! during a measurement: only the ratio within a round counts. `report/` prints the tables and
//! writes `target/bench-report/` (`results.json`, `report.md`, plots). Lower is better in every
//! metric.

mod arguments;
mod arrivals;
mod bulk;
mod child;
mod clients;
mod coroutines;
mod files;
mod flight;
mod gathered;
mod group;
mod heap;
mod hyper;
mod listening;
mod load;
mod machine;
mod primitives;
mod progress;
mod report;
mod rounds;
mod runtime;
mod secured;
mod served;
mod subject;

use std::io;

use clap::Parser;

use arguments::Arguments;
use report::Report;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    machine::raise_file_limit()?;
    if let Some(probe) = &arguments.probe {
        return group::memory::probe(&probe[0], &probe[1]);
    }
    if let Some(part) = &arguments.child {
        return group::child(part);
    }
    for (name, value) in machine::describe() {
        println!("{name}: {value}");
    }
    let time = arguments.time_per_case();
    let mut report = Report::new(arguments.cases(), time, arguments.only.clone());
    for chosen in arguments.chosen() {
        group::run(chosen, time, &mut report)?;
    }
    report.finish()
}
