//! The confidence sequence of the primary metric over time, as SVG.

use std::fmt::Write;

use contracts::router::{MetricRole, Report};
use domain::VersionId;
use domain::experiment::Look;
use time::OffsetDateTime;
use time::macros::format_description;

use super::scale::{BOTTOM, HEIGHT, LEFT, RIGHT, Scale, TOP, WIDTH};
use super::{escaped, number};

/// Told apart by people who see few colours, too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const GREY: &str = "#555";
/// Weights of a bandit change so often that not every change can be told from the next, pixels.
const LEAST_GAP: f64 = 3.0;
/// Versions that the legend has room for in words.
const WORDED_ENTRIES: usize = 4;
/// Versions that it has room for at all.
const LEGEND_ENTRIES: usize = 8;

/// Draws it: for each version the difference to the control as a line, its confidence sequence as a band.
pub fn svg(report: &Report) -> String {
    let primary = report.metrics.iter().find(|metric| metric.role == MetricRole::Primary);
    let metric = primary.map_or("", |metric| metric.name.as_str());
    let control = report.arms.iter().find(|arm| arm.control).map(|arm| arm.version);
    let control = control.map(|version| version.to_string()).unwrap_or_default();
    let title = format!("{}: difference to version {control}", short(metric, 64));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\"><title>{title}</title><rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/><text x=\"16\" y=\"22\" font-size=\"15\" font-weight=\"600\" fill=\"#222\">{title}</text>",
        title = escaped(&title)
    );
    match Scale::of(&report.looks, report.started_at) {
        None => {
            let _ = write!(
                svg,
                "<text x=\"16\" y=\"56\" fill=\"{GREY}\">There is nothing to show yet: each version needs two units with a value.</text>"
            );
        }
        Some(scale) => {
            let unit = primary.and_then(|metric| metric.unit.as_deref());
            axes(&mut svg, report, &scale, &axis_title(metric, unit));
            draw(&mut svg, report, &scale);
        }
    }
    svg.push_str("</svg>");
    svg
}

fn axis_title(metric: &str, unit: Option<&str>) -> String {
    let metric = short(metric, 18);
    match unit {
        Some(unit) => format!("difference of {metric} ({unit})"),
        None => format!("difference of {metric}"),
    }
}

fn axes(svg: &mut String, report: &Report, scale: &Scale, title: &str) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let middle = f64::midpoint(TOP, bottom);
    let _ = write!(
        svg,
        "<text x=\"18\" y=\"{middle}\" transform=\"rotate(-90 18 {middle})\" text-anchor=\"middle\" fill=\"{GREY}\">{}</text>",
        escaped(title)
    );
    for tick in scale.ticks() {
        let y = scale.y(tick);
        let colour = if tick == 0.0 { "#222" } else { "#e4e4e4" };
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\"/><text x=\"{}\" y=\"{y:.1}\" dy=\"4\" text-anchor=\"end\" fill=\"{GREY}\">{}</text>",
            LEFT - 8.0,
            number(Some(tick))
        );
    }
    let moments = scale.moments();
    for (place, at) in moments.iter().enumerate() {
        let x = scale.x(*at);
        // The outer labels stay inside the picture.
        let (anchor, label_x) = match place {
            _ if moments.len() == 1 => ("middle", x),
            0 => ("start", LEFT),
            _ if place + 1 == moments.len() => ("end", right),
            _ => ("middle", x),
        };
        let is_outer = place == 0 || place + 1 == moments.len();
        let _ = write!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\" stroke=\"{GREY}\"/><text x=\"{label_x:.1}\" y=\"{}\" text-anchor=\"{anchor}\" fill=\"{GREY}\">{}</text>",
            bottom + 5.0,
            bottom + 20.0,
            label(*at, scale.is_short(), is_outer)
        );
    }
    let units = report.looks.last().map_or(0, |look| look.units);
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"{GREY}\">{units} units at the last look; bands: always-valid intervals</text>",
        f64::midpoint(LEFT, right),
        bottom + 40.0
    );
}

fn draw(svg: &mut String, report: &Report, scale: &Scale) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let _ = write!(
        svg,
        "<clipPath id=\"plot\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\"/></clipPath>",
        right - LEFT,
        bottom - TOP
    );
    let mut last = f64::NEG_INFINITY;
    for epoch in report.epochs.iter().skip(1).filter(|epoch| scale.holds(epoch.from)) {
        let x = scale.x(epoch.from);
        if x - last >= LEAST_GAP {
            last = x;
            let _ = write!(
                svg,
                "<line class=\"weights\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#888\" stroke-dasharray=\"3 3\"/>"
            );
        }
    }
    let mut legend: Vec<(String, String)> = Vec::new();
    let mut leaves = false;
    let treatments = report.arms.iter().filter(|arm| !arm.control).map(|arm| arm.version);
    for (version, colour) in treatments.zip(COLOURS.iter().cycle()) {
        let band = Band::of(&report.looks, version);
        if band.points.is_empty() {
            continue;
        }
        band.draw(svg, scale, colour);
        leaves |= band.mark_leaving(svg, scale, colour);
        let sign = format!("<path d=\"M0 -4h18\" stroke=\"{colour}\" stroke-width=\"3\"/>");
        legend.push((sign, format!("version {version}")));
    }
    if legend.len() > WORDED_ENTRIES {
        let more = legend.len().saturating_sub(LEGEND_ENTRIES);
        legend.truncate(LEGEND_ENTRIES);
        for (_, text) in &mut legend {
            *text = text.replace("version ", "");
        }
        if more > 0 {
            legend.push((String::new(), format!("and {more} more")));
        }
    }
    if last.is_finite() {
        let sign =
            "<path d=\"M9 -11v14\" stroke=\"#555\" stroke-width=\"1.5\" stroke-dasharray=\"3 2\"/>"
                .to_owned();
        legend.push((sign, "weights changed".to_owned()));
    }
    if leaves {
        let sign = format!("<path d=\"M4 1l5 -9l5 9z\" fill=\"{GREY}\"/>");
        legend.push((sign, "beyond the picture".to_owned()));
    }
    let mut x = 16.0;
    for (sign, text) in legend {
        let _ = write!(
            svg,
            "<g transform=\"translate({x:.0} 44)\">{sign}<text x=\"24\" fill=\"#222\">{text}</text></g>"
        );
        x += 38.0 + 7.5 * text.len() as f64;
    }
}

/// One version's differences over time.
struct Band {
    /// When, and the difference with the ends of its interval.
    points: Vec<(OffsetDateTime, f64, f64, f64)>,
}

impl Band {
    fn of(looks: &[Look], version: VersionId) -> Self {
        let of_version = |look: &Look| {
            let arm = look.arms.iter().find(|arm| arm.version == version)?;
            Some((look.at, arm.difference, arm.lower, arm.upper))
        };
        Self { points: looks.iter().filter_map(of_version).collect() }
    }

    fn draw(&self, svg: &mut String, scale: &Scale, colour: &str) {
        let (mut upper, mut lower, mut line) = (String::new(), Vec::new(), String::new());
        for (at, difference, low, high) in &self.points {
            let x = scale.x(*at);
            let _ = write!(upper, "{x:.1},{:.1} ", scale.y(*high));
            lower.push(format!("{x:.1},{:.1}", scale.y(*low)));
            let _ = write!(line, "{x:.1},{:.1} ", scale.y(*difference));
        }
        lower.reverse();
        let _ = write!(
            svg,
            "<g clip-path=\"url(#plot)\"><polygon points=\"{upper}{}\" fill=\"{colour}\" fill-opacity=\"0.16\"/><polyline points=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            lower.join(" ")
        );
        if let Some((at, difference, low, high)) = self.points.last() {
            let (x, y) = (scale.x(*at), scale.y(*difference));
            let (low, high) = (scale.y(*low), scale.y(*high));
            let _ = write!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"
            );
        }
        svg.push_str("</g>");
    }

    /// Marks where the band is beyond the picture, with a line along the edge and an arrow; tells whether it is anywhere.
    fn mark_leaving(&self, svg: &mut String, scale: &Scale, colour: &str) -> bool {
        let mut leaves = false;
        let bottom = HEIGHT - BOTTOM;
        for (edge, arrow) in [(TOP, "l5 9h-10z"), (bottom, "l5 -9h-10z")] {
            let is_beyond = |point: &(OffsetDateTime, f64, f64, f64)| {
                if edge == TOP { point.3 > scale.high } else { point.2 < scale.low }
            };
            for run in self.points.chunk_by(|a, b| is_beyond(a) == is_beyond(b)) {
                let (Some(first), Some(end)) = (run.first(), run.last()) else { continue };
                if !is_beyond(first) {
                    continue;
                }
                leaves = true;
                let (from, until) = (scale.x(first.0), scale.x(end.0));
                let middle = f64::midpoint(from, until);
                let _ = write!(
                    svg,
                    "<g class=\"beyond\"><path d=\"M{from:.1} {edge}H{until:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/><path d=\"M{middle:.1} {edge}{arrow}\" fill=\"{colour}\"/></g>"
                );
            }
        }
        leaves
    }
}

/// A text of so many characters at most.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// A moment at the axis: with the date and the zone where it is the first or the last.
fn label(at: OffsetDateTime, with_seconds: bool, is_outer: bool) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let text = match (with_seconds, is_outer) {
        (true, true) => {
            at.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC"))
        }
        (false, true) => at.format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC")),
        (true, false) => at.format(format_description!("[hour]:[minute]:[second]")),
        (false, false) => at.format(format_description!("[month]-[day] [hour]:[minute]")),
    };
    text.unwrap_or_default()
}
