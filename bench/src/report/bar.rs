//! The progress bar: the completed share of the run, the time left, the current case.
//!
//! It is drawn on standard error, and only on a terminal; tables go to standard output.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The progress bar of a run whose cases are planned to take the same time.
pub(super) struct Bar {
    bar: ProgressBar,
    per_case: Duration,
    /// How many cases have begun.
    cases: u32,
}

impl Bar {
    pub(super) fn new(cases: usize, per_case: Duration) -> Self {
        let cases = u32::try_from(cases).expect("a handful of cases");
        let bar = ProgressBar::new(microseconds(per_case * cases));
        let template = "[{bar:30}] {percent:>3} %, {eta_precise} left: {msg}";
        let style = ProgressStyle::with_template(template).expect("the template is well formed");
        bar.set_style(style.progress_chars("=> "));
        Self { bar, per_case, cases: 0 }
    }

    /// Begins a case; the earlier ones count as done, however long they took.
    pub(super) fn begin(&mut self, group: &str, case: &str) {
        self.bar.set_message(format!("{group}, {case}"));
        self.bar.set_position(microseconds(self.per_case * self.cases));
        self.bar.tick();
        self.cases += 1;
    }

    /// Advances within the case, at most to its end.
    pub(super) fn tick(&self, time: Duration) {
        let end = microseconds(self.per_case * self.cases);
        self.bar.set_position((self.bar.position() + microseconds(time)).min(end));
    }

    /// Prints while the bar is hidden.
    pub(super) fn print(&self, text: &str) {
        self.bar.suspend(|| print!("{text}"));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
