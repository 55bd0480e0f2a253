//! Rules that come with requests, each made ready once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use contracts::ApiError;
use domain::policy::Rules;
use models::rules::Compiled;

/// Rules kept at most; then all are made ready anew.
const MOST: usize = 256;

/// The rules made ready.
#[derive(Default)]
pub(crate) struct Ruled(Mutex<HashMap<Arc<Rules>, Arc<Compiled>>>);

impl Ruled {
    /// These rules, made ready.
    ///
    /// # Errors
    /// `internal` if they cannot be: the router lets none such in.
    pub(crate) fn get(&self, rules: &Arc<Rules>) -> Result<Arc<Compiled>, ApiError> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(rules) {
            return Ok(Arc::clone(known));
        }
        let compiled = Compiled::new(rules).map_err(|faults| {
            tracing::error!(?faults, "a policy's rules cannot be used");
            ApiError::internal()
        })?;
        let compiled = Arc::new(compiled);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(Arc::clone(rules), Arc::clone(&compiled));
        Ok(compiled)
    }
}
