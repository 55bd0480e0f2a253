//! `text/csv` with a header of members: an item a row. An empty cell is a member left out.

use contracts::feedback::NewFeedback;
use contracts::{ApiError, Faults};

use super::item::{MEMBERS, set_text, step, unknown};
use super::{Item, counted};

pub(super) fn read(body: &[u8], max_items: usize) -> Result<Vec<Item>, ApiError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::Headers).flexible(true).from_reader(body);
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return Err(ApiError::at("#/header", format!("cannot be read: {error}"))),
    };
    let mut faults = Faults::default();
    for (index, name) in headers.iter().enumerate() {
        if !MEMBERS.contains(&name) {
            faults.add(step("#/header", name), unknown());
        } else if headers.iter().take(index).any(|earlier| earlier == name) {
            faults.add(step("#/header", name), "is given twice");
        }
    }
    faults.check()?;
    let mut items = Vec::new();
    let mut records = reader.records().enumerate();
    while let Some((n, record)) = records.next() {
        if n >= max_items {
            // To the end, so that the refusal tells how many there are.
            return counted(n + 1 + records.count(), max_items, "#").map(|()| items);
        }
        let pointer = format!("#/{n}");
        let read = match record {
            Ok(record) if record.len() == headers.len() => row(&pointer, &headers, &record),
            Ok(record) => {
                let detail = format!("has {} cells, not {}", record.len(), headers.len());
                Err(ApiError::at(pointer.as_str(), detail))
            }
            Err(error) => Err(ApiError::at(pointer.as_str(), format!("cannot be read: {error}"))),
        };
        items.push(Item { pointer, read });
    }
    counted(items.len(), max_items, "#")?;
    Ok(items)
}

fn row(
    pointer: &str,
    headers: &csv::StringRecord,
    record: &csv::StringRecord,
) -> Result<NewFeedback, ApiError> {
    let mut read = NewFeedback::default();
    let mut faults = Faults::default();
    for (name, cell) in headers.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        if let Err(detail) = set_text(&mut read, name, cell) {
            faults.add(step(pointer, name), detail);
        }
    }
    faults.check().map(|()| read)
}
