//! The confidence sequence of the primary metric over time, as SVG.

use std::fmt::Write;

use contracts::router::{MetricRole, Report};
use domain::VersionId;
use domain::experiment::Look;
use time::OffsetDateTime;
use time::macros::format_description;

use super::{escaped, number};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 118.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 46.0;
/// Told apart by people who see few colours, too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Draws it: for each version the difference to the control as a line, its confidence sequence as a band.
pub fn svg(report: &Report) -> String {
    let metric = report.metrics.iter().find(|metric| metric.role == MetricRole::Primary);
    let metric = metric.map_or("", |metric| metric.name.as_str());
    let control = report.arms.iter().find(|arm| arm.control).map(|arm| arm.version);
    let control = control.map(|version| version.to_string()).unwrap_or_default();
    let title = format!("{metric}: difference to version {control}");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\"><title>{title}</title><rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/><text x=\"{LEFT}\" y=\"22\" font-size=\"14\" font-weight=\"600\" fill=\"#222\">{title}</text>",
        title = escaped(&title)
    );
    match Scale::of(&report.looks) {
        None => {
            let _ = write!(
                svg,
                "<text x=\"{LEFT}\" y=\"{TOP}\" dy=\"24\" fill=\"#555\">There is nothing to show yet: each version needs two units with a value.</text>"
            );
        }
        Some(scale) => draw(&mut svg, report, &scale),
    }
    svg.push_str("</svg>");
    svg
}

fn draw(svg: &mut String, report: &Report, scale: &Scale) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let _ = write!(
        svg,
        "<clipPath id=\"plot\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\"/></clipPath>",
        right - LEFT,
        bottom - TOP
    );
    for tick in scale.ticks() {
        let y = scale.y(tick);
        let colour = if tick == 0.0 { "#222" } else { "#e4e4e4" };
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\"/><text x=\"{}\" y=\"{y:.1}\" dy=\"4\" text-anchor=\"end\" fill=\"#555\">{}</text>",
            LEFT - 8.0,
            number(Some(tick))
        );
    }
    for (at, anchor) in [(scale.from, "start"), (scale.until, "end")] {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\" fill=\"#555\">{}</text>",
            scale.x(at),
            bottom + 20.0,
            moment(at)
        );
    }
    let units = report.looks.last().map_or(0, |look| look.units);
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{units} units; bands: always-valid intervals</text>",
        f64::midpoint(LEFT, right),
        bottom + 38.0
    );
    let treatments = report.arms.iter().filter(|arm| !arm.control).map(|arm| arm.version);
    let mut labels: Vec<(f64, VersionId, &str)> = Vec::new();
    for (version, colour) in treatments.zip(COLOURS.iter().cycle()) {
        if let Some(end) = band(svg, &report.looks, scale, version, colour) {
            labels.push((end, version, colour));
        }
    }
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut lowest = TOP;
    for (y, version, colour) in labels {
        // Labels do not lie on each other.
        let y = y.clamp(TOP + 4.0, bottom).max(lowest);
        lowest = y + 15.0;
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{y:.1}\" dy=\"4\" fill=\"{colour}\" font-weight=\"600\">version {version}</text>",
            right + 10.0
        );
    }
}

/// One version's band and line; tells where the line ends.
fn band(
    svg: &mut String,
    looks: &[Look],
    scale: &Scale,
    version: VersionId,
    colour: &str,
) -> Option<f64> {
    let (mut upper, mut lower, mut line) = (String::new(), Vec::new(), String::new());
    let mut last = None;
    for look in looks {
        let Some(arm) = look.arms.iter().find(|arm| arm.version == version) else { continue };
        let x = scale.x(look.at);
        let _ = write!(upper, "{x:.1},{:.1} ", scale.y(arm.upper));
        lower.push(format!("{x:.1},{:.1}", scale.y(arm.lower)));
        let _ = write!(line, "{x:.1},{:.1} ", scale.y(arm.difference));
        last = Some((x, scale.y(arm.difference), scale.y(arm.lower), scale.y(arm.upper)));
    }
    let (x, y, low, high) = last?;
    lower.reverse();
    let _ = write!(
        svg,
        "<g clip-path=\"url(#plot)\"><polygon points=\"{upper}{}\" fill=\"{colour}\" fill-opacity=\"0.16\"/><polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/></g>",
        lower.join(" ")
    );
    Some(y)
}

/// Where moments and differences are in the picture.
struct Scale {
    from: OffsetDateTime,
    until: OffsetDateTime,
    low: f64,
    high: f64,
}

impl Scale {
    fn of(looks: &[Look]) -> Option<Self> {
        let (from, until) = (looks.first()?.at, looks.last()?.at);
        // The first intervals are so wide that nothing could be seen beside them: they may leave the picture.
        let told = looks.iter().skip(looks.len() / 4).flat_map(|look| &look.arms);
        let (mut low, mut high) = (0.0f64, 0.0f64);
        for arm in told {
            low = low.min(arm.lower);
            high = high.max(arm.upper);
        }
        let room = (high - low) * 0.06;
        (room > 0.0 && room.is_finite()).then_some(Self {
            from,
            until,
            low: low - room,
            high: high + room,
        })
    }

    fn x(&self, at: OffsetDateTime) -> f64 {
        let whole = (self.until - self.from).as_seconds_f64();
        let part = if whole > 0.0 { (at - self.from).as_seconds_f64() / whole } else { 1.0 };
        LEFT + part * (WIDTH - RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        let part = (self.high - value) / (self.high - self.low);
        // Far outside is as good as infinitely far.
        (TOP + part * (HEIGHT - BOTTOM - TOP)).clamp(-10_000.0, 10_000.0)
    }

    /// About five round numbers, zero among them.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let size = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
        let step = steps.iter().map(|step| step * size).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.low / step).ceil();
        let ticks = (0..12).map(|count| (first + f64::from(count)) * step);
        ticks.take_while(|tick| *tick <= self.high).map(|tick| tick + 0.0).collect()
    }
}

fn moment(at: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    at.to_offset(time::UtcOffset::UTC).format(form).unwrap_or_default()
}
