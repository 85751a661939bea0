//! A white canvas to draw on, in pixels, and the colours of subjects.

use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{
    Circle, Color, DrawingArea, DrawingBackend, FontStyle, IntoDrawingArea, PathElement, RGBColor,
    Rectangle, SVGBackend, ShapeStyle, Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontFamily};

use super::super::table::is_ours;

/// The result of drawing.
pub(super) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<Failure>>;
type Failure = <SVGBackend<'static> as DrawingBackend>::ErrorType;

/// A position in pixels, from the upper left.
pub(super) type Place = (i32, i32);

/// The part of a text that is at its position; vertically it is always the middle.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

/// The style of a text.
#[derive(Clone, Copy)]
pub(super) struct Pen {
    pub(super) size: i32,
    pub(super) bold: bool,
    pub(super) colour: RGBColor,
}

/// A canvas to draw on.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Draws a plot of this size; returns it as SVG.
pub(super) fn draw(width: i32, height: i32, plot: impl FnOnce(&Canvas) -> Drawn) -> Drawn<String> {
    let mut svg = String::new();
    let size = (width.unsigned_abs(), height.unsigned_abs());
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    area.fill(&WHITE)?;
    let canvas = Canvas { area };
    plot(&canvas)?;
    canvas.area.present()?;
    drop(canvas);
    Ok(svg)
}

impl Canvas<'_> {
    pub(super) fn text(&self, text: &str, place: Place, anchor: Anchor, pen: Pen) -> Drawn {
        let style = if pen.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = FontDesc::new(FontFamily::SansSerif, f64::from(pen.size), style);
        let across = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let style = font.color(&pen.colour).pos(Pos::new(across, VPos::Center));
        self.area.draw(&Text::new(text, place, style))
    }

    /// Draws a filled rectangle between two corners.
    pub(super) fn block(&self, from: Place, to: Place, colour: RGBColor) -> Drawn {
        self.area.draw(&Rectangle::new([from, to], colour.filled()))
    }

    /// Draws a line through these positions.
    pub(super) fn line(&self, places: &[Place], colour: RGBColor, width: u32) -> Drawn {
        let style = ShapeStyle::from(&colour).stroke_width(width);
        self.area.draw(&PathElement::new(places, style))
    }

    pub(super) fn dot(&self, place: Place, radius: u32, colour: RGBColor) -> Drawn {
        self.area.draw(&Circle::new(place, radius, colour.filled()))
    }
}

/// Returns the pen of a subject; asyncoro's is bold.
pub(super) fn pen_of(subject: &str) -> Pen {
    let colour = if is_ours(subject) { colour_of("asyncoro") } else { INK };
    Pen { size: 14, bold: is_ours(subject), colour }
}

/// Returns the colour of a subject, the same in every plot; a variant (`tokio feed+flush`) has a
/// lighter one.
pub(super) fn colour_of(subject: &str) -> RGBColor {
    let (name, variant) = subject.split_once(' ').unwrap_or((subject, ""));
    let pure = match name {
        "asyncoro" => RGBColor(200, 16, 46),
        "epoll" => RGBColor(60, 66, 74),
        "floor" => RGBColor(150, 156, 164),
        "tokio" => RGBColor(47, 111, 196),
        "smol" => RGBColor(44, 140, 96),
        "monoio" => RGBColor(130, 84, 176),
        "compio" => RGBColor(214, 146, 24),
        _ => RGBColor(90, 160, 170),
    };
    if variant.is_empty() || variant == "recv" { pure } else { lighter(pure) }
}

/// Mixes a colour with white, in equal parts.
fn lighter(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let lighter = |part: u8| part + (255 - part) / 5 * 2;
    RGBColor(lighter(red), lighter(green), lighter(blue))
}

pub(super) const WHITE: RGBColor = RGBColor(255, 255, 255);
/// The colour of texts and axes.
pub(super) const INK: RGBColor = RGBColor(38, 42, 48);
/// The colour of explanations.
pub(super) const FAINT: RGBColor = RGBColor(104, 110, 118);
/// The colour of the grid.
pub(super) const GRID: RGBColor = RGBColor(222, 225, 229);
