//! What the rounds showed: a table per case on standard output, all rows in `results.json`,
//! the tables once more in `report.md`.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::machine;

/// What was measured in a case.
pub(crate) struct Case {
    /// The group it belongs to.
    pub(crate) group: &'static str,
    /// Its name within the group.
    pub(crate) name: String,
    /// What was measured, "time per request".
    pub(crate) metric: &'static str,
    /// Its unit; lower is better.
    pub(crate) unit: &'static str,
}

/// The rows so far, and the progress bar (on a terminal).
pub(crate) struct Report {
    rows: Vec<String>,
    markdown: String,
    bar: ProgressBar,
    only: Vec<String>,
}

impl Report {
    /// An empty report of a run whose timed cases take so long.
    pub(crate) fn new(total: Duration, only: Vec<String>) -> Self {
        let bar = ProgressBar::new(microseconds(total));
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {msg}");
        bar.set_style(style.expect("the template is well formed"));
        Self { rows: Vec::new(), markdown: String::new(), bar, only }
    }

    /// Whether the subject takes part.
    pub(crate) fn wants(&self, subject: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == subject)
    }

    /// Says what is going on.
    pub(crate) fn begin(&self, case: &Case) {
        self.bar.set_message(format!("{}, {}", case.group, case.name));
        self.bar.tick();
    }

    /// Moves the progress bar on.
    pub(crate) fn tick(&self, time: Duration) {
        self.bar.inc(microseconds(time));
    }

    /// Takes the costs of a case, for each subject one per round; the first subject is the one the
    /// others are compared with.
    pub(crate) fn add(&mut self, case: &Case, results: &[(String, Vec<f64>)]) {
        let Some((base, base_costs)) = results.first() else { return };
        let mut table =
            format!("\n{}, {}: {}, {}\n", case.group, case.name, case.metric, case.unit);
        let to_base = format!("to {base}");
        let _ = writeln!(
            table,
            "  {:<26}{:>10}{:>10}{:>10}{to_base:>12}{:>16}{:>8}",
            "subject", "median", "p10", "p90", "p25..p75", "rounds"
        );
        let rows: Vec<Row> = results.iter().map(|(_, costs)| Row::new(costs, base_costs)).collect();
        let best = rows.iter().map(|row| row.median).fold(f64::INFINITY, f64::min);
        let _ = write!(
            self.markdown,
            "\n### {}, {}\n\n| subject | {}, {} | p10..p90 | to {base} | p25..p75 |\n\
             | --- | ---: | ---: | ---: | ---: |\n",
            case.group, case.name, case.metric, case.unit
        );
        for ((subject, costs), row) in results.iter().zip(&rows) {
            let bold = if row.median == best { "**" } else { "" };
            let _ = writeln!(
                self.markdown,
                "| {bold}{subject}{bold} | {bold}{:.1}{bold} | {:.1}..{:.1} | {bold}{:.3}{bold} | \
                 {:.3}..{:.3} |",
                row.median, row.p10, row.p90, row.ratio, row.ratio_p25, row.ratio_p75
            );
            let _ = writeln!(
                table,
                "  {subject:<26}{:>10.1}{:>10.1}{:>10.1}{:>12.3}{:>16}{:>8}",
                row.median,
                row.p10,
                row.p90,
                row.ratio,
                format!("{:.3}..{:.3}", row.ratio_p25, row.ratio_p75),
                costs.len()
            );
            self.rows.push(row.json(case, subject, costs.len(), base));
        }
        self.bar.suspend(|| print!("{table}"));
    }

    /// Writes `results.json` and says where it is.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.bar.finish_and_clear();
        // Cargo says where this package is; started without it, the report goes to where we are.
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let root = package.as_deref().and_then(|bench| bench.parent()).map(PathBuf::from);
        let folder = root.unwrap_or_default().join("target/bench-report");
        fs::create_dir_all(&folder)?;
        let file = folder.join("results.json");
        fs::write(&file, format!("[\n{}\n]\n", self.rows.join(",\n")))?;
        let text = format!(
            "# asyncoro and its peers\n\n{}\n\nLower is better. Ratios are of medians, their \
             spread is that of the ratios within each round; the best of a case is bold.\n{}",
            machine::describe(),
            self.markdown
        );
        fs::write(folder.join("report.md"), text)?;
        println!("\n{} rows in {}, tables in report.md beside it", self.rows.len(), file.display());
        Ok(())
    }
}

/// The statistics of one subject in one case.
struct Row {
    median: f64,
    p10: f64,
    p90: f64,
    /// Of the medians; its spread is that of the ratios within each round.
    ratio: f64,
    ratio_p25: f64,
    ratio_p75: f64,
}

impl Row {
    fn new(costs: &[f64], base_costs: &[f64]) -> Self {
        let ratios: Vec<f64> =
            costs.iter().zip(base_costs).map(|(cost, base)| cost / base).collect();
        let (costs, base_costs, ratios) = (sorted(costs), sorted(base_costs), sorted(&ratios));
        Self {
            median: quantile(&costs, 0.5),
            p10: quantile(&costs, 0.1),
            p90: quantile(&costs, 0.9),
            ratio: quantile(&costs, 0.5) / quantile(&base_costs, 0.5),
            ratio_p25: quantile(&ratios, 0.25),
            ratio_p75: quantile(&ratios, 0.75),
        }
    }

    /// The row as a JSON object. Our names are plain ASCII, where Rust's `{:?}` is JSON's string.
    fn json(&self, case: &Case, subject: &str, rounds: usize, base: &str) -> String {
        format!(
            "{{\"group\": {:?}, \"case\": {:?}, \"subject\": {subject:?}, \"metric\": {:?}, \
             \"unit\": {:?}, \"median\": {:.2}, \"p10\": {:.2}, \"p90\": {:.2}, \
             \"rounds\": {rounds}, \"ratio_to\": {base:?}, \"ratio\": {:.4}, \
             \"ratio_p25\": {:.4}, \"ratio_p75\": {:.4}}}",
            case.group,
            case.name,
            case.metric,
            case.unit,
            self.median,
            self.p10,
            self.p90,
            self.ratio,
            self.ratio_p25,
            self.ratio_p75
        )
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which this share of the sorted values lies, between two neighbours linearly.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Row, quantile};

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert_eq!(quantile(&[7.0], 0.9), 7.0);
    }

    #[test]
    fn ratio_is_of_medians_and_its_spread_of_rounds() {
        let row = Row::new(&[2.0, 4.0, 9.0], &[1.0, 2.0, 3.0]);
        assert_eq!(row.ratio, 2.0);
        assert_eq!((row.ratio_p25, row.ratio_p75), (2.0, 2.5));
    }
}
