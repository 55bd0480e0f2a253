//! Files of earlier releases.

use domain::{Outcome, PredictionId, Tally};
use time::OffsetDateTime;

use super::*;
use crate::ports::FeedbackStore as _;

#[tokio::test]
async fn feedback_of_an_earlier_release_is_there_and_known_by_its_prediction() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documents.db");
    let (known, unknown) = (PredictionId::new(), PredictionId::new());
    let earlier = Schema { applied: SCHEMA.applied, migrations: &SCHEMA.migrations[..2] };
    let before = Database::open(&path, &earlier, &WAITS).await.unwrap();
    sqlx::query(
        "INSERT INTO predictions (prediction_id, model, at_ns, record) VALUES (?, 'iris', 1, '{}')",
    )
    .bind(known.to_string())
    .execute(&before.write)
    .await
    .unwrap();
    for (id, outcome) in [
        (known, r#"{"label":"setosa"}"#),
        (known, r#"{"value":1.5}"#),
        (unknown, r#"{"value":2.0}"#),
    ] {
        let record = format!(
            r#"{{"prediction_id":"{id}","outcome":{outcome},"source":"till","received_at":"2026-01-01T00:00:00Z"}}"#
        );
        sqlx::query("INSERT INTO feedback VALUES (?, ?, 'till', 1767225600000000000, ?)")
            .bind(id.to_string())
            .bind(outcome)
            .bind(record)
            .execute(&before.write)
            .await
            .unwrap();
    }
    drop(before);

    let store = DocumentsFile::open(&path).await.unwrap();
    let found = store.of_predictions(&[known, unknown]).await.unwrap();
    let outcomes: Vec<_> = found.iter().map(|one| one.outcome.clone()).collect();
    let expected = [Outcome::Label("setosa".to_owned()), Outcome::Value(1.5), Outcome::Value(2.0)];
    assert_eq!(outcomes, expected);
    // The same, sent again, is known.
    let again = store.add_all(&found, &std::collections::HashMap::new()).await.unwrap();
    assert_eq!(again, [false; 3]);
    let pending = store.pending(None, 10).await.unwrap();
    assert_eq!(pending.iter().map(|one| one.prediction_id).collect::<Vec<_>>(), [unknown]);
    let tally = |kind: &str, matched, pending| Tally {
        kind: kind.to_owned(),
        matched,
        pending,
        of_units: 0,
    };
    let tallies = store.tally(None, OffsetDateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(tallies, [tally("label", 1, 0), tally("value", 1, 1)]);
}
