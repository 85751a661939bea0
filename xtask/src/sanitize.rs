//! Runs the unit tests and `tests/it` under a sanitizer, which needs the nightly toolchain.
//!
//! AddressSanitizer checks memory and works with the precompiled standard library. Under both
//! sanitizers the memory of cells is not kept for new ones (`src/coro/memory.rs`).
//!
//! ThreadSanitizer watches threads. In a standard library that was built without it, it does not
//! see a lock that had to wait, a condition variable, a channel or the end of `Arc`, and reports a
//! thousand races which are none. So the library is built with it, from its source
//! (`-Zbuild-std`), which takes the toolchain's component `rust-src`.

use std::{env::consts::ARCH, path::PathBuf};

use crate::{
    Outcome, artifacts,
    command::{Job, minutes},
    repeat,
};

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
    repeat::many(&binaries, options.times, &arguments, |job| {
        job.variable(variable, &settings).deadline(minutes(120))
    })
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
    let (folder, flags, std) = if options.thread {
        ("tsan", "-Zsanitizer=thread -Copt-level=1 --cfg=tsan", "-Zbuild-std")
    } else {
        ("asan", "-Zsanitizer=address --cfg=asan", "")
    };
    let words = format!(
        "+nightly test {std} --package asyncoro --lib --test it --no-run \
         --target {ARCH}-unknown-linux-gnu --target-dir target/{folder}"
    );
    // Only rustup's proxy accepts `+nightly`, not the cargo that runs xtask.
    let job = Job::program("cargo", &words).without_variable("CARGO");
    // The standard library is built too, and every dependency of the tests.
    let job = job.variable("RUSTFLAGS", flags).deadline(minutes(60));
    Ok(artifacts::build(job)?.into_values().collect())
}

/// Returns the environment variable that the sanitizer's runtime reads, with its value.
fn settings(options: &Options) -> (&'static str, String) {
    if options.thread {
        // The child of a fork makes threads of its own.
        return ("TSAN_OPTIONS", "halt_on_error=0 die_after_fork=0".to_owned());
    }
    // Tests that forget a pending future leak on purpose, hence only on demand.
    ("ASAN_OPTIONS", format!("detect_leaks={}", u8::from(options.leaks)))
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
