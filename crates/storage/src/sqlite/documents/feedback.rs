//! Ground truth.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::{Feedback, ModelName, Pending, PredictionId, Subject, Tally};
use sqlx::{QueryBuilder, Sqlite, SqliteTransaction};
use time::OffsetDateTime;

use super::{DocumentsFile, IDS_PER_QUERY, among};
use crate::columns::{self, StoredFeedback, by_model, moment, nanoseconds};
use crate::ports::FeedbackStore;
use crate::{StoreError, json};

/// Rows per statement; seven variables each, of the 32,766 that SQLite takes.
const ROWS_PER_INSERT: usize = 500;

/// A row and its place in what was given.
struct Row<'a> {
    place: usize,
    /// The model, if the subject is a unit of it.
    scope: &'a str,
    /// The prediction's id, or the unit.
    subject: &'a str,
    model: Option<&'a str>,
    stored: &'a StoredFeedback<'a>,
}

#[async_trait]
impl FeedbackStore for DocumentsFile {
    async fn add_all(
        &self,
        feedback: &[Feedback],
        known: &HashMap<PredictionId, ModelName>,
    ) -> Result<Vec<bool>, StoreError> {
        let stored = feedback.iter().map(StoredFeedback::of).collect::<Result<Vec<_>, _>>()?;
        let (mut of_predictions, mut of_units) = (Vec::new(), Vec::new());
        for (place, (one, stored)) in feedback.iter().zip(&stored).enumerate() {
            match &one.subject {
                Subject::Prediction { prediction_id } => {
                    let model = known.get(prediction_id).map(ModelName::as_str);
                    let subject = stored.id.as_str();
                    of_predictions.push(Row { place, scope: "", subject, model, stored });
                }
                Subject::Unit { model, unit } => {
                    let (scope, model) = (model.as_str(), Some(model.as_str()));
                    of_units.push(Row { place, scope, subject: unit, model, stored });
                }
            }
        }
        let action = "add feedback";
        let mut new = vec![false; feedback.len()];
        let mut change = self.0.change(action).await?;
        for (table, rows) in [(&OF_PREDICTIONS, of_predictions), (&OF_UNITS, of_units)] {
            for chunk in rows.chunks(ROWS_PER_INSERT) {
                let added = insert(&mut change, table, chunk).await;
                for place in added.map_err(self.0.during(action))? {
                    if let Some(new) = new.get_mut(place) {
                        *new = true;
                    }
                }
            }
        }
        change.commit().await.map_err(self.0.during(action))?;
        Ok(new)
    }

    async fn of_prediction(&self, id: PredictionId) -> Result<Vec<Feedback>, StoreError> {
        let id = id.to_string();
        let records: Vec<String> = sqlx::query_scalar(
            "SELECT record FROM feedback WHERE prediction_id = ? ORDER BY received_at_ns, rowid",
        )
        .bind(&id)
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("read feedback"))?;
        records.iter().map(|record| json::read("feedback", &id, record)).collect()
    }

    async fn of_predictions(&self, ids: &[PredictionId]) -> Result<Vec<Feedback>, StoreError> {
        let mut found = Vec::new();
        for chunk in ids.chunks(IDS_PER_QUERY) {
            let mut query = QueryBuilder::new(
                "SELECT prediction_id, record FROM feedback WHERE prediction_id IN ",
            );
            among(&mut query, chunk.iter().map(ToString::to_string));
            query.push(" ORDER BY received_at_ns, rowid");
            found.extend(self.feedback_of(query).await?);
        }
        // Each chunk is in order, and so is what they make together.
        found.sort_by_key(|one| one.received_at);
        Ok(found)
    }

    async fn of_units(
        &self,
        model: &ModelName,
        units: &[String],
        since: OffsetDateTime,
    ) -> Result<Vec<Feedback>, StoreError> {
        let mut found = Vec::new();
        for chunk in units.chunks(IDS_PER_QUERY) {
            let mut query =
                QueryBuilder::new("SELECT unit, record FROM unit_feedback WHERE model = ");
            query.push_bind(model.as_str().to_owned()).push(" AND unit IN ");
            among(&mut query, chunk.iter().cloned());
            query.push(" AND received_at_ns >= ").push_bind(nanoseconds(since));
            query.push(" ORDER BY received_at_ns, rowid");
            found.extend(self.feedback_of(query).await?);
        }
        found.sort_by_key(|one| one.received_at);
        Ok(found)
    }

    async fn pending(
        &self,
        after: Option<PredictionId>,
        limit: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT prediction_id, count(*), min(received_at_ns) FROM feedback \
             WHERE model IS NULL AND prediction_id > ? \
             GROUP BY prediction_id ORDER BY prediction_id LIMIT ?",
        )
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(limit)
        .fetch_all(&self.0.read)
        .await
        .map_err(self.0.during("read pending feedback"))?;
        let pending = |(id, outcomes, since): (String, i64, i64)| {
            let prediction_id = columns::prediction_id(&id)?;
            Ok(Pending { prediction_id, outcomes: outcomes.unsigned_abs(), since: moment(since) })
        };
        rows.into_iter().map(pending).collect()
    }

    async fn settle(&self, known: &HashMap<PredictionId, ModelName>) -> Result<(), StoreError> {
        if known.is_empty() {
            return Ok(());
        }
        let action = "settle pending feedback";
        let mut change = self.0.change(action).await?;
        for (model, ids) in by_model(known) {
            for chunk in ids.chunks(IDS_PER_QUERY) {
                let mut query = QueryBuilder::new("UPDATE feedback SET model = ");
                query.push_bind(model.as_str());
                query.push(" WHERE model IS NULL AND prediction_id IN ");
                among(&mut query, chunk.iter().cloned());
                query.build().execute(&mut *change).await.map_err(self.0.during(action))?;
            }
        }
        change.commit().await.map_err(self.0.during(action))
    }

    async fn tally(
        &self,
        model: Option<&ModelName>,
        since: OffsetDateTime,
    ) -> Result<Vec<Tally>, StoreError> {
        let mut counted: Vec<columns::Counted> = Vec::new();
        for counts in [
            "SELECT kind, count(model), count(*) - count(model), 0 FROM feedback",
            "SELECT kind, 0, 0, count(*) FROM unit_feedback",
        ] {
            let mut query = QueryBuilder::new(counts);
            query.push(" WHERE received_at_ns >= ").push_bind(nanoseconds(since));
            if let Some(model) = model {
                query.push(" AND model = ").push_bind(model.as_str());
            }
            query.push(" GROUP BY kind");
            let rows = query.build_query_as().fetch_all(&self.0.read).await;
            counted.extend(rows.map_err(self.0.during("count feedback"))?);
        }
        Ok(columns::tallies(counted))
    }
}

impl DocumentsFile {
    /// The feedback of rows (subject, record).
    async fn feedback_of(
        &self,
        mut query: QueryBuilder<Sqlite>,
    ) -> Result<Vec<Feedback>, StoreError> {
        let action = "read feedback";
        let rows = query.build_query_as().fetch_all(&self.0.read).await;
        self.read_all("feedback", action, rows.map_err(self.0.during(action))?).await
    }
}

/// Where feedback of a kind of subject is kept.
struct Table {
    insert: &'static str,
    /// What follows the rows: it tells which of them were new.
    returning: &'static str,
}

const OF_PREDICTIONS: Table = Table {
    insert: "INSERT OR IGNORE INTO feedback \
             (prediction_id, outcome, source, received_at_ns, kind, model, record) ",
    returning: " RETURNING '', prediction_id, outcome, source",
};

const OF_UNITS: Table = Table {
    insert: "INSERT OR IGNORE INTO unit_feedback \
             (unit, outcome, source, received_at_ns, kind, model, record) ",
    returning: " RETURNING model, unit, outcome, source",
};

/// Adds rows, and tells the places of those that were new.
async fn insert(
    change: &mut SqliteTransaction<'static>,
    table: &Table,
    rows: &[Row<'_>],
) -> Result<Vec<usize>, sqlx::Error> {
    // Of the same twice in one chunk the first is the new one.
    let mut places = HashMap::new();
    for row in rows.iter().rev() {
        let outcome = row.stored.outcome.as_str();
        places.insert((row.scope, row.subject, outcome, row.stored.source), row.place);
    }
    let mut query = QueryBuilder::new(table.insert);
    query.push_values(rows, |mut values, row| {
        values
            .push_bind(row.subject)
            .push_bind(row.stored.outcome.as_str())
            .push_bind(row.stored.source)
            .push_bind(row.stored.received_at_ns)
            .push_bind(row.stored.kind)
            .push_bind(row.model)
            .push_bind(row.stored.record.as_str());
    });
    query.push(table.returning);
    let added: Vec<(String, String, String, String)> =
        query.build_query_as().fetch_all(&mut **change).await?;
    let place = |(scope, subject, outcome, source): &(String, String, String, String)| {
        places.get(&(scope.as_str(), subject.as_str(), outcome.as_str(), source.as_str())).copied()
    };
    Ok(added.iter().filter_map(place).collect())
}
