//! A picture as a list of shapes, and the one function that paints it, as SVG or as PNG.
//!
//! Geometry is decided above this file, in plain numbers that a test can read; here they become ink. The
//! letters of a PNG come from a font that the program carries, so that a machine without fonts draws the
//! same picture; an SVG names the reader's own sans-serif.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, DashedPathElement, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, RGBAColor, ShapeStyle, TextStyle, register_font};
use quick_xml::escape::escape;

use unicode_width::UnicodeWidthStr;

use super::group::Group;
pub(super) use super::group::Point;
use super::palette::{Ink, Marker, PAPER};

/// Dots per unit of a PNG: sharp on dense screens.
const PNG_SCALE: f64 = 2.0;
/// Steps per unit of an SVG, whose backend knows whole numbers only: lines stay smooth.
const SVG_SCALE: f64 = 4.0;
/// The bitmap backend centres a line's box, an SVG's reader the letters in it: the difference, of a letter's
/// size.
const PNG_SINK: f64 = 0.15;
/// A dash and the gap after it.
const DASHES: [f64; 2] = [6.0, 4.0];
/// plotters takes a font's height and divides it by this for the size of SVG's letters.
const HEIGHT_PER_SIZE: f64 = 1.24;
/// Mean width of a letter, of its size: a little more than that of the widest common sans-serif, so that no
/// text outgrows its place.
const WIDTH_PER_SIZE: f64 = 0.57;

/// Which end of a text stands at its point; it is always centred upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// Its start.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// One thing to paint.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// A line through points.
    Line { points: Vec<Point>, ink: Ink, width: f64 },
    /// A dashed line through points.
    Dashes { points: Vec<Point>, ink: Ink, width: f64 },
    /// A filled rectangle between its upper left and its lower right corner.
    Rectangle { from: Point, to: Point, ink: Ink },
    /// A filled area.
    Area { points: Vec<Point>, ink: Ink },
    /// A target's marker.
    Mark { at: Point, marker: Marker, ink: Ink, size: f64 },
    /// Words.
    Words { at: Point, text: String, anchor: Anchor, ink: Ink, size: f64 },
    /// What follows belongs together, up to its end.
    Open(Group),
    /// The end of what was opened last.
    Close,
}

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scene {
    /// Its width.
    pub(super) width: f64,
    /// Its height.
    pub(super) height: f64,
    /// From the lowest to the topmost.
    pub(super) shapes: Vec<Shape>,
}

/// Why a picture could not be painted.
#[derive(Debug, thiserror::Error)]
#[error("can't paint the picture: {0}")]
pub struct PaintError(String);

impl From<png::EncodingError> for PaintError {
    fn from(error: png::EncodingError) -> Self {
        Self(error.to_string())
    }
}

impl From<std::io::Error> for PaintError {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl Scene {
    /// An empty picture.
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, shapes: Vec::new() }
    }

    /// Adds a line.
    pub(super) fn line(&mut self, points: Vec<Point>, ink: Ink, width: f64) {
        self.shapes.push(Shape::Line { points, ink, width });
    }

    /// Adds a dashed line.
    pub(super) fn dashes(&mut self, points: Vec<Point>, ink: Ink, width: f64) {
        self.shapes.push(Shape::Dashes { points, ink, width });
    }

    /// Adds a filled area.
    pub(super) fn area(&mut self, points: Vec<Point>, ink: Ink) {
        self.shapes.push(Shape::Area { points, ink });
    }

    /// Adds a filled rectangle between two corners.
    pub(super) fn rectangle(&mut self, from: Point, to: Point, ink: Ink) {
        self.shapes.push(Shape::Rectangle { from, to, ink });
    }

    /// Adds words.
    pub(super) fn words(&mut self, at: Point, text: impl Into<String>, (anchor, ink, size): Lettering) {
        self.shapes.push(Shape::Words { at, text: text.into(), anchor, ink, size });
    }

    /// Adds what `draw` draws, as a group.
    pub(super) fn group(&mut self, group: Group, draw: impl FnOnce(&mut Self)) {
        self.shapes.push(Shape::Open(group));
        draw(self);
        self.shapes.push(Shape::Close);
    }

    /// Adds a marker.
    pub(super) fn mark(&mut self, at: Point, marker: Marker, ink: Ink, size: f64) {
        self.shapes.push(Shape::Mark { at, marker, ink, size });
    }
}

/// Where a text is held, its colour and its size.
pub(super) type Lettering = (Anchor, Ink, f64);

/// The room that a text takes at most; letters of East Asia are twice as wide.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    f64::from(u32::try_from(text.width()).unwrap_or(u32::MAX)) * size * WIDTH_PER_SIZE
}

/// The content of an `<svg>` element, and the width and height of its view box. The element itself is the
/// page's: inline SVG needs no namespace, and its label is the page's to escape.
pub(super) fn svg(scene: &Scene) -> Result<(String, i32, i32), PaintError> {
    let mut body = String::new();
    let mut open: Vec<&'static str> = Vec::new();
    for part in scene.shapes.chunk_by(|a, b| Sort::of(a) == Sort::of(b)) {
        match part.first().map(Sort::of) {
            Some(Sort::Plain) => body.push_str(&elements(scene, part)?),
            Some(Sort::Dashed) => {
                let [dash, gap] = DASHES.map(|length| pixel(length * SVG_SCALE));
                let lines = elements(scene, part)?;
                body.push_str(&format!("<g stroke-dasharray=\"{dash} {gap}\">{lines}</g>\n"));
            }
            Some(Sort::Border) | None => part.iter().for_each(|shape| {
                if let Shape::Open(group) = shape {
                    let (start, end) = group.tags(|length| pixel(length * SVG_SCALE));
                    body.push_str(&start);
                    open.push(end);
                } else {
                    body.extend(open.pop());
                }
                body.push('\n');
            }),
        }
    }
    Ok((body.trim().to_owned(), pixel(scene.width * SVG_SCALE), pixel(scene.height * SVG_SCALE)))
}

/// How a shape becomes an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Plain,
    /// A line in an element that says how it is dashed: less to read than a line for each dash.
    Dashed,
    Border,
}

impl Sort {
    fn of(shape: &Shape) -> Self {
        match shape {
            Shape::Dashes { .. } => Self::Dashed,
            Shape::Open(_) | Shape::Close => Self::Border,
            Shape::Line { .. } | Shape::Rectangle { .. } | Shape::Area { .. } => Self::Plain,
            Shape::Mark { .. } | Shape::Words { .. } => Self::Plain,
        }
    }
}

/// The elements of some shapes.
fn elements(scene: &Scene, shapes: &[Shape]) -> Result<String, PaintError> {
    let size = extent(scene, SVG_SCALE);
    let mut document = String::new();
    {
        let area = SVGBackend::with_string(&mut document, size).into_drawing_area();
        paint(shapes, Brush { area: &area, scale: SVG_SCALE, sink: 0.0, bitmap: false })?;
    }
    let body = document.split_once('>').map_or("", |(_, rest)| rest).trim();
    let body = body.strip_suffix("</svg>").unwrap_or(body).trim();
    Ok(format!("{body}\n"))
}

/// A whole SVG file: the picture on paper, at the size of its units, with a title that says what it shows.
pub(super) fn document(scene: &Scene, title: &str) -> Result<String, PaintError> {
    let (body, wide, high) = svg(scene)?;
    let (width, height) = (pixel(scene.width), pixel(scene.height));
    let title = escape(title);
    let (red, green, blue) = PAPER.rgb;
    let document = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {wide} {high}\" role=\"img\">\n<title>{title}</title>\n\
         <rect width=\"{wide}\" height=\"{high}\" fill=\"#{red:02X}{green:02X}{blue:02X}\"/>\n{body}\n</svg>\n"
    );
    Ok(legal(&document).into_owned())
}

/// Text without the letters that XML 1.0 has no place for, whichever way they are written (section 2.2, `Char`).
pub(super) fn legal(text: &str) -> Cow<'_, str> {
    let is_legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
    if text.chars().all(is_legal) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_legal(c) { c } else { '\u{FFFD}' }).collect())
}

/// Writes the picture as a PNG.
pub(super) fn png(scene: &Scene, path: &Path) -> Result<(), PaintError> {
    let (width, height) = extent(scene, PNG_SCALE);
    let mut dots = vec![0; [3, width, height].map(|side| side as usize).iter().product()];
    let area = BitMapBackend::with_buffer(&mut dots, (width, height)).into_drawing_area();
    area.fill(&color(PAPER)).map_err(|error| PaintError(error.to_string()))?;
    paint(&scene.shapes, Brush { area: &area, scale: PNG_SCALE, sink: PNG_SINK, bitmap: true })?;
    drop(area);
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&dots)?;
    Ok(writer.finish()?)
}

fn paint<DB: DrawingBackend>(shapes: &[Shape], brush: Brush<'_, DB>) -> Result<(), PaintError> {
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| PaintError("the font that flatline carries can't be read".to_owned()))?;
    for shape in shapes {
        brush.shape(shape).map_err(PaintError)?;
    }
    brush.area.present().map_err(|error| PaintError(error.to_string()))
}

/// Paints shapes on an area, so many steps to a unit.
struct Brush<'a, DB: DrawingBackend> {
    area: &'a DrawingArea<DB, Shift>,
    scale: f64,
    sink: f64,
    /// Whether it is a bitmap. A line then ends where it turns back: the bitmap backend has no bound on how far a
    /// pointed corner reaches, and would draw peaks that are not there. SVG has one.
    bitmap: bool,
}

impl<DB: DrawingBackend> Brush<'_, DB> {
    fn shape(&self, shape: &Shape) -> Result<(), String> {
        match shape {
            Shape::Line { points, ink, width } => {
                let style = color(*ink).stroke_width(self.stroke(*width));
                if !self.bitmap {
                    return self.done(self.area.draw(&PathElement::new(self.path(points), style)));
                }
                turns(points)
                    .into_iter()
                    .try_for_each(|part| self.done(self.area.draw(&PathElement::new(self.path(part), style))))
            }
            Shape::Dashes { points, ink, width } => {
                let style = color(*ink).stroke_width(self.stroke(*width));
                if !self.bitmap {
                    return self.done(self.area.draw(&PathElement::new(self.path(points), style)));
                }
                let [dash, gap] = DASHES.map(|length| self.stroke(length));
                let dashes = DashedPathElement::new(self.path(points), dash, gap, style);
                self.done(self.area.draw(&dashes))
            }
            Shape::Rectangle { from, to, ink } => {
                let corners = [self.place(*from), self.place(*to)];
                self.done(self.area.draw(&Rectangle::new(corners, color(*ink).filled())))
            }
            Shape::Area { points, ink } => {
                self.done(self.area.draw(&Polygon::new(self.path(points), color(*ink).filled())))
            }
            Shape::Mark { at, marker, ink, size } => self.mark(*at, *marker, *ink, *size),
            Shape::Open(_) | Shape::Close => Ok(()),
            Shape::Words { at, text, anchor, ink, size } => {
                let ink = color(*ink);
                let style = TextStyle::from(("sans-serif", size * self.scale * HEIGHT_PER_SIZE).into_font())
                    .color(&ink)
                    .pos(Pos::new(held(*anchor), VPos::Center));
                self.done(self.area.draw(&Text::new(
                    text.as_str(),
                    self.place((at.0, at.1 + size * self.sink)),
                    style,
                )))
            }
        }
    }

    fn mark(&self, (x, y): Point, marker: Marker, ink: Ink, size: f64) -> Result<(), String> {
        let style: ShapeStyle = color(ink).filled();
        let corners = match marker {
            Marker::Disc => {
                let disc = Circle::new(self.place((x, y)), self.stroke(size), style);
                return self.done(self.area.draw(&disc));
            }
            Marker::Square => vec![(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            Marker::Triangle => vec![(0.0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
            Marker::Diamond => vec![(0.0, -1.3), (1.2, 0.0), (0.0, 1.3), (-1.2, 0.0)],
        };
        let points: Vec<Point> = corners.iter().map(|(dx, dy)| (x + dx * size, y + dy * size)).collect();
        self.done(self.area.draw(&Polygon::new(self.path(&points), style)))
    }

    fn done<E: std::fmt::Display>(&self, result: Result<(), E>) -> Result<(), String> {
        result.map_err(|error| error.to_string())
    }

    fn path(&self, points: &[Point]) -> Vec<(i32, i32)> {
        points.iter().map(|point| self.place(*point)).collect()
    }

    fn place(&self, (x, y): Point) -> (i32, i32) {
        (pixel(x * self.scale), pixel(y * self.scale))
    }

    fn stroke(&self, width: f64) -> u32 {
        u32::try_from(pixel(width * self.scale)).unwrap_or(0).max(1)
    }
}

/// The parts of a line between the points at which it turns back by more than a right angle.
fn turns(points: &[Point]) -> Vec<&[Point]> {
    let mut parts = Vec::new();
    let mut rest = points;
    let sharp = |(index, [a, b, c]): (usize, &[Point; 3])| {
        let along = (b.0 - a.0) * (c.0 - b.0) + (b.1 - a.1) * (c.1 - b.1);
        (along < 0.0).then_some(index + 1)
    };
    while let Some(turn) = rest.array_windows().enumerate().find_map(sharp) {
        let (Some(part), Some(after)) = (rest.get(..=turn), rest.get(turn..)) else { break };
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

fn held(anchor: Anchor) -> HPos {
    match anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    }
}

fn color(ink: Ink) -> RGBAColor {
    let (red, green, blue) = ink.rgb;
    RGBAColor(red, green, blue, ink.alpha)
}

fn extent(scene: &Scene, scale: f64) -> (u32, u32) {
    let side = |length: f64| u32::try_from(pixel(length * scale)).unwrap_or(1);
    (side(scene.width), side(scene.height))
}

#[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates; pictures are small")]
fn pixel(value: f64) -> i32 {
    value.round() as i32
}

#[cfg(test)]
mod tests {
    use super::super::palette::TEXT;
    use super::*;

    #[test]
    fn a_line_is_parted_where_it_turns_back_and_no_point_is_lost() {
        let points = [(0.0, 0.0), (1.0, 0.5), (2.0, 9.0), (2.5, 0.0), (3.0, 0.0)];
        assert_eq!(turns(&points), [&points[..3], &points[2..]]);
        assert_eq!(turns(&points[..2]), [&points[..2]]);
    }

    #[test]
    fn words_from_outside_can_not_leave_the_picture() {
        let mut scene = Scene::new(100.0, 40.0);
        scene.words((5.0, 20.0), "</text><script>alert(1)</script>", (Anchor::Start, TEXT, 12.0));
        let (body, width, height) = svg(&scene).unwrap();
        assert!(!body.contains("<script"), "{body}");
        assert!(body.contains("&lt;script&gt;"), "{body}");
        assert_eq!((width, height), (400, 160));
    }
}
