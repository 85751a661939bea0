//! Puts small faults into central files of the library, one at a time, and checks that a test
//! notices each.
//!
//! cargo-mutants changes a copy of the tree, in `target/mutants`, and runs the unit tests and
//! `tests/it`. A fault that makes them hang counts as noticed. All faults take a day, so a night
//! tries a part of them, another one each night; `--shard K/N` names one.

use std::{fs, time::SystemTime};

use crate::{Outcome, command::Job, command::minutes, root, tools};

/// What is changed unless other files are named.
const FILES: &[&str] = &[
    "src/frame.rs",
    "src/socket/asynchronous/lock.rs",
    "src/socket/side/inbound.rs",
    "src/socket/side/outbound.rs",
    "src/socket/side/queue.rs",
];

/// Nights in which each fault is tried once.
const NIGHTS: u64 = 20;

/// Tries the faults of tonight in the usual files; see [`run`].
pub(crate) fn tonight() -> Outcome<String> {
    let since = SystemTime::UNIX_EPOCH.elapsed().map_err(|error| error.to_string())?;
    let night = since.as_secs() / (24 * 60 * 60) % NIGHTS;
    run(&["--shard", &format!("{night}/{NIGHTS}")])
}

/// Tries the faults in these files, or a part of them; the figure is how many were caught, and
/// those that were not.
///
/// Fails only if it cannot be done: a fault that no test sees may be one that changes nothing.
pub(crate) fn run(words: &[&str]) -> Outcome<String> {
    let (shard, files) = match words {
        ["--shard", shard, files @ ..] => (Some(*shard), files),
        files => (None, files),
    };
    let program = tools::get("cargo-mutants")?;
    let files = if files.is_empty() { FILES } else { files };
    let mut words = "mutants --package asyncoro --no-shuffle --colors never \
                     --output target/mutants --minimum-test-timeout 120 --timeout-multiplier 2 \
                     --exclude-re tests:: --cargo-arg=--no-default-features"
        .to_owned();
    for file in files {
        words += &format!(" --file {file}");
    }
    if let Some(shard) = shard {
        words += &format!(" --shard {shard}");
    }
    let job = Job::program(&program, &format!("{words} -- --lib --test it"));
    // It ends with an error where a fault was missed.
    let (_, text) = job.deadline(minutes(26 * 60)).observe()?;
    let summary = text.lines().rev().find(|line| line.contains(" mutants tested"));
    let summary = summary.ok_or_else(|| tools::tail(&text, 40))?;
    let missed = fs::read_to_string(root().join(MISSED)).unwrap_or_default();
    missed.lines().for_each(|line| println!("no test sees: {line}"));
    Ok(shard.map_or_else(|| summary.to_owned(), |shard| format!("part {shard}: {summary}")))
}

const MISSED: &str = "target/mutants/mutants.out/missed.txt";
