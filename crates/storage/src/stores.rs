//! Opens stores: the URL's scheme chooses the adapter.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::StoreError;
use crate::folder::Folder;
use crate::ports::{Accounts, Artifacts, FeedbackStore, PredictionLog, Registry, Routes};
use crate::sqlite::{DocumentsFile, RelationalFile};

/// Accounts, registry and routes.
#[derive(Clone)]
pub struct Relational {
    /// User accounts.
    pub accounts: Arc<dyn Accounts>,
    /// Models and their versions.
    pub registry: Arc<dyn Registry>,
    /// Routes with their history.
    pub routes: Arc<dyn Routes>,
    check: Arc<dyn Check>,
}

impl Relational {
    /// Asks the store for a sign of life, for readiness. Answers within two seconds.
    ///
    /// # Errors
    /// `Unavailable` if none comes.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.check.check().await
    }
}

/// The prediction log and feedback.
#[derive(Clone)]
pub struct Documents {
    /// The log of answered predictions.
    pub predictions: Arc<dyn PredictionLog>,
    /// Ground truth.
    pub feedback: Arc<dyn FeedbackStore>,
    check: Arc<dyn Check>,
}

impl Documents {
    /// Asks the store for a sign of life, for readiness. Answers within two seconds.
    ///
    /// # Errors
    /// `Unavailable` if none comes.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.check.check().await
    }
}

/// A store that can be asked whether it is there.
#[async_trait]
pub(crate) trait Check: Send + Sync {
    async fn check(&self) -> Result<(), StoreError>;
}

/// Opens the store named by the setting `storage.relational`, and brings its tables up to date.
///
/// `sqlite://path` is a file, made with its folder if absent. Several processes may open it at once.
///
/// # Errors
/// `UnsupportedUrl`, `Open`, `Migrate`; `Unavailable` if it stays locked; `Corrupt` if the file is
/// no database.
pub async fn relational(url: &str) -> Result<Relational, StoreError> {
    let path = path_of(url, "sqlite", "storage.relational", "`sqlite://<path of a file>`")?;
    let file = Arc::new(RelationalFile::open(&path).await?);
    Ok(Relational {
        accounts: Arc::clone(&file) as _,
        registry: Arc::clone(&file) as _,
        routes: Arc::clone(&file) as _,
        check: file,
    })
}

/// Opens the store named by the setting `storage.documents`, and brings its tables up to date.
///
/// `sqlite://path` is a file, made with its folder if absent. Several processes may open it at once.
///
/// # Errors
/// As [`relational`].
pub async fn documents(url: &str) -> Result<Documents, StoreError> {
    let path = path_of(url, "sqlite", "storage.documents", "`sqlite://<path of a file>`")?;
    let file = Arc::new(DocumentsFile::open(&path).await?);
    Ok(Documents {
        predictions: Arc::clone(&file) as _,
        feedback: Arc::clone(&file) as _,
        check: file,
    })
}

/// Opens the store named by the setting `storage.artifacts`.
///
/// `file://path` is a folder, made if absent. Several processes may use it at once.
///
/// # Errors
/// `UnsupportedUrl`, `Open`.
pub async fn artifacts(url: &str) -> Result<Arc<dyn Artifacts>, StoreError> {
    let path = path_of(url, "file", "storage.artifacts", "`file://<path of a folder>`")?;
    Ok(Arc::new(Folder::open(&path).await?))
}

/// The path in `<scheme>://<path>`, made absolute.
fn path_of(
    url: &str,
    scheme: &str,
    setting: &'static str,
    must_be: &'static str,
) -> Result<PathBuf, StoreError> {
    let path = url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    // A `?` is far more likely a driver's parameter, which none of these takes, than a file name.
    let path = path.filter(|path| !path.is_empty() && !path.contains(['?', '\0']));
    let Some(path) = path else {
        return Err(StoreError::UnsupportedUrl { setting, url: without_secrets(url), must_be });
    };
    // Absolute, so that no name is special to the driver (`:memory:`, `file:`).
    std::path::absolute(path)
        .map_err(|cause| StoreError::Open { store: url.to_owned(), source: cause.into() })
}

/// The URL with its password, if it has one, struck out.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://***@{place}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_becomes_absolute() {
        let path = path_of("sqlite://./data/a b.db", "sqlite", "s", "m").unwrap();
        assert!(path.is_absolute() && path.ends_with("data/a b.db"), "{path:?}");
        let path = path_of("sqlite://:memory:", "sqlite", "s", "m").unwrap();
        assert!(path.is_absolute(), "{path:?}");
    }

    #[tokio::test]
    async fn a_wrong_scheme_names_the_setting_its_value_and_what_it_may_be() {
        for url in ["mysql://h/db", "sqlite:x.db", "sqlite://", "x.db", "", "sqlite://a?mode=ro"] {
            let text = relational(url).await.err().unwrap().to_string();
            let start = format!("setting `storage.relational` is `{url}`, but it must be `sqlite:");
            assert!(text.starts_with(&start), "{text}");
        }
        let error = artifacts("s3://bucket").await.err().unwrap();
        assert!(error.to_string().ends_with("must be `file://<path of a folder>`"), "{error}");
        let error = documents("mongodb://u:p@h/db").await.err().unwrap();
        assert!(error.to_string().contains("`mongodb://***@h/db`"), "{error}");
    }
}
