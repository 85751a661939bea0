//! Runs what takes too long for each change: all steps, or those that are named.
//!
//! Each step returns a summary; a failure of one does not stop the others. A table at the end shows
//! step, outcome, time, and the summary or why it was skipped. `--minutes N` sets how long each
//! fuzz target, the soak, the model-based test and random Python programs run (10 by default).

use std::{
    env,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    Outcome, ci,
    command::{Job, minutes},
    fuzz, inject, mutants, portable, python, pythons, root, sanitize, soak, tools, websocket,
    wheels,
};

struct Step {
    name: &'static str,
    /// Returns the reason why the step cannot run here, if there is one.
    lacks: fn() -> Option<String>,
    /// Runs the step, for the given seconds if it runs for a time; returns its summary.
    run: fn(u64) -> Outcome<String>,
}

const STEPS: &[Step] = &[
    Step { name: "batching", lacks: nothing, run: |_| batching() },
    Step { name: "address", lacks: nightly, run: |_| sanitized(&[]) },
    Step { name: "thread", lacks: standard_source, run: |_| sanitized(&["--thread"]) },
    Step { name: "loom", lacks: nothing, run: |_| loom() },
    Step { name: "fuzz", lacks: nightly, run: |seconds| fuzz::run(seconds, &[]) },
    Step { name: "inject", lacks: strace, run: |_| inject::run(&[]) },
    Step { name: "model", lacks: model_test, run: model },
    Step { name: "interop", lacks: servers, run: |_| interop() },
    Step { name: "python", lacks: pythons, run: python::nightly },
    Step { name: "wheels", lacks: pythons, run: |_| wheels::release() },
    Step { name: "soak", lacks: nothing, run: soak::run },
    Step { name: "http", lacks: nothing, run: |_| http() },
    Step { name: "websocket", lacks: websocket::lacks, run: |_| websocket::run() },
    Step { name: "deny", lacks: nothing, run: |_| deny() },
    Step { name: "advisories", lacks: database, run: |_| advisories() },
    Step { name: "mutants", lacks: nothing, run: |_| mutants::tonight() },
];

/// How a step ended, with its summary, reason or error.
enum Ended {
    Well(String),
    Badly(String),
    Skipped(String),
}

/// Runs the steps with these names, all of them when none is given.
pub(crate) fn run(words: &[&str]) -> Outcome {
    let (seconds, names) = parse(words)?;
    let mut rows = Vec::new();
    for step in STEPS.iter().filter(|step| names.is_empty() || names.contains(&step.name)) {
        println!("\n=== {}", step.name);
        let begun = Instant::now();
        let ended = match (step.lacks)() {
            Some(why) => Ended::Skipped(why),
            None => match (step.run)(seconds) {
                Ok(figure) => Ended::Well(figure),
                Err(sentence) => Ended::Badly(sentence),
            },
        };
        if let Ended::Badly(sentence) = &ended {
            println!("{sentence}");
        }
        rows.push((step.name, ended, begun.elapsed()));
    }
    println!("\n=== summary\n{:<11} {:<8} {:>9}  figure", "step", "outcome", "time");
    rows.iter().for_each(|(name, ended, time)| println!("{}", line(name, ended, *time)));
    let failed: Vec<&str> = rows
        .iter()
        .filter(|(_, ended, _)| matches!(ended, Ended::Badly(_)))
        .map(|(name, ..)| *name)
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("nightly: failed: {}", failed.join(", "))) }
}

/// Parses the command line: the seconds for timed steps, and the names of steps.
fn parse<'a>(words: &[&'a str]) -> Outcome<(u64, Vec<&'a str>)> {
    let (mut length, mut names) = (10, Vec::new());
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--minutes" => {
                let count = words.next().and_then(|count| count.parse().ok());
                length = count.filter(|count| *count > 0).ok_or("--minutes needs a count")?;
            }
            name if STEPS.iter().any(|step| step.name == name) => names.push(name),
            name => {
                let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
                return Err(format!("there is no step {name}; there are {}", known.join(", ")));
            }
        }
    }
    Ok((60 * length, names))
}

/// Formats a row of the table; of an error it shows the first line.
fn line(name: &str, ended: &Ended, time: Duration) -> String {
    let (outcome, figure) = match ended {
        Ended::Well(figure) => ("ok", figure),
        Ended::Badly(sentence) => ("FAILED", sentence),
        Ended::Skipped(why) => ("skipped", why),
    };
    let figure = figure.lines().next().unwrap_or_default();
    format!("{name:<11} {outcome:<8} {:>7.0} s  {figure}", time.as_secs_f64())
}

fn nothing() -> Option<String> {
    None
}

fn nightly() -> Option<String> {
    let lacks = !portable::has_toolchain("nightly");
    lacks.then(|| "no nightly toolchain (rustup toolchain install nightly)".to_owned())
}

/// ThreadSanitizer's standard library is built from its source.
fn standard_source() -> Option<String> {
    nightly().or_else(|| {
        let lacks = !portable::has_standard_source("nightly");
        lacks.then(|| {
            "no source of the standard library (rustup component add rust-src --toolchain nightly)"
                .to_owned()
        })
    })
}

fn pythons() -> Option<String> {
    pythons::found().is_empty().then(|| "no CPython 3.9 or later that can make a venv".to_owned())
}

fn strace() -> Option<String> {
    inject::needs_strace().err()
}

fn model_test() -> Option<String> {
    let has_it = ["tests/it/model.rs", "tests/it/model/mod.rs"]
        .iter()
        .any(|path| Path::new(root()).join(path).exists());
    (!has_it).then(|| "tests/it has no model-based test".to_owned())
}

/// cargo-deny reads a clone of the RustSec database, which it fetches if it can.
fn database() -> Option<String> {
    let program = match tools::get("cargo-deny") {
        Ok(program) => program,
        Err(sentence) => return Some(sentence),
    };
    let fetched = Job::program(&program, "fetch db").deadline(minutes(2)).observe();
    let why = "the RustSec database cannot be fetched here";
    (!matches!(fetched, Ok((true, _)))).then(|| why.to_owned())
}

fn sanitized(words: &[&str]) -> Outcome<String> {
    sanitize::run(words).map(|()| "unit tests and tests/it, no report".to_owned())
}

/// Runs the tests with calls made together in each way, as often as that is possible, and never.
fn batching() -> Outcome<String> {
    const WAYS: [&str; 5] = ["off", "direct:1", "direct:2", "ring:1", "ring:2"];
    for way in WAYS {
        Job::cargo("test --package asyncoro --lib --test it")
            .variable("ASYNCORO_BATCHING", way)
            .deadline(minutes(30))
            .run_tests()?;
    }
    Ok(format!("the tests with {}", WAYS.join(", ")))
}

/// Runs the loom models with more preemptions than CI.
fn loom() -> Outcome<String> {
    ci::loom_with(PREEMPTIONS, minutes(120))?;
    Ok(format!("all interleavings of {PREEMPTIONS} preemptions"))
}

const PREEMPTIONS: u32 = 4;

fn model(seconds: u64) -> Outcome<String> {
    Job::cargo("test --package asyncoro --release --test it model -- --nocapture")
        .variable("ASYNCORO_MODEL_SECONDS", &seconds.to_string())
        .deadline(Duration::from_secs(2 * seconds) + minutes(30))
        .run()?;
    Ok(format!("{seconds} s without a finding"))
}

/// Sends bodies of 1 GiB through the examples that speak HTTP.
fn http() -> Outcome<String> {
    Job::cargo("test --release --package asyncoro-interop in_little_memory -- --nocapture")
        .variable("ASYNCORO_BODY_MIB", "1024")
        .deadline(minutes(30))
        .run_tests()?;
    Ok("bodies of 1 GiB, in a few MiB of memory".to_owned())
}

/// The servers that the tests behind `heavy` start, beside those of CI, with their Debian packages.
const SERVERS: &[(&str, &str)] = &[
    ("dbus-daemon", "dbus-daemon"),
    ("nats-server", "nats-server"),
    ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"),
];

fn servers() -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
    let is_missing = |name: &str| !folders.iter().any(|folder| folder.join(name).is_file());
    let missing = SERVERS.iter().filter(|(name, _)| is_missing(name));
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    let words = || format!("servers are missing (apt-get install {})", packages.join(" "));
    (!packages.is_empty()).then(words)
}

/// Runs the tests with the libraries of others, with those that take long to build, too.
fn interop() -> Outcome<String> {
    Job::cargo("test --package asyncoro-interop --features heavy")
        // What is missing fails, and is not skipped.
        .variable("CI", "true")
        .deadline(minutes(60))
        .run_tests()?;
    Ok("all libraries of docs/interop.md".to_owned())
}

fn deny() -> Outcome<String> {
    let program = tools::get("cargo-deny")?;
    Job::program(&program, "--all-features check bans licenses sources").run()?;
    Ok("bans, licences and sources as deny.toml has them".to_owned())
}

fn advisories() -> Outcome<String> {
    let program = tools::get("cargo-deny")?;
    Job::program(&program, "--all-features check --disable-fetch advisories").run()?;
    Ok("no advisory against a dependency".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_minutes_may_stand_in_any_order() {
        assert_eq!(parse(&[]), Ok((600, vec![])));
        assert_eq!(parse(&["fuzz", "--minutes", "1", "soak"]), Ok((60, vec!["fuzz", "soak"])));
        assert!(parse(&["--minutes", "0"]).is_err() && parse(&["fuz"]).is_err());
    }

    #[test]
    fn a_row_has_one_line() {
        let row = line("fuzz", &Ended::Badly("one\ntwo".to_owned()), Duration::from_secs(61));
        assert_eq!(row, "fuzz        FAILED        61 s  one");
    }
}
