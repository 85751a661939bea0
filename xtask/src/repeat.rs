//! Runs the same tests many times, to find a race and to show that it is fixed.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
};

use crate::{
    Outcome, artifacts,
    command::{Job, minutes},
};

/// Runs `tests/it` `times` times; `arguments` go to the test binary.
///
/// The environment variable `ASYNCORO_DRIVER` chooses the driver.
pub(crate) fn run(times: &str, arguments: &[&str]) -> Outcome {
    let times = count(times)?;
    let built = artifacts::build(Job::cargo("test --package asyncoro --test it --no-run"))?;
    let binaries: Vec<PathBuf> = built.into_values().collect();
    many(&binaries, times, arguments, |job| job)
}

/// Parses a count of runs.
pub(crate) fn count(text: &str) -> Outcome<usize> {
    match text.parse() {
        Ok(times) if times > 0 => Ok(times),
        _ => Err(format!("{text} is no count of runs")),
    }
}

/// Runs each binary `times` times and prints the output of failing runs; fails if a run did or if
/// the arguments select no test.
pub(crate) fn many(
    binaries: &[PathBuf],
    times: usize,
    arguments: &[&str],
    prepare: impl Fn(Job) -> Job,
) -> Outcome {
    let mut failed = Vec::new();
    let mut some_test_ran = false;
    for run in 1..=times {
        for binary in binaries {
            show_progress(run, times, failed.len());
            let (well, text) = prepare(job(binary, arguments)?).observe()?;
            some_test_ran |= !well || results(&text).any(|line| !line.contains(" 0 passed"));
            if !well {
                println!("\n--- run {run} of {} failed\n{text}\n", binary.display());
                failed.push(run);
            } else if run == 1 {
                results(&text).for_each(|line| println!("{line}"));
            }
        }
        if !some_test_ran {
            return Err(format!("no test ran with the arguments {arguments:?}"));
        }
    }
    println!("\nruns: {} passed, {} failed", times * binaries.len() - failed.len(), failed.len());
    if failed.is_empty() { Ok(()) } else { Err(format!("failed in runs {failed:?}")) }
}

fn job(binary: &Path, arguments: &[&str]) -> Outcome<Job> {
    let program = binary.to_str().ok_or("the path of a test binary is not UTF-8")?;
    let job = Job::program(program, "").deadline(minutes(20));
    Ok(arguments.iter().fold(job, |job, argument| job.argument(argument)))
}

/// Returns the summary lines of a test binary.
fn results(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.starts_with("test result: "))
}

fn show_progress(run: usize, times: usize, failed: usize) {
    let mut out = std::io::stdout();
    if out.is_terminal() {
        // Only a display: errors are ignored.
        let _ = write!(out, "\rrun {run} of {times}, {failed} failed ").and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(times: usize, script: &str) -> Outcome {
        many(&[PathBuf::from("sh")], times, &["-c", script], |job| job)
    }

    #[test]
    fn each_failing_run_is_counted() {
        assert_eq!(shell(2, "exit 1"), Err("failed in runs [1, 2]".to_owned()));
        assert_eq!(shell(3, "echo 'test result: ok. 1 passed; 0 failed'"), Ok(()));
    }

    #[test]
    fn a_filter_that_catches_no_test_fails() {
        let outcome = shell(1, "echo 'test result: ok. 0 passed; 0 failed; 9 filtered out'");
        assert!(outcome.unwrap_err().contains("no test ran"));
    }

    #[test]
    fn a_count_is_a_number_above_zero() {
        assert_eq!(count("12"), Ok(12));
        assert!(count("0").is_err() && count("race").is_err());
    }
}
