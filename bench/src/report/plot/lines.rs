//! Plots cost against number of connections: a line per subject.

use super::super::table::{Table, is_ours};
use super::canvas::{
    Anchor, Canvas, Drawn, FAINT, GRID, INK, Pen, Place, colour_of, draw as sheet,
};
use super::{step, ticks};

/// The medians of a subject by number of connections.
pub(super) struct Line<'a> {
    subject: &'a str,
    points: Vec<(f64, f64)>,
}

/// Plots a line for each subject of the cases that have a number of connections; `None` if there
/// are fewer than two numbers.
pub(super) fn of(tables: &[Table]) -> Vec<Line<'_>> {
    let cases: Vec<(f64, &Table)> =
        tables.iter().filter_map(|table| table.x.map(|x| (x, table))).collect();
    let mut lines: Vec<Line> = Vec::new();
    for &(x, table) in &cases {
        for row in table.rows.iter().filter(|row| row.costs.median.is_finite()) {
            let point = (x, row.costs.median);
            match lines.iter_mut().find(|line| line.subject == row.subject) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { subject: &row.subject, points: vec![point] }),
            }
        }
    }
    lines.iter_mut().for_each(|line| line.points.sort_by(|one, next| one.0.total_cmp(&next.0)));
    lines.retain(|line| {
        line.points.first().map(|point| point.0) != line.points.last().map(|point| point.0)
    });
    lines
}

/// Draws the lines, asyncoro's over the others, with the name of each at its end.
pub(super) fn draw(title: &str, unit: &str, lines: &[Line]) -> Drawn<String> {
    let axes = Axes::of(lines);
    sheet(WIDTH, HEIGHT, |canvas| {
        canvas.text(title, (20, 26), Anchor::Left, Pen { size: 20, bold: true, colour: INK })?;
        let explained =
            format!("medians in {unit}, lower is better; the scale does not begin at 0");
        canvas.text(&explained, (20, 52), Anchor::Left, SMALL)?;
        axes.draw(canvas)?;
        let (ours, peers): (Vec<&Line>, Vec<&Line>) =
            lines.iter().partition(|line| is_ours(line.subject));
        for line in peers.into_iter().chain(ours) {
            let places: Vec<Place> = line.points.iter().map(|point| axes.place(*point)).collect();
            let (width, radius) = if is_ours(line.subject) { (4, 6) } else { (2, 4) };
            canvas.line(&places, colour_of(line.subject), width)?;
            for place in places {
                canvas.dot(place, radius, colour_of(line.subject))?;
            }
        }
        names(canvas, &axes, lines)
    })
}

/// Draws the names at the ends, moved apart where lines end close together.
fn names(canvas: &Canvas, axes: &Axes, lines: &[Line]) -> Drawn {
    let mut ends: Vec<(Place, &str)> = Vec::new();
    for line in lines {
        ends.extend(line.points.last().map(|point| (axes.place(*point), line.subject)));
    }
    ends.sort_by_key(|((_, down), _)| *down);
    let heights = apart(&ends.iter().map(|((_, down), _)| *down).collect::<Vec<_>>());
    for ((end, subject), height) in ends.into_iter().zip(heights) {
        let colour = colour_of(subject);
        canvas.line(&[(end.0 + 8, end.1), (RIGHT + 24, height)], colour, 1)?;
        let pen = Pen { size: 15, bold: is_ours(subject), colour };
        canvas.text(subject, (RIGHT + 29, height), Anchor::Left, pen)?;
    }
    Ok(())
}

/// Returns heights in the same order, at least [`APART`] from each other and within the plot: moves
/// them down from above, then up from below.
fn apart(sorted: &[i32]) -> Vec<i32> {
    let mut heights = sorted.to_vec();
    for place in 1..heights.len() {
        heights[place] = heights[place].max(heights[place - 1] + APART);
    }
    let mut below = BOTTOM + APART;
    for height in heights.iter_mut().rev() {
        *height = (*height).min(below - APART);
        below = *height;
    }
    heights
}

/// The axes: the logarithm of connections to the right, cost upwards.
struct Axes {
    /// The numbers of connections that were measured.
    connections: Vec<f64>,
    /// The least and the greatest cost shown, in whole steps.
    from: f64,
    to: f64,
    step: f64,
}

impl Axes {
    fn of(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let least = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let most = points().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
        let step = step((most - least).max(most.abs() / 10.0).max(1.0), 8.0);
        let mut connections: Vec<f64> = points().map(|point| point.0).collect();
        connections.sort_by(f64::total_cmp);
        connections.dedup();
        let (from, to) = ((least / step).floor() * step, (most / step).ceil() * step);
        Self { connections, from, to: to.max(from + step), step }
    }

    fn place(&self, (x, cost): (f64, f64)) -> Place {
        let (first, last) = (self.connections[0], self.connections[self.connections.len() - 1]);
        let share = (x.ln() - first.ln()) / (last.ln() - first.ln());
        let across = f64::from(LEFT + INSET) + share * f64::from(RIGHT - LEFT - 2 * INSET);
        let up = (cost - self.from) / (self.to - self.from) * f64::from(BOTTOM - TOP);
        (across.round() as i32, BOTTOM - up.round() as i32)
    }

    fn draw(&self, canvas: &Canvas) -> Drawn {
        for cost in ticks(self.from, self.to, self.step) {
            let (_, height) = self.place((self.connections[0], cost));
            canvas.line(&[(LEFT, height), (RIGHT, height)], GRID, 1)?;
            canvas.text(&thousands(cost), (LEFT - 10, height), Anchor::Right, SMALL)?;
        }
        for &x in &self.connections {
            let (across, _) = self.place((x, self.from));
            canvas.line(&[(across, BOTTOM), (across, BOTTOM + 5)], FAINT, 1)?;
            canvas.text(&thousands(x), (across, BOTTOM + 18), Anchor::Middle, SMALL)?;
        }
        canvas.line(&[(LEFT, BOTTOM), (RIGHT, BOTTOM)], FAINT, 1)?;
        let middle = ((LEFT + RIGHT) / 2, BOTTOM + 42);
        canvas.text("connections (logarithmic)", middle, Anchor::Middle, SMALL)
    }
}

/// Formats a whole number with commas, any other with two digits after the point.
fn thousands(number: f64) -> String {
    if number.fract().abs() > 1e-6 {
        return format!("{number:.2}");
    }
    let digits = format!("{:.0}", number.abs());
    let mut text = if number < 0.0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const SMALL: Pen = Pen { size: 14, bold: false, colour: FAINT };

const WIDTH: i32 = 960;
const HEIGHT: i32 = 540;
const LEFT: i32 = 90;
/// Where the plot ends; names are to the right.
const RIGHT: i32 = 760;
const TOP: i32 = 86;
const BOTTOM: i32 = 470;
/// The margin beside the first and the last number of connections.
const INSET: i32 = 16;
/// The least distance of two names.
const APART: i32 = 19;

#[cfg(test)]
mod tests {
    use super::{APART, BOTTOM, apart, thousands};

    #[test]
    fn names_never_overlap() {
        let heights = apart(&[100, 101, 102, BOTTOM - 1, BOTTOM]);
        assert_eq!(heights[..3], [100, 100 + APART, 100 + 2 * APART]);
        assert_eq!(heights[3..], [BOTTOM - APART, BOTTOM]);
    }

    #[test]
    fn numbers_are_written_with_commas() {
        let written = [9_000.0, 10.0, -1_234_567.0, 0.5].map(thousands);
        assert_eq!(written, ["9,000", "10", "-1,234,567", "0.50"]);
    }
}
