//! A run as a picture: how long messages took over time, and the overlay at the end.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::fmt::Write as _;

/// Pixels of the whole picture.
const WIDTH: f64 = 1_100.0;
const HEIGHT: f64 = 1_180.0;
/// Where the chart is: left, top, width, height.
const CHART: [f64; 4] = [70.0, 50.0, 1_000.0, 300.0];
/// The circle of peers: centre and radius.
const CIRCLE: [f64; 3] = [550.0, 790.0, 360.0];
/// More links than this would be a black disc; every so-and-so-many is drawn instead.
const EDGES_MAX: usize = 20_000;
/// And more messages a black bar.
const POINTS_MAX: usize = 20_000;
/// Colours of the parts that an overlay is in, the largest first.
const COLOURS: [&str; 5] = ["#2b6cb0", "#c05621", "#6b46c1", "#2f855a", "#b83280"];

/// What is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plot {
    /// Above the picture.
    pub title: String,
    /// Seconds, and milliseconds to the last receiver: one a message.
    pub latency: Vec<(f64, f64)>,
    /// Seconds from the beginning to the end of each fault; the end is the same for what stays.
    pub faults: Vec<(f64, f64)>,
    /// Seconds that the run took.
    pub end_s: f64,
    /// How many live peers there are.
    pub peers: usize,
    /// Links between them, by their numbers below `peers`.
    pub edges: Vec<(usize, usize)>,
}

impl Plot {
    /// The picture as SVG.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"white\"/>\n<text x=\"70\" y=\"26\" font-size=\"17\">{}</text>\n",
            escape(&self.title)
        );
        self.chart(&mut svg);
        self.overlay(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn chart(&self, svg: &mut String) {
        let [left, top, width, height] = CHART;
        let end = self.end_s.max(1e-3);
        let most = self.latency.iter().map(|(_, ms)| *ms).fold(1.0, f64::max);
        let x = |s: f64| left + (s / end).clamp(0.0, 1.0) * width;
        let y = |ms: f64| top + height - ms / most * height;
        for &(from, to) in &self.faults {
            let wide = (x(to) - x(from)).max(1.0);
            put(
                svg,
                &format!(
                    "<rect x=\"{:.1}\" y=\"{top}\" width=\"{wide:.1}\" height=\"{height}\" \
                     fill=\"#e53e3e\" opacity=\"0.08\"/>",
                    x(from)
                ),
            );
        }
        for step in 0..=4 {
            let part = f64::from(step) / 4.0;
            let (ms, s) = (most * part, end * part);
            put(
                svg,
                &format!(
                    "<path d=\"M{left} {0:.1}h{width}\" stroke=\"#ddd\"/><text x=\"{1}\" \
                     y=\"{2:.1}\" text-anchor=\"end\">{ms:.0} ms</text><text x=\"{3:.1}\" \
                     y=\"{4}\" text-anchor=\"middle\">{s:.0} s</text>",
                    y(ms),
                    left - 6.0,
                    y(ms) + 4.0,
                    x(s),
                    top + height + 18.0
                ),
            );
        }
        let every = self.latency.len().div_ceil(POINTS_MAX).max(1);
        svg.push_str("<g fill=\"#2b6cb0\" opacity=\"0.7\">\n");
        for &(s, ms) in self.latency.iter().step_by(every) {
            put(svg, &format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"1.8\"/>", x(s), y(ms)));
        }
        svg.push_str("</g>\n");
        let text = "time to the last receiver of each message; faults in red";
        put(svg, &format!("<text x=\"{left}\" y=\"{}\">{text}</text>", top + height + 38.0));
    }

    fn overlay(&self, svg: &mut String) {
        let [centre_x, centre_y, radius] = CIRCLE;
        let (places, parts) = self.places();
        let at = |peer: usize| {
            let angle = places[peer] as f64 / self.peers as f64 * TAU;
            (centre_x + radius * angle.sin(), centre_y - radius * angle.cos())
        };
        let every = self.edges.len().div_ceil(EDGES_MAX).max(1);
        svg.push_str("<g stroke=\"#718096\" stroke-width=\"0.5\" opacity=\"0.25\">\n");
        for &(a, b) in self.edges.iter().step_by(every) {
            let ((ax, ay), (bx, by)) = (at(a), at(b));
            put(svg, &format!("<path d=\"M{ax:.1} {ay:.1}L{bx:.1} {by:.1}\"/>"));
        }
        svg.push_str("</g>\n");
        let dot = (600.0 / self.peers.max(1) as f64).clamp(0.8, 5.0);
        for (peer, part) in parts.iter().enumerate() {
            let (x, y) = at(peer);
            let colour = COLOURS[*part % COLOURS.len()];
            put(
                svg,
                &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{dot:.1}\" fill=\"{colour}\"/>"),
            );
        }
        let found = parts.iter().max().map_or(0, |last| last + 1);
        let text = format!(
            "overlay at the end: {} peers, {} links seen from both ends, {found} part(s)",
            self.peers,
            self.edges.len()
        );
        put(svg, &format!("<text x=\"70\" y=\"{}\">{text}</text>", HEIGHT - 12.0));
    }

    /// Each peer's place on the circle, in order of a breadth-first walk so that neighbours are
    /// near each other, and the number of its part.
    fn places(&self) -> (Vec<usize>, Vec<usize>) {
        let mut near = vec![Vec::new(); self.peers];
        for &(a, b) in &self.edges {
            near[a].push(b);
            near[b].push(a);
        }
        let (mut places, mut parts) = (vec![usize::MAX; self.peers], vec![0; self.peers]);
        let (mut next, mut part) = (0, 0);
        for first in 0..self.peers {
            let mut queue = VecDeque::from([first]);
            let before = next;
            while let Some(peer) = queue.pop_front() {
                if places[peer] != usize::MAX {
                    continue;
                }
                (places[peer], parts[peer]) = (next, part);
                next += 1;
                queue.extend(near[peer].iter().filter(|&&other| places[other] == usize::MAX));
            }
            part += usize::from(next > before);
        }
        (places, parts)
    }
}

fn put(svg: &mut String, line: &str) {
    writeln!(svg, "{line}").expect("a string can be written to");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_colours_and_every_message_a_point() {
        let plot = Plot {
            title: "a < b".into(),
            latency: vec![(1.0, 90.0), (2.0, 120.0)],
            faults: vec![(1.0, 1.5)],
            end_s: 3.0,
            peers: 4,
            edges: vec![(0, 2), (2, 3)],
        };
        let (places, parts) = plot.places();
        assert_eq!((places, parts), (vec![0, 3, 1, 2], vec![0, 1, 0, 0]));
        let svg = plot.svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2 + 4);
        assert!(svg.contains("a &lt; b") && svg.contains("2 part(s)") && svg.contains(COLOURS[1]));
        assert!(Plot::default().svg().contains("0 peers"));
    }
}
