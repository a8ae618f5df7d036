//! The chart: time of a forward pass against the length of text, both scales logarithmic, with the
//! machine's limit.

use std::fmt::Write;
use std::ops::RangeInclusive;

use super::lengths::{Lengths, Point};
use super::machine::Machine;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 56.0;

/// Okabe and Ito's vermilion and blue, which most colour-blind readers tell apart.
const LIMIT_COLOUR: &str = "#d55e00";
const MEASURED_COLOUR: &str = "#0072b2";

/// The chart as an SVG document.
pub fn draw(lengths: &Lengths, machine: &Machine) -> String {
    let chart = Chart::new(&lengths.points);
    let mut svg = String::new();
    chart
        .write(&mut svg, lengths, machine)
        .expect("a string takes any text");
    svg
}

/// The powers of two and of ten that the axes span.
struct Chart {
    tokens: RangeInclusive<i32>,
    milliseconds: RangeInclusive<i32>,
}

impl Chart {
    fn new(points: &[Point]) -> Self {
        let span = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (fewest, most) = span(&mut points.iter().map(|point| point.tokens as f64));
        let times = points
            .iter()
            .flat_map(|point| [point.median_ms, point.limit_ms]);
        let (shortest, longest) = span(&mut times.filter(|&time| time > 0.0));
        let exponents = |low: f64, high: f64| {
            let first = low.floor() as i32;
            // At least one step, so that a chart of a single point has a scale.
            first..=(high.ceil() as i32).max(first + 1)
        };
        Self {
            tokens: exponents(fewest.log2(), most.log2()),
            milliseconds: exponents(shortest.log10(), longest.log10()),
        }
    }

    fn x(&self, tokens: f64) -> f64 {
        let share = share(tokens.log2(), &self.tokens);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, milliseconds: f64) -> f64 {
        let share = share(milliseconds.log10(), &self.milliseconds);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    fn write(&self, svg: &mut String, lengths: &Lengths, machine: &Machine) -> std::fmt::Result {
        writeln!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif" font-size="12" fill="#222">"##
        )?;
        writeln!(svg, "<title>Forward pass: time against length</title>")?;
        writeln!(
            svg,
            r#"<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>"#
        )?;
        text(
            svg,
            (LEFT, 24.0),
            r#"font-size="16""#,
            "Forward pass: time against length",
        )?;
        let machine = format!(
            "{}; {}; threads: {}; Lanewise {}; {}",
            machine.cpu, machine.instruction_set, machine.threads, machine.version, machine.date
        );
        text(svg, (LEFT, 44.0), "", &machine)?;
        self.axes(svg)?;
        self.line(svg, &lengths.points, LIMIT_COLOUR, |point| point.limit_ms)?;
        self.line(svg, &lengths.points, MEASURED_COLOUR, |point| {
            point.median_ms
        })?;
        for point in &lengths.points {
            let (x, y) = (self.x(point.tokens as f64), self.y(point.median_ms));
            writeln!(
                svg,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{MEASURED_COLOUR}"><title>{} tokens: {:.2} ms, limit {:.2} ms</title></circle>"#,
                point.tokens, point.median_ms, point.limit_ms
            )?;
        }
        let legend = [
            (MEASURED_COLOUR, "measured: median".to_owned()),
            (
                LIMIT_COLOUR,
                format!(
                    "limit of the machine: reading all layers at {:.1} GB/s,",
                    lengths.bandwidth_gb_per_s
                ),
            ),
            (
                LIMIT_COLOUR,
                format!(
                    "or {:.0} G INT8 multiply-adds/s, whichever takes longer",
                    lengths.peak_gmac_per_s
                ),
            ),
        ];
        for (line, (colour, content)) in legend.iter().enumerate() {
            let place = (LEFT + 8.0, TOP + 16.0 * (line + 1) as f64);
            text(svg, place, &format!(r#"fill="{colour}""#), content)?;
        }
        writeln!(svg, "</svg>")
    }

    fn axes(&self, svg: &mut String) -> std::fmt::Result {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for exponent in self.tokens.clone() {
            let tokens = f64::from(exponent).exp2();
            let x = self.x(tokens);
            writeln!(svg, r##"<path d="M{x:.1} {TOP}V{bottom}" stroke="#ddd"/>"##)?;
            text(
                svg,
                (x, bottom + 18.0),
                r#"text-anchor="middle""#,
                &tokens.to_string(),
            )?;
        }
        for exponent in self.milliseconds.clone() {
            let milliseconds = 10f64.powi(exponent);
            let y = self.y(milliseconds);
            writeln!(svg, r##"<path d="M{LEFT} {y:.1}H{right}" stroke="#ddd"/>"##)?;
            text(
                svg,
                (LEFT - 8.0, y + 4.0),
                r#"text-anchor="end""#,
                &milliseconds.to_string(),
            )?;
        }
        let middle = (LEFT + right) / 2.0;
        text(
            svg,
            (middle, HEIGHT - 16.0),
            r#"text-anchor="middle""#,
            "tokens",
        )?;
        text(svg, (LEFT - 8.0, TOP - 12.0), r#"text-anchor="end""#, "ms")
    }

    fn line(
        &self,
        svg: &mut String,
        points: &[Point],
        colour: &str,
        time: impl Fn(&Point) -> f64,
    ) -> std::fmt::Result {
        write!(
            svg,
            r#"<polyline fill="none" stroke="{colour}" stroke-width="2" points=""#
        )?;
        for point in points {
            let (x, y) = (self.x(point.tokens as f64), self.y(time(point)));
            write!(svg, "{x:.1},{y:.1} ")?;
        }
        writeln!(svg, r#""/>"#)
    }
}

/// The position of an exponent in the range, 0 to 1.
fn share(exponent: f64, range: &RangeInclusive<i32>) -> f64 {
    let (start, end) = (f64::from(*range.start()), f64::from(*range.end()));
    (exponent - start) / (end - start)
}

/// A line of text, which may hold what XML reads as markup.
fn text(svg: &mut String, (x, y): (f64, f64), attributes: &str, content: &str) -> std::fmt::Result {
    let content = content
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" {attributes}>{content}</text>"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_lies_inside_the_axes() {
        let point = |tokens, median_ms, limit_ms| Point {
            tokens,
            median_ms,
            limit_ms,
        };
        for points in [
            vec![point(4, 4.05, 2.1), point(2048, 534.0, 243.0)],
            vec![point(4, 10.0, 10.0)],
            vec![point(5, 0.0004, 0.0001)],
        ] {
            let chart = Chart::new(&points);
            for point in &points {
                let x = chart.x(point.tokens as f64);
                assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{point:?}: {x}");
                for time in [point.median_ms, point.limit_ms] {
                    let y = chart.y(time);
                    assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{point:?}: {y}");
                }
            }
        }
    }

    #[test]
    fn names_of_files_and_machines_are_no_markup() {
        let mut svg = String::new();
        text(&mut svg, (0.0, 0.0), "", "a < b & c").unwrap();
        assert!(svg.contains(">a &lt; b &amp; c<"), "{svg}");
    }
}
