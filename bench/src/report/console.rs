//! Formats a table for the terminal.

use std::fmt::Write as _;

use super::table::Table;

/// Formats a table under its title.
pub(super) fn text(table: &Table) -> String {
    let Table { group, case, metric, unit, .. } = table;
    let mut text = format!("\n{group}, {case}: {metric}, {unit}\n");
    let mut head =
        format!("  {:<22}{:>10}{:>10}{:>10}{:>8}", "subject", "median", "p10", "p90", "rounds");
    let columns: Vec<String> = table.bases.iter().map(|base| format!("to {base}")).collect();
    for column in &columns {
        head += &format!("  {column:>9}{:>15}", "p25..p75");
    }
    let _ = writeln!(text, "{head}");
    for row in &table.rows {
        let costs = &row.costs;
        let _ = write!(
            text,
            "  {:<22}{:>10.1}{:>10.1}{:>10.1}{:>8}",
            row.subject, costs.median, costs.p10, costs.p90, row.rounds
        );
        for (column, ratio) in columns.iter().zip(&row.ratios) {
            let spread = format!("{:.3}..{:.3}", ratio.p25, ratio.p75);
            let width = column.len().max(9);
            let _ = write!(text, "  {:>width$.3}{spread:>15}", ratio.of_medians);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Base;
    use super::super::table::example;
    use super::text;

    #[test]
    fn columns_stand_under_their_heads() {
        let bases = &[Base::Subject("epoll"), Base::Subject("tokio feed+flush")];
        let rows: &[(&str, &[f64])] = &[("epoll", &[2000.0]), ("tokio feed+flush", &[4000.0])];
        let text = text(&example(bases, rows));
        let mut lines = text.lines().skip(1);
        assert_eq!(lines.next(), Some("echo, K = 8, 64 B: time per request, ns"));
        let lengths: Vec<usize> = lines.map(str::len).collect();
        assert_eq!(lengths.len(), 3);
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{text}");
    }
}
