//! An experiment's report for people: a page and a picture, made here, without scripts.

mod chart;
mod page;
mod scale;

use contracts::router::short_number;

pub use chart::svg;
pub use page::html;

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

/// A number with four digits that count; a dash for none.
fn number(value: Option<f64>) -> String {
    let value = value.filter(|value| value.is_finite());
    value.map_or_else(|| "–".to_owned(), |value| short_number(value).replace('-', "−"))
}

#[cfg(test)]
mod tests;
