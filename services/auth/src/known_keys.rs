//! What is remembered of API keys: their last form, for when the store is away, and their last use,
//! which is written now and then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::ApiKey;
use time::OffsetDateTime;

/// The keys that were used since the start.
#[derive(Default)]
pub(crate) struct KnownKeys(Mutex<HashMap<String, Known>>);

struct Known {
    key: ApiKey,
    used_at: OffsetDateTime,
    /// Whether the store knows of that use.
    written: bool,
}

impl KnownKeys {
    pub(crate) fn get(&self, id: &str) -> Option<ApiKey> {
        self.lock().get(id).map(|known| known.key.clone())
    }

    pub(crate) fn keep(&self, key: ApiKey, used_at: OffsetDateTime) {
        self.lock().insert(key.id.clone(), Known { key, used_at, written: false });
    }

    pub(crate) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    /// The key with the last use that is known of.
    pub(crate) fn with_last_use(&self, key: ApiKey) -> ApiKey {
        let used_at = self.lock().get(&key.id).map(|known| known.used_at);
        ApiKey { last_used_at: used_at.max(key.last_used_at), ..key }
    }

    /// The uses that the store does not know of.
    pub(crate) fn unwritten(&self) -> Vec<(String, OffsetDateTime)> {
        let known = self.lock();
        let unwritten = known.iter().filter(|(_, known)| !known.written);
        unwritten.map(|(id, known)| (id.clone(), known.used_at)).collect()
    }

    /// The store knows of this use.
    pub(crate) fn written(&self, id: &str, used_at: OffsetDateTime) {
        if let Some(known) = self.lock().get_mut(id)
            && known.used_at == used_at
        {
            known.written = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
