//! Answers as tables for people.

use serde_json::Value;
use time::OffsetDateTime;

/// A moment to the second, in UTC.
pub(super) fn moment(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02}Z", at.date(), at.hour(), at.minute(), at.second())
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
    let mut lines: Vec<Vec<String>> = vec![names.iter().map(|name| (*name).to_owned()).collect()];
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
        // What others wrote must not steer the terminal.
        Some(Value::String(text)) => text.chars().filter(|c| !c.is_control()).collect(),
        Some(Value::Array(values)) if values.is_empty() => "-".to_owned(),
        Some(Value::Object(members)) if members.is_empty() => "all".to_owned(),
        Some(other) => other.to_string(),
    }
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
    }

    #[test]
    fn moments_are_told_to_the_second() {
        assert_eq!(moment(OffsetDateTime::UNIX_EPOCH), "1970-01-01 00:00:00Z");
    }
}
