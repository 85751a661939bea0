//! Plots as SVG: the ratios of a group as bars, and cost against number of connections as lines.
//!
//! The crate `plotters` draws; the layout is computed here in pixels. The width of a text depends
//! on the reader's fonts, so each text has a place of its own with a margin.

mod bars;
mod canvas;
mod lines;

use super::table::Table;

/// A plot and the name of its file.
pub(super) struct Plot {
    pub(super) file: String,
    pub(super) title: String,
    pub(super) svg: String,
}

/// Plots a group, given its tables.
pub(super) fn of_group(tables: &[Table]) -> Result<Vec<Plot>, String> {
    let Some(first) = tables.first() else { return Ok(Vec::new()) };
    let group = first.group;
    let drawn = |svg: canvas::Drawn<String>| svg.map_err(|error| format!("{group}: {error}"));
    let same_metric = tables.iter().all(|table| table.metric == first.metric);
    let of = if same_metric { format!(" of {}", first.metric) } else { String::new() };
    let title = format!("{group}: ratios{of}");
    let svg = drawn(bars::draw(&title, tables))?;
    let mut plots = vec![Plot { file: format!("{group}-ratios.svg"), title, svg }];
    let lines = lines::of(tables);
    if !lines.is_empty() {
        let title = format!("{group}: {} against number of connections", first.metric);
        let svg = drawn(lines::draw(&title, first.unit, &lines))?;
        plots.push(Plot { file: format!("{group}-connections.svg"), title, svg });
    }
    Ok(plots)
}

/// Returns the least round number (1, 2 or 5 times a power of ten) that divides a span into at most
/// `most` steps.
fn step(span: f64, most: f64) -> f64 {
    let rough = span / most;
    let power = 10_f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    // A tolerance for numbers that are not exact in binary.
    round.into_iter().find(|step| *step * (1.0 + 1e-9) >= rough).unwrap_or(rough)
}

/// Returns the multiples of a step within the span.
fn ticks(from: f64, to: f64, step: f64) -> Vec<f64> {
    let (first, last) = ((from / step - 1e-9).ceil() as i64, (to / step + 1e-9).floor() as i64);
    (first..=last).map(|number| number as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Base;
    use super::super::table::example;
    use super::{of_group, step, ticks};

    #[test]
    fn axes_have_round_steps() {
        assert_eq!(step(3.0, 10.0), 0.5);
        assert_eq!(step(2000.0, 4.0), 500.0);
        assert_eq!(ticks(0.95, 2.1, 0.5), [1.0, 1.5, 2.0]);
    }

    #[test]
    fn a_group_is_plotted_whatever_it_costs() {
        let rows: &[(&str, &[f64])] =
            &[("epoll", &[0.0]), ("tokio", &[-4.0]), ("smol", &[7.0]), ("asyncoro", &[0.0])];
        let plots = of_group(&[example(&[Base::BestPeer], rows)]).unwrap();
        assert_eq!(plots.len(), 1, "one case makes no line");
        assert!(plots[0].svg.starts_with("<svg") && plots[0].svg.contains("asyncoro"));
    }

    #[test]
    fn cases_with_connections_make_a_line_per_subject() {
        let rows: &[(&str, &[f64])] = &[("epoll", &[1.0]), ("asyncoro", &[2.0])];
        let (few, mut many) = (example(&[], rows), example(&[], rows));
        many.x = Some(9_000.0);
        let plots = of_group(&[few, many]).unwrap();
        let names: Vec<&str> = plots.iter().map(|plot| plot.file.as_str()).collect();
        assert_eq!(names, ["echo-ratios.svg", "echo-connections.svg"]);
        assert!(plots[1].svg.contains("9,000"));
    }
}
