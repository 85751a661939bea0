//! The progress bar: the share of the run that is done, the time left, the case that runs.
//!
//! It is drawn on standard error, and only on a terminal; tables go to standard output, so they are
//! whole wherever that leads.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The bar of a run whose cases are planned to take equally long.
pub(super) struct Bar {
    bar: ProgressBar,
    per_case: Duration,
    /// How many have begun.
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

    /// A case begins. Those before it are done, however long they took.
    pub(super) fn begin(&mut self, group: &str, case: &str) {
        self.bar.set_message(format!("{group}, {case}"));
        self.bar.set_position(microseconds(self.per_case * self.cases));
        self.bar.tick();
        self.cases += 1;
    }

    /// So much of the case is done; a case that is over its time waits at its end.
    pub(super) fn tick(&self, time: Duration) {
        let end = microseconds(self.per_case * self.cases);
        self.bar.set_position((self.bar.position() + microseconds(time)).min(end));
    }

    /// Prints while the bar is out of the way.
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
