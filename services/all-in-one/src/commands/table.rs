//! Answers as tables for people.

use serde_json::Value;
use time::OffsetDateTime;

/// Characters of a cell at most.
const LONGEST: usize = 100;

/// A moment to the second, in UTC.
pub(super) fn moment(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02}Z", at.date(), at.hour(), at.minute(), at.second())
}

/// A share as a percentage, with two decimals at most.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    match text.as_str() {
        // Little is not nothing, and nearly all is not all.
        "0.00" if share > 0.0 => "< 0.01 %".to_owned(),
        "-0.00" => "0 %".to_owned(),
        "100.00" if share < 1.0 => "> 99.99 %".to_owned(),
        text => format!("{} %", text.trim_end_matches('0').trim_end_matches('.')),
    }
}

/// Rows as a table: a column for each member that any row has, those named `first` in that order
/// before the others.
pub(super) fn of(first: &[&str], rows: &[Value]) -> String {
    let there = |name: &&str| rows.iter().any(|row| row.get(name).is_some());
    let mut names: Vec<&str> = first.iter().copied().filter(there).collect();
    for row in rows.iter().filter_map(Value::as_object) {
        for name in row.keys() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut lines: Vec<Vec<String>> =
        vec![names.iter().map(|name| short(&name.replace('_', " "))).collect()];
    for row in rows {
        lines.push(names.iter().map(|name| cell(row.get(name))).collect());
    }
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => short(text),
        Some(Value::Array(values)) if values.is_empty() => "-".to_owned(),
        Some(Value::Object(members)) if members.is_empty() => "all".to_owned(),
        Some(other) => short(&other.to_string()),
    }
}

/// A text on one line, cut where it would make the table unreadable: `--json` has all of it.
fn short(text: &str) -> String {
    let mut shown = plain(text);
    if let Some((cut, _)) = shown.char_indices().nth(LONGEST - 1)
        && shown.char_indices().nth(LONGEST).is_some()
    {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

/// A text on one line. What others wrote must not steer the terminal.
pub(super) fn plain(text: &str) -> String {
    let text = text.replace("\r\n", " ");
    let is_space = |c: char| matches!(c, '\n' | '\r' | '\t');
    let shown = text.chars().map(|c| if is_space(c) { ' ' } else { c });
    shown.filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [json!({"id": "a", "n": 12}), json!({"id": "long\u{1b}", "x": null})];
        assert_eq!(of(&[], &rows), "id    n   x\na     12  -\nlong  -   -");
        assert_eq!(of(&["x", "y", "id"], &rows), "x  id    n\n-  a     12\n-  long  -");
        assert_eq!(of(&["id"], &[]), "none");
        assert_eq!(of(&[], &[json!({"made_by": "a_b"})]), "made by\na_b");
    }

    #[test]
    fn long_cells_are_cut_and_lines_become_one() {
        let told = of(&[], &[json!({"a": "x".repeat(70_000), "b": "one\r\ntwo\n\tthree\u{7}"})]);
        let [_, row] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
        assert_eq!(row, format!("{}…  one two  three", "x".repeat(99)));
        let whole = "é".repeat(100);
        assert_eq!(short(&whole), whole);
        let list = json!(vec!["version"; 30]);
        assert_eq!(cell(Some(&list)).chars().count(), 100);
        assert_eq!(short(&"n".repeat(101)).chars().count(), 100);
    }

    #[test]
    fn percentages_have_two_decimals_at_most() {
        let told = [0.0, 0.000_001, 0.1, 1.0 / 3.0, 0.999_999, 1.0].map(percent);
        assert_eq!(told, ["0 %", "< 0.01 %", "10 %", "33.33 %", "> 99.99 %", "100 %"]);
    }

    #[test]
    fn moments_are_told_to_the_second() {
        assert_eq!(moment(OffsetDateTime::UNIX_EPOCH), "1970-01-01 00:00:00Z");
    }
}
