//! The command line.

use std::time::Duration;

use clap::Parser;

use crate::group::Group;

/// The same work on asyncoro and its peers, side by side.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// The groups to run, all of them when none is named.
    groups: Vec<Group>,

    /// A fifth of the time per case: for a first impression, not for figures to quote.
    #[arg(long)]
    quick: bool,

    /// Seconds per case, shared by its subjects.
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,

    /// Only these subjects (timed groups), for a profiler: the others are compared with the first.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,

    /// Measures the memory of one case and subject, in a process of its own.
    #[arg(long, hide = true, num_args = 2)]
    pub(crate) probe: Option<Vec<String>>,

    /// Runs the part of a group that has a process of its own.
    #[arg(long, hide = true, num_args = 1..)]
    pub(crate) child: Option<Vec<String>>,
}

impl Arguments {
    /// Returns the groups to run, each once, in the order of the report.
    pub(crate) fn chosen(&self) -> Vec<Group> {
        let asked = |group: &Group| self.groups.is_empty() || self.groups.contains(group);
        Group::ALL.into_iter().filter(asked).collect()
    }

    /// Returns how long the subjects of one case take turns.
    pub(crate) fn time_per_case(&self) -> Duration {
        let usual = if self.quick { Duration::from_secs(1) } else { Duration::from_secs(5) };
        self.seconds.unwrap_or(usual)
    }

    /// Returns how many cases will run.
    pub(crate) fn cases(&self) -> usize {
        self.chosen().into_iter().map(Group::timed_cases).sum()
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
