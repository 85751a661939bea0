//! Writes `report.md`: machine and command, then per group its plots and a table per case.

use std::fmt::Write as _;

use super::plot::Plot;
use super::table::{Row, Table};

/// Formats the beginning: machine, versions and command, and how to read the rest.
pub(super) fn head(run: &[(&str, String)]) -> String {
    let mut text = "# asyncoro and its peers\n\n| | |\n| --- | --- |\n".to_owned();
    for (name, value) in run {
        let _ = writeln!(text, "| {name} | {} |", escaped(value));
    }
    text + "\nLower is better in every metric. A ratio is that of the medians; its spread p25..p75 \
            is that of the ratios\nwithin each round, in which all subjects take turns. The best \
            of a case is bold.\n"
}

/// Formats a group: its plots, which are files beside the report, and its tables.
pub(super) fn group(tables: &[Table], plots: &[Plot]) -> String {
    let name = tables.first().map_or("", |table| table.group);
    let mut text = format!("\n## {name}\n");
    for plot in plots {
        let _ = write!(text, "\n![{}]({})\n", plot.title, plot.file);
    }
    tables.iter().for_each(|one| text += &table(one));
    text
}

fn table(table: &Table) -> String {
    let mut text = format!("\n### {}\n\n", escaped(&table.case));
    let mut head = format!("| subject | {}, {} | p10..p90 | rounds |", table.metric, table.unit);
    let mut rule = "| --- | ---: | ---: | ---: |".to_owned();
    for base in &table.bases {
        let _ = write!(head, " to {} | p25..p75 |", escaped(base));
        rule += " ---: | ---: |";
    }
    let _ = writeln!(text, "{head}\n{rule}");
    table.rows.iter().for_each(|one| text += &row(one, table.is_best(one)));
    text
}

fn row(row: &Row, is_best: bool) -> String {
    let bold = if is_best { "**" } else { "" };
    let (subject, costs) = (escaped(&row.subject), &row.costs);
    let mut text = format!(
        "| {bold}{subject}{bold} | {bold}{:.1}{bold} | {:.1}..{:.1} | {} |",
        costs.median, costs.p10, costs.p90, row.rounds
    );
    for ratio in &row.ratios {
        let (of_medians, p25, p75) = (ratio.of_medians, ratio.p25, ratio.p75);
        let _ = write!(text, " {bold}{of_medians:.3}{bold} | {p25:.3}..{p75:.3} |");
    }
    text + "\n"
}

/// Escapes bars, which would end the cell.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::super::Base;
    use super::super::table::example;
    use super::{group, head};

    #[test]
    fn a_case_has_a_row_per_subject_and_two_columns_per_base() {
        let bases = &[Base::Subject("epoll"), Base::Subject("tokio")];
        let table = example(bases, &[("epoll", &[2.0]), ("tokio", &[4.0]), ("asyncoro", &[1.0])]);
        let expected = "
## echo

### K = 8, 64 B

| subject | time per request, ns | p10..p90 | rounds | to epoll | p25..p75 | to tokio | p25..p75 |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| epoll | 2.0 | 2.0..2.0 | 1 | 1.000 | 1.000..1.000 | 0.500 | 0.500..0.500 |
| tokio | 4.0 | 4.0..4.0 | 1 | 2.000 | 2.000..2.000 | 1.000 | 1.000..1.000 |
| **asyncoro** | **1.0** | 1.0..1.0 | 1 | **0.500** | 0.500..0.500 | **0.250** | 0.250..0.250 |
";
        assert_eq!(group(&[table], &[]), expected);
    }

    #[test]
    fn the_head_says_what_was_run() {
        let text = head(&[("command", "a | b".to_owned())]);
        assert!(text.contains("| command | a \\| b |\n"), "{text}");
    }
}
