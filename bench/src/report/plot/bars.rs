//! Plots the ratios of a group: cases from top to bottom, a bar per subject, its spread as a
//! whisker.

use super::super::statistics::Ratio;
use super::super::table::{Row, Table, is_ours};
use super::canvas::{
    Anchor, Canvas, Drawn, FAINT, GRID, INK, Pen, WHITE, colour_of, draw as sheet, pen_of,
};
use super::{step, ticks};

/// Plots the tables of a group, relative to the first base of each.
pub(super) fn draw(title: &str, tables: &[Table]) -> Drawn<String> {
    let rows: i32 = tables.iter().map(places).sum();
    let bottom = TOP + rows;
    let axis = Axis::of(tables);
    sheet(WIDTH, bottom + FOOT, |canvas| {
        let heading = Pen { size: 20, bold: true, colour: INK };
        canvas.text(title, (MARGIN, 26), Anchor::Left, heading)?;
        canvas.text(&axis.explained(), (MARGIN, 52), Anchor::Left, SMALL)?;
        axis.name_one(canvas)?;
        let mut top = TOP;
        for table in tables {
            case(canvas, table, &axis, top)?;
            top += places(table);
        }
        axis.numbers(canvas, bottom)
    })
}

/// Returns the height of a case.
fn places(table: &Table) -> i32 {
    HEADING + PITCH * i32::try_from(table.rows.len()).expect("a handful of subjects") + GAP
}

fn case(canvas: &Canvas, table: &Table, axis: &Axis, top: i32) -> Drawn {
    let mut name = table.case.clone();
    if axis.names_metrics {
        name += &format!(": {}", table.metric);
    }
    if axis.base.is_none() {
        name += &format!(" (1 is {})", table.bases[0]);
    }
    let pen = Pen { size: 15, bold: true, colour: INK };
    canvas.text(&name, (MARGIN, top + HEADING / 2), Anchor::Left, pen)?;
    let (from, to) = (top + HEADING, top + places(table) - GAP);
    axis.grid(canvas, from, to)?;
    let middles = || (from + PITCH / 2..to).step_by(PITCH as usize);
    for (row, middle) in table.rows.iter().zip(middles()) {
        canvas.text(&row.subject, (LEFT - 8, middle), Anchor::Right, pen_of(&row.subject))?;
        bar(canvas, row, axis, middle)?;
    }
    axis.one(canvas, from, to)?;
    for (row, middle) in table.rows.iter().zip(middles()) {
        spread(canvas, row, axis, middle)?;
    }
    Ok(())
}

/// Draws the bar; one that is cut has its value inside.
fn bar(canvas: &Canvas, row: &Row, axis: &Axis, middle: i32) -> Drawn {
    let (ratio, colour) = (&row.ratios[0], colour_of(&row.subject));
    let half = if is_ours(&row.subject) { PITCH / 2 - 2 } else { PITCH / 2 - 4 };
    if !ratio.of_medians.is_finite() {
        return Ok(());
    }
    let end = axis.pixel(ratio.of_medians);
    canvas.block((LEFT, middle - half), (end, middle + half), colour)?;
    if ratio.of_medians <= axis.most {
        return Ok(());
    }
    for left in [end - 14, end - 8] {
        let slant = [(left, middle + half + 1), (left + 5, middle - half - 1)];
        canvas.line(&slant, WHITE, 2)?;
    }
    let (value, pen) = (value(ratio), Pen { bold: true, colour: WHITE, ..SMALL });
    canvas.text(&value, (end - 22, middle), Anchor::Right, pen)
}

/// Draws the whisker and the value, beside the line at 1; nothing for a bar that is cut.
fn spread(canvas: &Canvas, row: &Row, axis: &Axis, middle: i32) -> Drawn {
    let (ratio, pen) = (&row.ratios[0], pen_of(&row.subject));
    if !ratio.of_medians.is_finite() {
        return canvas.text("-", (LEFT + 6, middle), Anchor::Left, pen);
    }
    if ratio.of_medians > axis.most {
        return Ok(());
    }
    let (from, to) = (axis.pixel(ratio.p25), axis.pixel(ratio.p75));
    canvas.line(&[(from, middle), (to, middle)], INK, 1)?;
    for side in [from, to] {
        canvas.line(&[(side, middle - 3), (side, middle + 3)], INK, 1)?;
    }
    let mut across = axis.pixel(ratio.of_medians).max(to) + 7;
    let one = axis.pixel(1.0);
    if across - 4 < one && one < across + VALUE {
        across = one + 7;
    }
    canvas.text(&value(ratio), (across, middle), Anchor::Left, pen)
}

fn value(ratio: &Ratio) -> String {
    format!("{:.2}", ratio.of_medians)
}

/// The axis of ratios, from 0 to `most`.
struct Axis {
    most: f64,
    /// Whether longer bars are cut.
    cuts: bool,
    /// The base, unless the cases have different ones.
    base: Option<String>,
    /// Whether a case has tables of several metrics.
    names_metrics: bool,
}

impl Axis {
    fn of(tables: &[Table]) -> Self {
        let ratios = tables.iter().flat_map(|table| &table.rows).map(|row| &row.ratios[0]);
        let ends = ratios.flat_map(|ratio| [ratio.of_medians, ratio.p75]);
        let farthest = ends.filter(|end| end.is_finite()).fold(LEAST, f64::max);
        let bases = || tables.iter().map(|table| &table.bases[0]);
        let base = bases().next().filter(|first| bases().all(|base| base == *first));
        let names_metrics = tables.windows(2).any(|pair| pair[0].case == pair[1].case);
        let (most, cuts) = (farthest.min(MOST), farthest > MOST);
        Self { most, cuts, base: base.cloned(), names_metrics }
    }

    fn explained(&self) -> String {
        let base = self.base.as_deref().unwrap_or("the base of each case");
        let cut = if self.cuts { format!("; bars are cut at {MOST:.0}") } else { String::new() };
        format!("to {base}, lower is better; whiskers: the middle half of the rounds{cut}")
    }

    fn pixel(&self, ratio: f64) -> i32 {
        LEFT + (ratio.clamp(0.0, self.most) / self.most * f64::from(RIGHT - LEFT)).round() as i32
    }

    /// Draws what is behind the bars of a case.
    fn grid(&self, canvas: &Canvas, from: i32, to: i32) -> Drawn {
        for tick in self.ticks() {
            let across = self.pixel(tick);
            canvas.line(&[(across, from), (across, to)], GRID, 1)?;
        }
        canvas.line(&[(LEFT, from), (LEFT, to)], FAINT, 1)
    }

    /// Draws what is over the bars of a case.
    fn one(&self, canvas: &Canvas, from: i32, to: i32) -> Drawn {
        let across = self.pixel(1.0);
        canvas.line(&[(across, from), (across, to)], INK, 2)
    }

    fn name_one(&self, canvas: &Canvas) -> Drawn {
        let name = format!("{} = 1", self.base.as_deref().unwrap_or("base"));
        let pen = Pen { bold: true, colour: INK, ..SMALL };
        canvas.text(&name, (self.pixel(1.0), TOP - 4), Anchor::Middle, pen)
    }

    /// Draws what is below all cases.
    fn numbers(&self, canvas: &Canvas, bottom: i32) -> Drawn {
        for tick in self.ticks() {
            let place = (self.pixel(tick), bottom + 4);
            canvas.text(&format!("{tick:.1}"), place, Anchor::Middle, SMALL)?;
        }
        Ok(())
    }

    fn ticks(&self) -> Vec<f64> {
        ticks(0.0, self.most, step(self.most, 10.0))
    }
}

const SMALL: Pen = Pen { size: 13, bold: false, colour: FAINT };

const WIDTH: i32 = 960;
const MARGIN: i32 = 20;
/// Where bars begin; the names of subjects are to the left.
const LEFT: i32 = 180;
/// Where the longest bars end; their values are to the right.
const RIGHT: i32 = 890;
const TOP: i32 = 92;
const FOOT: i32 = 24;
/// The width of a value.
const VALUE: i32 = 30;

/// Heights: of the name of a case, of a bar with its margin, and between two cases.
const HEADING: i32 = 28;
const PITCH: i32 = 20;
const GAP: i32 = 10;

/// The least end of the axis, so that the line at 1 is never at the edge.
const LEAST: f64 = 1.25;
/// The greatest end of the axis; longer bars are cut, so that the others stay visible.
const MOST: f64 = 3.0;
