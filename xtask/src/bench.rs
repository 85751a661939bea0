//! The benchmarks, built as the figures we quote are: release with link-time optimisation.

use std::time::Duration;

use crate::{Outcome, command::Job};

/// Builds `bench/` and runs it; `arguments` go to the program.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    let job = Job::cargo("run --profile measure -p asyncoro-bench --");
    arguments.iter().fold(job, |job, argument| job.argument(argument)).deadline(LIMIT).run()
}

/// A full run takes less than 40 minutes, building included.
const LIMIT: Duration = Duration::from_secs(60 * 60);
