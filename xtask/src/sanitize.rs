//! Runs the unit tests and `tests/it` under a sanitizer, which needs the nightly toolchain.
//!
//! AddressSanitizer checks memory and works with the precompiled standard library. Under both
//! sanitizers the memory of cells is not kept for new ones (`src/coro/memory.rs`).
//!
//! ThreadSanitizer checks threads. It does not see synchronisation inside the standard library,
//! which was built without it: an acquire fence (in `Arc`), a lock that had to wait, a condition
//! variable, the end of `thread::scope`. [`SUPPRESSIONS`] silences false reports that a function's
//! name identifies. The library takes its locks through `src/primitives.rs`, which under
//! `cfg(tsan)` spins on `try_lock`, and is built with the sanitizer. It does follow
//! `thread::spawn`, `join` and `park`; a test that needs the others reports races that are none.

use std::{env::consts::ARCH, path::PathBuf};

use crate::{Outcome, artifacts, command::Job, repeat, root};

/// A file for ThreadSanitizer's option `suppressions`.
const SUPPRESSIONS: &str = "xtask/tsan.txt";

/// The last three build as much of the standard library's generic and inline code as possible with
/// the sanitizer, and make the library take locks in a way that the sanitizer can follow
/// (`src/primitives.rs`).
const THREAD_FLAGS: &str = "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer \
                            -Zshare-generics=no -Copt-level=1 --cfg=tsan";

#[derive(Debug, PartialEq, Eq)]
struct Options<'a> {
    thread: bool,
    leaks: bool,
    times: usize,
    /// Arguments for the test binaries.
    arguments: Vec<&'a str>,
}

pub(crate) fn run(words: &[&str]) -> Outcome {
    let options = parse(words)?;
    let binaries = build(&options)?;
    let (variable, settings) = settings(&options);
    let arguments: Vec<&str> = options.arguments.clone();
    repeat::many(&binaries, options.times, &arguments, |job| job.variable(variable, &settings))
}

fn parse<'a>(words: &[&'a str]) -> Outcome<Options<'a>> {
    let mut options = Options { thread: false, leaks: false, times: 1, arguments: Vec::new() };
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--thread" => options.thread = true,
            "--leaks" => options.leaks = true,
            "--repeat" => {
                options.times = repeat::count(words.next().ok_or("--repeat needs a count")?)?;
            }
            argument => options.arguments.push(argument),
        }
    }
    Ok(options)
}

fn build(options: &Options) -> Outcome<Vec<PathBuf>> {
    let (folder, flags) = if options.thread {
        ("tsan", THREAD_FLAGS)
    } else {
        ("asan", "-Zsanitizer=address --cfg=asan")
    };
    let words = format!(
        "+nightly test --package asyncoro --lib --test it --no-run \
         --target {ARCH}-unknown-linux-gnu --target-dir target/{folder}"
    );
    // Only rustup's proxy accepts `+nightly`, not the cargo that runs xtask.
    let job = Job::program("cargo", &words).without_variable("CARGO");
    Ok(artifacts::build(job.variable("RUSTFLAGS", flags))?.into_values().collect())
}

/// Returns the environment variable that the sanitizer's runtime reads, with its value.
fn settings(options: &Options) -> (&'static str, String) {
    if options.thread {
        let suppressions = root().join(SUPPRESSIONS);
        ("TSAN_OPTIONS", format!("suppressions={} halt_on_error=0", suppressions.display()))
    } else {
        // Only on demand: tests that forget a pending future leak on purpose.
        ("ASAN_OPTIONS", format!("detect_leaks={}", u8::from(options.leaks)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_may_stand_in_any_order_and_the_rest_is_passed_on() {
        let options = parse(&["race", "--repeat", "5", "--thread"]).unwrap();
        let expected = Options { thread: true, leaks: false, times: 5, arguments: vec!["race"] };
        assert_eq!(options, expected);
        assert!(parse(&["--repeat"]).is_err());
    }
}
