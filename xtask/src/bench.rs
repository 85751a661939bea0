//! Runs the benchmarks, built as for the figures that are quoted: release with link-time
//! optimisation.

use std::time::Duration;

use crate::{Outcome, bench_venv, command::Job};

/// Builds `bench/` and runs it; `arguments` go to the program. Its group `python` gets a venv.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    let mut job = Job::cargo("run --profile measure -p asyncoro-bench --");
    if runs_python(arguments)
        && let Some(python) = bench_venv::python()
    {
        job = job.variable(bench_venv::VARIABLE, &python);
    }
    arguments.iter().fold(job, |job, argument| job.argument(argument)).deadline(LIMIT).run()
}

/// Tells whether the group `python` is among those to run, which are all if none is named.
fn runs_python(arguments: &[&str]) -> bool {
    if arguments.iter().any(|argument| matches!(*argument, "-h" | "--help")) {
        return false;
    }
    let mut groups = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            // Options whose value follows.
            "--seconds" | "--only" => drop(rest.next()),
            option if option.starts_with('-') => {}
            group => groups.push(group),
        }
    }
    groups.is_empty() || groups.contains(&"python")
}

/// A full run takes less than 50 minutes, building included.
const LIMIT: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::runs_python;

    #[test]
    fn a_venv_is_made_only_for_the_group_that_needs_it() {
        assert!(runs_python(&[]) && runs_python(&["--quick"]) && runs_python(&["echo", "python"]));
        assert!(!runs_python(&["echo"]) && !runs_python(&["echo", "--only", "python"]));
        assert!(runs_python(&["--seconds", "2", "--only", "pycos"]));
        assert!(!runs_python(&["--help"]));
    }
}
