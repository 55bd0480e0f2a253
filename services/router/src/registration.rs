//! How uploaded files become a version: checked, stored by digest, proved to load, then numbered.

use std::collections::BTreeMap;

use bytes::Bytes;
use contracts::router::{FilePart, NewVersion};
use contracts::{ApiError, Framed};
use domain::{FileRef, Version, VersionId};
use models::Package;

use crate::error::RouterError;
use crate::service::Service;

impl Service {
    /// Checks the package, stores its files and proves on a replica that it loads. Only then is the
    /// version numbered.
    pub(crate) async fn register(
        &self,
        by: &str,
        request: Framed<NewVersion>,
    ) -> Result<Version, ApiError> {
        let NewVersion { model, manifest, files } = request.meta;
        let files = split(&files, request.body)?;
        let name = model.to_string();
        let kept = files.clone();
        let assembled = tokio::task::spawn_blocking(move || {
            let files = kept.iter().map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
            Package::assemble(&name, manifest, files)
        })
        .await;
        let package = match assembled {
            Ok(package) => package.map_err(RouterError::from)?,
            Err(error) => {
                tracing::error!(%error, "checking a package failed");
                return Err(ApiError::internal());
            }
        };
        let mut references = Vec::new();
        for (name, bytes) in files {
            let size = bytes.len() as u64;
            let sha256 = self.deps.artifacts.put(bytes).await.map_err(RouterError::from)?;
            references.push(FileRef { name, sha256, bytes: size });
        }
        #[expect(clippy::expect_used, reason = "1 is not 0")]
        let draft = Version {
            model,
            version: VersionId::new(1).expect("1 is not 0"),
            manifest: package.manifest,
            files: references,
            enabled: true,
            created_by: by.to_owned(),
            created_at: self.deps.clock.now(),
        };
        self.fleet.check(&draft).await?;
        let registry = &self.deps.relational.registry;
        Ok(registry.create_version(draft).await.map_err(RouterError::from)?)
    }
}

/// Cuts a payload into its files.
fn split(parts: &[FilePart], mut body: Bytes) -> Result<BTreeMap<String, Bytes>, ApiError> {
    let mut files = BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        let size = usize::try_from(part.bytes).unwrap_or(usize::MAX);
        if size > body.len() {
            return Err(ApiError::at(
                format!("#/files/{index}"),
                format!("file `{}` is cut short: upload it again", part.name),
            ));
        }
        if files.insert(part.name.clone(), body.split_to(size)).is_some() {
            return Err(ApiError::at(
                format!("#/files/{index}"),
                format!("two files are named `{}`: give each its own name", part.name),
            ));
        }
    }
    if files.is_empty() {
        return Err(ApiError::at(
            "#/files",
            "no file was uploaded: send `file=@model.onnx` as multipart/form-data",
        ));
    }
    Ok(files)
}
