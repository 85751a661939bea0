//! Puts small faults into central files of the library, one at a time, and checks that a unit test
//! notices each.
//!
//! cargo-mutants changes a copy of the tree, in `target/mutants`. Only the unit tests run, since
//! they are to cover these files. A fault that makes them hang counts as noticed.

use std::fs;

use crate::{Outcome, command::Job, command::minutes, root, tools};

/// What is changed unless other files are named.
const FILES: &[&str] = &[
    "src/frame.rs",
    "src/socket/asynchronous/lock.rs",
    "src/socket/side/inbound.rs",
    "src/socket/side/outbound.rs",
];

/// Tries all faults in these files; returns how many were caught, and prints the others.
///
/// It fails only if it cannot run, since a fault that no test notices may not change the behaviour.
pub(crate) fn run(files: &[&str]) -> Outcome<String> {
    let program = tools::get("cargo-mutants")?;
    let files = if files.is_empty() { FILES } else { files };
    let mut words =
        "mutants --package asyncoro --no-shuffle --colors never --output target/mutants \
                     --minimum-test-timeout 120 --exclude-re tests:: \
                     --cargo-arg=--no-default-features"
            .to_owned();
    for file in files {
        words += &format!(" --file {file}");
    }
    let job = Job::program(&program, &format!("{words} -- --lib"));
    // It also fails if a fault was missed.
    let (_, text) = job.deadline(minutes(6 * 60)).observe()?;
    let summary = text.lines().rev().find(|line| line.contains(" mutants tested"));
    let summary = summary.ok_or_else(|| tools::tail(&text, 40))?.to_owned();
    let missed = fs::read_to_string(root().join(MISSED)).unwrap_or_default();
    missed.lines().for_each(|line| println!("no unit test sees: {line}"));
    Ok(summary)
}

const MISSED: &str = "target/mutants/mutants.out/missed.txt";
