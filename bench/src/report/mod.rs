//! The report: tables on the terminal (`console.rs`) during the run, and at the end `results.json`
//! (`json.rs`), `report.md` (`markdown.rs`) and its plots (`plot/`) in `target/bench-report/`.
//!
//! A group describes what it measured as a [`Case`] and passes each subject's costs; `table.rs`
//! computes rows and ratios (`statistics.rs`), and everything else is made from those tables.

mod bar;
mod console;
mod json;
mod markdown;
mod plot;
mod statistics;
mod table;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::machine;
use bar::Bar;
use table::Table;

/// A case and what was measured in it.
pub(crate) struct Case {
    /// The group it belongs to.
    pub(crate) group: &'static str,
    /// Its name within the group.
    pub(crate) name: String,
    /// The metric, such as "time per request".
    pub(crate) metric: &'static str,
    /// Its unit; lower is better.
    pub(crate) unit: &'static str,
    /// The subjects to compare all others with; if empty, the first subject. The first of them is
    /// the base of the group's plot.
    pub(crate) bases: &'static [Base],
    /// The number of connections, for cases of a group that differ in nothing else: they get a plot
    /// of cost against it.
    pub(crate) x: Option<f64>,
}

/// A subject that others are compared with.
pub(crate) enum Base {
    /// The subject of this name.
    Subject(&'static str),
    /// The subject with the lowest median of the case, except asyncoro.
    BestPeer,
}

/// The results so far, and the progress bar.
pub(crate) struct Report {
    tables: Vec<Table>,
    notes: Vec<(&'static str, String)>,
    bar: Bar,
    only: Vec<String>,
}

impl Report {
    /// Makes an empty report of a run, given the number of cases and the planned time of each.
    pub(crate) fn new(cases: usize, per_case: Duration, only: Vec<String>) -> Self {
        let (tables, notes, bar) = (Vec::new(), Vec::new(), Bar::new(cases, per_case));
        Self { tables, notes, bar, only }
    }

    /// Adds a note to the figures of a group, such as which subjects were left out.
    pub(crate) fn note(&mut self, group: &'static str, text: String) {
        self.bar.print(&format!("{group}: {text}\n"));
        self.notes.push((group, text));
    }

    /// Tells whether the subject takes part.
    pub(crate) fn wants(&self, subject: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == subject)
    }

    /// Prints what is going on.
    pub(crate) fn begin(&mut self, case: &Case) {
        self.bar.begin(case.group, &case.name);
    }

    /// Moves the progress bar on.
    pub(crate) fn tick(&self, time: Duration) {
        self.bar.tick(time);
    }

    /// Adds the costs of a case, for each subject one per round, and prints its table.
    pub(crate) fn add(&mut self, case: &Case, results: &[(String, Vec<f64>)]) {
        let Some(table) = Table::new(case, results) else { return };
        self.bar.print(&console::text(&table));
        self.tables.push(table);
    }

    /// Writes the files and prints their paths.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.bar.finish();
        let folder = folder();
        fs::create_dir_all(&folder)?;
        let run: Vec<_> = machine::describe().into_iter().chain(self.notes).collect();
        let mut report = markdown::head(&run);
        let mut plotted = 0;
        for tables in self.tables.chunk_by(|one, next| one.group == next.group) {
            let plots = plot::of_group(tables).map_err(io::Error::other)?;
            for plot in &plots {
                fs::write(folder.join(&plot.file), &plot.svg)?;
            }
            plotted += plots.len();
            report += &markdown::group(tables, &plots);
        }
        fs::write(folder.join("report.md"), report)?;
        fs::write(folder.join("results.json"), json::list(&self.tables))?;
        println!(
            "\n{} tables and {plotted} plots in report.md, rows in results.json: {}",
            self.tables.len(),
            folder.display()
        );
        Ok(())
    }
}

/// Returns the folder of the report: in the workspace if cargo started this program, else in the
/// current folder.
fn folder() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = package.as_deref().and_then(|bench| bench.parent()).map(PathBuf::from);
    root.unwrap_or_default().join("target/bench-report")
}
