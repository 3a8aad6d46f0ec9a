//! Charts as SVG: lines over logarithmic axes, as what is measured spans several powers of ten.

use std::fmt::Write as _;

/// Pixels of one chart, and of the space around it.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 56.0;
/// To the right of a chart stand the names of its lines.
const NAMES: f64 = 170.0;
/// Colours that can be told apart in print and by the colour-blind (Okabe and Ito, 2008).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// A chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Chart {
    /// Above it.
    pub(crate) title: String,
    /// Below it.
    pub(crate) x: String,
    /// Beside it.
    pub(crate) y: String,
    /// Names and points. Points that are not above zero have no place on it.
    pub(crate) lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// The charts as one picture, one below the other.
pub(crate) fn svg(charts: &[Chart]) -> String {
    let (width, each) = (LEFT + WIDTH + NAMES, TOP + HEIGHT + BOTTOM);
    let height = each * charts.len() as f64;
    let mut svg = String::new();
    put(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
        ),
    );
    for (number, chart) in charts.iter().enumerate() {
        let down = each * number as f64;
        put(&mut svg, format_args!("<g transform=\"translate({LEFT} {})\">", down + TOP));
        chart.draw(&mut svg);
        put(&mut svg, format_args!("</g>"));
    }
    put(&mut svg, format_args!("</svg>"));
    svg
}

impl Chart {
    fn draw(&self, svg: &mut String) {
        let (x, y) = (self.axis(|point| point.0, WIDTH), self.axis(|point| point.1, HEIGHT));
        let text = |svg: &mut String, at: (f64, f64), anchor: &str, more: &str, text: &str| {
            let (left, down, text) = (at.0, at.1, escape(text));
            let place = format!("x=\"{left:.1}\" y=\"{down:.1}\" text-anchor=\"{anchor}\"");
            put(svg, format_args!("<text {place} {more}>{text}</text>"));
        };
        text(svg, (0.0, -24.0), "start", "font-size=\"16\"", &self.title);
        text(svg, (WIDTH / 2.0, HEIGHT + 42.0), "middle", "", &self.x);
        text(svg, (-70.0, -8.0), "start", "fill=\"#555\"", &self.y);
        for tick in x.ticks() {
            let at = x.place(tick);
            put(svg, format_args!("<path d=\"M{at:.1} 0v{HEIGHT}\" stroke=\"#ddd\"/>"));
            text(svg, (at, HEIGHT + 18.0), "middle", "", &short(tick));
        }
        for tick in y.ticks() {
            let at = HEIGHT - y.place(tick);
            put(svg, format_args!("<path d=\"M0 {at:.1}h{WIDTH}\" stroke=\"#ddd\"/>"));
            text(svg, (-8.0, at + 4.0), "end", "", &short(tick));
        }
        for (number, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let places: Vec<(f64, f64)> =
                drawable(points).map(|(a, b)| (x.place(a), HEIGHT - y.place(b))).collect();
            let path: Vec<String> = places.iter().map(|(a, b)| format!("{a:.1} {b:.1}")).collect();
            if path.len() > 1 {
                let path = path.join("L");
                let style = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"");
                put(svg, format_args!("<path d=\"M{path}\" {style}/>"));
            }
            for (a, b) in places {
                let style = format!("r=\"3\" fill=\"{colour}\"");
                put(svg, format_args!("<circle cx=\"{a:.1}\" cy=\"{b:.1}\" {style}/>"));
            }
            let fill = format!("fill=\"{colour}\"");
            text(svg, (WIDTH + 14.0, 14.0 + 20.0 * number as f64), "start", &fill, name);
        }
    }

    fn axis(&self, of: impl Fn((f64, f64)) -> f64, length: f64) -> Axis {
        let values = self.lines.iter().flat_map(|(_, points)| drawable(points)).map(of);
        Axis::new(values, length)
    }
}

fn drawable(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let is_legal = |value: f64| value.is_finite() && value > 0.0;
    points.iter().copied().filter(move |(x, y)| is_legal(*x) && is_legal(*y))
}

/// A logarithmic axis.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    /// Logarithms of its ends.
    from: f64,
    to: f64,
    length: f64,
}

impl Axis {
    /// From the step below the smallest value to the step above the largest.
    fn new(values: impl Iterator<Item = f64>, length: f64) -> Self {
        let (least, most) =
            values.fold((f64::INFINITY, 0.0_f64), |(a, b), value| (a.min(value), b.max(value)));
        if most <= 0.0 {
            return Self { from: 0.0, to: 1.0, length };
        }
        let below = steps().filter(|step| *step <= least * 1.000_001).last().unwrap_or(least);
        let above = steps().find(|step| *step >= most * 0.999_999).unwrap_or(most);
        let (from, to) = (below.log10(), above.log10());
        // All values are the same step: it is in the middle.
        let apart = if to - from < 1e-9 { 0.5 } else { 0.0 };
        Self { from: from - apart, to: to + apart, length }
    }

    fn place(&self, value: f64) -> f64 {
        (value.log10() - self.from) / (self.to - self.from) * self.length
    }

    /// At most about ten: each 1, 2 and 5, or only powers of ten.
    fn ticks(&self) -> Vec<f64> {
        let inside = |step: &f64| (self.from - 1e-9..=self.to + 1e-9).contains(&step.log10());
        let all: Vec<f64> = steps().filter(inside).collect();
        match all.len() {
            0..=10 => all,
            _ => all.into_iter().filter(|step| (step.log10().rem_euclid(1.0)) < 1e-9).collect(),
        }
    }
}

/// 1, 2, 5, 10 and so on, from a millionth to 10^12.
fn steps() -> impl Iterator<Item = f64> {
    (-6..=12).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)))
}

/// A number as people read it on an axis.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}

fn put(svg: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(svg, "{line}").expect("a string can be written to");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_and_every_name_is_drawn() {
        let lines = vec![
            ("a < b".to_owned(), vec![(1.0, 130.0), (64.0, 900.0)]),
            ("one point".to_owned(), vec![(4.0, 2_000.0), (0.0, 3.0), (4.0, f64::NAN)]),
        ];
        let chart = Chart { title: "T & t".into(), x: "peers".into(), y: "us".into(), lines };
        let svg = svg(&[chart, Chart::default()]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3, "what is not above zero has no place");
        assert!(svg.contains("a &lt; b") && svg.contains("T &amp; t") && svg.contains("2 k"));
        assert_eq!(svg.matches("stroke-width").count(), 1);
    }

    #[test]
    fn an_axis_ends_at_steps() {
        let axis = Axis::new([1.0, 64.0].into_iter(), 100.0);
        assert_eq!(
            axis.ticks().first().zip(axis.ticks().last()).map(|(a, b)| (*a, *b)),
            Some((1.0, 100.0))
        );
        assert!((axis.place(1.0), axis.place(100.0)) == (0.0, 100.0));
        let one = Axis::new([5.0].into_iter(), 100.0);
        assert!((one.place(5.0) - 50.0).abs() < 1e-6);
        let wide = Axis::new([0.01, 1e6].into_iter(), 100.0).ticks();
        assert_eq!(wide.len(), 9, "{wide:?}");
    }
}
