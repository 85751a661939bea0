//! Small faults put into the hearts of the library, one at a time: does a test of it notice?
//!
//! cargo-mutants makes a copy of the tree and changes that, in `target/mutants`. The unit tests
//! judge alone: they are those that are to know these files. A fault that makes them hang has been
//! noticed.

use std::fs;

use crate::{Outcome, command::Job, command::minutes, root, tools};

/// What is changed unless other files are named.
const FILES: &[&str] = &[
    "src/frame.rs",
    "src/socket/asynchronous/lock.rs",
    "src/socket/side/inbound.rs",
    "src/socket/side/outbound.rs",
];

/// Tries all faults in these files; the figure is how many were caught, and those that were not.
///
/// Fails only if it cannot be done: a fault that no test sees may be one that changes nothing.
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
    // It ends with an error where a fault was missed.
    let (_, text) = job.deadline(minutes(6 * 60)).observe()?;
    let summary = text.lines().rev().find(|line| line.contains(" mutants tested"));
    let summary = summary.ok_or_else(|| tools::tail(&text, 40))?.to_owned();
    let missed = fs::read_to_string(root().join(MISSED)).unwrap_or_default();
    missed.lines().for_each(|line| println!("no unit test sees: {line}"));
    Ok(summary)
}

const MISSED: &str = "target/mutants/mutants.out/missed.txt";
