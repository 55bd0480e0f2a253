//! What makes two requests the same.

use bytes::Bytes;
use contracts::inference::{PredictTask, Protocol};
use domain::{Principal, Version, hex};
use sha2::{Digest as _, Sha256};

use super::canonical;
use crate::table::InForce;

/// SHA-256 of all that an answer depends on.
pub(crate) type Digest = [u8; 32];

/// What an answer depends on.
pub(crate) struct Asked {
    pub(crate) caller: Principal,
    pub(crate) version: std::sync::Arc<Version>,
    pub(crate) policy: std::sync::Arc<InForce>,
    /// Of the route.
    pub(crate) generation: u64,
    pub(crate) task: PredictTask,
    pub(crate) body: Bytes,
}

/// A request with its key, and what of it its answer repeats.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    pub(super) digest: Digest,
    pub(super) task: PredictTask,
    /// The `id` of a V2 request, as JSON.
    pub(super) echo: Option<String>,
}

/// Whose answer is meant.
enum By {
    /// The version's, under the route's generation.
    Version,
    /// Any version's.
    Any,
}

impl Keyed {
    /// The key as stores have it.
    pub(super) fn name(&self) -> String {
        hex(&self.digest)
    }

    /// `None` for what is not kept: bodies that are no good JSON, and V2 bodies with bytes in them.
    pub(crate) fn of(asked: Asked) -> Option<Self> {
        let shared = asked.policy.policy.cache?.shared;
        Self::made(asked, shared, By::Version)
    }

    /// The key of the last good answer, whichever version gave it. A model whose answers are not kept
    /// otherwise keeps these for each caller apart.
    pub(crate) fn of_any_version(asked: Asked) -> Option<Self> {
        let shared = asked.policy.policy.cache.is_some_and(|cache| cache.shared);
        Self::made(asked, shared, By::Any)
    }

    /// Has the answer say that it is not the chosen version's.
    pub(crate) fn mark_degraded(&mut self) {
        self.task.degraded = true;
    }

    fn made(asked: Asked, shared: bool, by: By) -> Option<Self> {
        let Asked { caller, version, policy, generation, task, body } = asked;
        let essence = task.content_type.trim().to_ascii_lowercase();
        let kind = essence.split(';').next().unwrap_or_default().trim();
        let is_json = matches!(kind, "" | "application/json") || kind.ends_with("+json");
        let (protocol, kind, canonical) = match &task.protocol {
            Protocol::V2 { header_length: None } => ("v2", "json", canonical::v2(&body)?),
            Protocol::V2 { .. } => return None,
            Protocol::Natural if is_json => ("natural", "json", canonical::natural(&body)?),
            // Its parameters, such as a character set, count too.
            Protocol::Natural => {
                let body = canonical::Canonical { bytes: body.to_vec(), echo: None };
                ("natural", essence.as_str(), body)
            }
        };
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            // With its length, so that no two lists of parts are one text.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(env!("CARGO_PKG_VERSION").as_bytes());
        add(version.model.as_str().as_bytes());
        match by {
            By::Version => {
                add(version.version.to_string().as_bytes());
                // A store of another time, or of another engine, may know a version of this number,
                // too.
                add(&version.created_at.unix_timestamp_nanos().to_le_bytes());
                for file in &version.files {
                    add(file.sha256.as_bytes());
                }
                add(&generation.to_le_bytes());
            }
            By::Any => add(b"any version"),
        }
        add(&policy.policy.revision.to_le_bytes());
        add(if shared { b"shared" } else { b"own" });
        add(if shared { b"" } else { caller.id.as_bytes() });
        add(if task.show_version { b"shown" } else { b"hidden" });
        add(protocol.as_bytes());
        add(kind.as_bytes());
        add(&canonical.bytes);
        Some(Self { digest: hash.finalize().into(), echo: canonical.echo, task })
    }
}
