//! The indexes, declared under `migrations/mongo`: lists of `createIndexes` commands.
//!
//! The server makes what is missing and passes over what is there, so each start runs them all, and
//! several may start at once.

use std::time::{Duration, Instant};

use mongodb::bson::Document;

use super::{DocumentsDatabase, WAITS, failures};
use crate::StoreError;

/// Forward only: a later file adds to the earlier ones.
const MIGRATIONS: [(&str, &str); 4] = [
    (
        "0001_predictions_feedback",
        include_str!("../../../../migrations/mongo/0001_predictions_feedback.json"),
    ),
    ("0002_exposures", include_str!("../../../../migrations/mongo/0002_exposures.json")),
    (
        "0003_feedback_subjects",
        include_str!("../../../../migrations/mongo/0003_feedback_subjects.json"),
    ),
    ("0004_shadows", include_str!("../../../../migrations/mongo/0004_shadows.json")),
];

/// Codes of the server that say another one made the same collection or index at that moment: exists
/// (48), write conflict (112), conflicting operation in progress (117), build aborted (276).
const MEANWHILE: [i32; 4] = [48, 112, 117, 276];

/// Codes of the server that say there is another index under the name or over the keys (67, 85, 86),
/// or there are documents that break the new rule (11000).
const DIFFERENT: [i32; 4] = [67, 85, 86, 11000];

const ACTION: &str = "bring its indexes up to date";

/// Makes the indexes that are missing, once, whoever comes first.
pub(super) async fn bring_up_to_date(store: &DocumentsDatabase) -> Result<(), StoreError> {
    for (name, text) in MIGRATIONS {
        let commands: Vec<Document> = serde_json::from_str(text).map_err(|cause| {
            StoreError::Corrupt { what: "migration", id: name.to_owned(), source: cause.into() }
        })?;
        for command in commands {
            run(store, &command).await?;
        }
    }
    Ok(())
}

async fn run(store: &DocumentsDatabase, command: &Document) -> Result<(), StoreError> {
    let last_try = Instant::now() + WAITS.answer;
    loop {
        let work = store.database.run_command(command.clone());
        let cause = match tokio::time::timeout(WAITS.build, async { work.await }).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(cause)) => cause,
            Err(cause) => return Err(failures::late(&store.shown, ACTION, cause)),
        };
        let code = failures::code(&cause);
        let passing =
            failures::is_gone(&cause) || code.is_some_and(|code| MEANWHILE.contains(&code));
        if !passing || Instant::now() >= last_try {
            let failure = failures::failure(&store.shown, ACTION, &cause);
            return Err(match failure {
                StoreError::Failed { store, source, .. }
                    if code.is_some_and(|code| DIFFERENT.contains(&code)) =>
                {
                    StoreError::Migrate { store, source }
                }
                other => other,
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_is_a_list_of_commands_whose_keys_keep_their_order() {
        let commands = MIGRATIONS.map(|(_, text)| serde_json::from_str::<Vec<Document>>(text));
        let commands: Vec<_> = commands.into_iter().flat_map(Result::unwrap).collect();
        assert!(commands.iter().all(|command| command.keys().next().unwrap() == "createIndexes"));
        let text = commands[0].get_array("indexes").unwrap()[0].to_string();
        let place = |key| text.find(key).unwrap();
        assert!(place("model") < place("at_ns") && place("at_ns") < place("\"_id\""), "{text}");
    }
}
