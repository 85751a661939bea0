//! The project's automation: `cargo xtask ci` is all of CI.
//!
//! This file reads the command line. The commands are in [`ci`] (the steps and their order),
//! [`tidy`] (the project's own rules), [`examples`] (runs and interrupts each example), [`repeat`]
//! (the same tests many times, for races), [`bench`] (the benchmarks; [`bench_venv`] their Python),
//! [`python`] (the Python package; [`pythons`] finds interpreters), [`wheels`] (what of it is
//! distributed), [`release`] (what must hold before a release), [`gate`] (instruction counts),
//! [`model`] (the model-based test), [`sanitize`] (the same tests under a sanitizer), [`portable`]
//! (other systems, the oldest Rust and dependencies) and [`nightly`], the long runs ([`fuzz`],
//! [`inject`], [`mutants`], [`soak`], [`websocket`]). It uses only `std`, so that it builds in two
//! seconds.

mod artifacts;
mod bench;
mod bench_venv;
mod ci;
mod command;
mod examples;
mod fuzz;
mod gate;
mod inject;
mod model;
mod mutants;
mod nightly;
mod portable;
mod python;
mod pythons;
mod release;
mod repeat;
mod sanitize;
mod skips;
mod soak;
mod tidy;
mod tools;
mod websocket;
mod wheels;

use std::{path::Path, process::ExitCode};

/// The result of a command, or a sentence for the person at the terminal.
type Outcome<T = ()> = Result<T, String>;

const USAGE: &str = "\
cargo xtask COMMAND
  ci [STEP...]                 all of CI, or only these steps of it
  tidy                         the project's own rules
  examples [NAME...]           start, talk to and interrupt the examples
  python [VERSION...]          the Python package, built and tested on these CPythons, or on the
                               oldest and the newest
  wheels [--quick] [TARGET...] [VERSION...] [sdist]
                               the package's wheels and source distribution, built, checked and
                               tried; all of them without a word; --quick without LTO
  release-check [STEP...]      what must hold before a release of crate and package
  loom                         every interleaving of what crosses threads
  bench [GROUP...] [--quick]   asyncoro and its peers, side by side
  gate [--record]              instruction counts of the hot paths against the recorded ones
  model [--seconds N] [--seed N]
                               the model-based test for N seconds on each driver, or one seed
  model --planted [NAME...]    the same against bugs planted in a copy of the tree
  repeat N [ARG...]            tests/it N times; ARGs go to the test binary, a filter for example
  sanitize [--thread] [--leaks] [--repeat N] [ARG...]
                               unit tests and tests/it under AddressSanitizer (nightly),
                               with --thread under ThreadSanitizer
  nightly [--minutes N] [STEP...]
                               what takes long: sanitizers, loom, fuzzing, injected failures, the
                               model-based test, the libraries of others that build long, a soak,
                               large bodies of HTTP, the conformance suite of WebSocket, cargo deny,
                               mutants; N for each that is a matter of time (10)
  fuzz SECONDS [TARGET...]     the fuzz targets, each so long (nightly)
  inject [ERROR...]            failing system calls under the tour and the tests (strace)
  soak SECONDS                 a server and its clients: does anything grow?
  mutants [--shard K/N] [FILE...]
                               small faults in the code: which does no test see?";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("xtask: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Outcome {
    match words {
        ["ci", steps @ ..] => ci::run(steps),
        ["tidy"] => tidy::run(),
        ["bench", arguments @ ..] => bench::run(arguments),
        ["gate", arguments @ ..] => gate::run(arguments),
        ["examples", names @ ..] => examples::run(names),
        ["python", versions @ ..] => python::run(versions),
        ["wheels", words @ ..] => wheels::run(words),
        ["release-check", steps @ ..] => release::run(steps),
        ["loom"] => ci::loom(),
        ["model", words @ ..] => model::run(words),
        ["repeat", times, rest @ ..] => repeat::run(times, rest),
        ["sanitize", rest @ ..] => sanitize::run(rest),
        ["nightly", rest @ ..] => nightly::run(rest),
        ["fuzz", seconds, names @ ..] => shown(fuzz::run(count(seconds)?, names)),
        ["inject", errors @ ..] => shown(inject::run(errors)),
        ["soak", seconds] => shown(soak::run(count(seconds)?)),
        ["mutants", words @ ..] => shown(mutants::run(words)),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("what shall be done?\n{USAGE}")),
    }
}

fn count(text: &str) -> Outcome<u64> {
    text.parse().map_err(|_| format!("{text} is no count of seconds"))
}

/// Prints a figure.
fn shown(figure: Outcome<String>) -> Outcome {
    println!("{}", figure?);
    Ok(())
}

/// Returns the root of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in a folder of the root")
}
