//! Counters and gauges as Prometheus reads them (text exposition format 0.0.4).

use std::fmt::Write as _;

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics under construction.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// An empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds all counters of a role, as listed by `PeerStats::list` or `SeedStats::list`:
    /// `{prefix}_{name}_total`.
    pub fn counters(&mut self, prefix: &str, list: &[(&'static str, &'static str, u64)]) {
        for (name, help, value) in list {
            self.counter(&format!("{prefix}_{name}_total"), help, *value);
        }
    }

    /// Adds a counter. By convention `name` ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, help, "counter");
        self.sample(name, &[], value as f64);
    }

    /// Adds a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, help, "gauge");
        self.sample(name, &[], value);
    }

    /// Begins a metric with labels: `sample`s of it follow. `kind` is `counter` or `gauge`.
    pub fn family(&mut self, name: &str, help: &str, kind: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', " ");
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds one value of a metric.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (i, (label, content)) in labels.iter().enumerate() {
            let content = content.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{content}\"");
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// The page.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Exposition::new();
        page.counters("tidings_x", &[("sent", "Frames sent.", 7)]);
        page.gauge("up", "Is\nup", 0.5);
        page.family("shed", "Shed", "gauge");
        page.sample("shed", &[("class", "a\"b\\"), ("k", "v")], 3.0);
        let expected = "# HELP tidings_x_sent_total Frames sent.\n\
                        # TYPE tidings_x_sent_total counter\ntidings_x_sent_total 7\n\
                        # HELP up Is up\n# TYPE up gauge\nup 0.5\n\
                        # HELP shed Shed\n# TYPE shed gauge\n\
                        shed{class=\"a\\\"b\\\\\",k=\"v\"} 3\n";
        assert_eq!(page.into_text(), expected);
    }
}
