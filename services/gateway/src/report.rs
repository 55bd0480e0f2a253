//! An experiment's report for people: a page and a picture, made here, without scripts.

mod chart;
mod page;
mod scale;

pub use chart::svg;
pub use page::html;

use time::OffsetDateTime;
use time::macros::format_description;

/// Text as it may stand in markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// A sentence as markup: what stands in backticks as code, and a minus as it stands in tables.
fn prose(text: &str) -> String {
    let mut parts: Vec<&str> = text.split('`').collect();
    // A backtick without a partner stands for itself.
    let lone = if parts.len().is_multiple_of(2) { parts.pop() } else { None };
    let mut markup = String::new();
    for (place, part) in parts.iter().enumerate() {
        if place % 2 == 1 {
            markup.extend(["<code>", &escaped(part), "</code>"]);
        } else {
            markup.push_str(&escaped(&with_minus(part)));
        }
    }
    if let Some(lone) = lone {
        markup.extend(["`", &escaped(&with_minus(lone))]);
    }
    markup
}

/// Hyphens that stand for a minus, which are those before a digit and after no word, as a minus.
fn with_minus(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        let digit_follows = letters.peek().is_some_and(char::is_ascii_digit);
        let is_minus = c == '-' && digit_follows && !before.is_alphanumeric();
        told.push(if is_minus { '−' } else { c });
        before = c;
    }
    told
}

/// A moment to the second.
fn moment(at: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    at.to_offset(time::UtcOffset::UTC).format(form).unwrap_or_default()
}

/// A number with four digits that count; a dash for none.
fn number(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return "–".to_owned() };
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs().log10().floor();
    if !(-5.0..9.0).contains(&size) {
        return format!("{value:.3e}").replace('-', "−");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
    let digits = (3.0 - size).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text.as_str(),
    };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests;
