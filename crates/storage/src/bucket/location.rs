//! Where a bucket is, and who we are to its server, as the settings say it.

use object_store::path::Path;

use crate::StoreError;

/// What a URL `s3://bucket/prefix?endpoint=...&region=...` says.
#[derive(Debug, PartialEq)]
pub(crate) struct Location<'a> {
    pub(super) bucket: &'a str,
    pub(super) prefix: Path,
    pub(super) endpoint: Option<&'a str>,
    pub(super) region: &'a str,
}

/// The secrets of artefacts; empty where they are not set. The first two are what an S3-compatible
/// server knows us by.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a> {
    /// The setting `storage.artifacts_access_key`.
    pub access: &'a str,
    /// The setting `storage.artifacts_secret_key`.
    pub secret: &'a str,
    /// The setting `storage.artifacts_encryption_key`.
    pub encryption: &'a str,
    /// The setting `storage.artifacts_old_encryption_keys`.
    pub old_encryption: &'a str,
}

impl Keys<'_> {
    /// Each key's setting, and whether it is set.
    fn settings(self) -> [(&'static str, bool); 2] {
        [
            ("storage.artifacts_access_key", !self.access.is_empty()),
            ("storage.artifacts_secret_key", !self.secret.is_empty()),
        ]
    }

    pub(crate) fn are_a_pair(self) -> Result<(), StoreError> {
        let (missing, set) = match self.settings() {
            [(missing, false), (set, true)] | [(set, true), (missing, false)] => (missing, set),
            _ => return Ok(()),
        };
        let why = format!("is empty, but `{set}` is set: set both or none");
        Err(StoreError::Setting { setting: missing, why })
    }

    pub(crate) fn are_none(self, url: &str) -> Result<(), StoreError> {
        match self.settings().into_iter().find(|(_, is_set)| *is_set) {
            None => Ok(()),
            Some((setting, _)) => {
                let why = format!("does nothing while `storage.artifacts` is `{url}`: remove it");
                Err(StoreError::Setting { setting, why })
            }
        }
    }
}

impl<'a> Location<'a> {
    /// `None` if it is no such URL, or if part of it would do nothing.
    pub(crate) fn parse(url: &'a str) -> Option<Self> {
        let rest = url.strip_prefix("s3://")?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let is_in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty() || !bucket.chars().all(is_in_name) {
            return None;
        }
        let prefix = Path::parse(prefix).ok()?;
        let (mut endpoint, mut region) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').filter(|(_, value)| !value.is_empty())?;
            let known = match key {
                "endpoint" if is_endpoint(value) => endpoint.replace(value),
                "region" => region.replace(value),
                _ => return None,
            };
            if known.is_some() {
                return None;
            }
        }
        Some(Self { bucket, prefix, endpoint, region: region.unwrap_or("us-east-1") })
    }
}

/// Whether it is the URL of a server, and no more.
fn is_endpoint(value: &str) -> bool {
    let host = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '%', '#', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_the_bucket_is() {
        let location = Location::parse("s3://models").unwrap();
        assert_eq!((location.bucket, location.prefix.as_ref()), ("models", ""));
        assert_eq!((location.endpoint, location.region), (None, "us-east-1"));
        let url = "s3://my.models/a/b/?region=eu-central-1&endpoint=http://127.0.0.1:9000";
        let location = Location::parse(url).unwrap();
        assert_eq!((location.bucket, location.prefix.as_ref()), ("my.models", "a/b"));
        assert_eq!(location.endpoint, Some("http://127.0.0.1:9000"));
        assert_eq!(location.region, "eu-central-1");
    }

    #[test]
    fn what_would_do_nothing_is_refused() {
        for url in [
            "s3://",
            "s3:///prefix",
            "s3://key:secret@models",
            "s3://models/a//b",
            "s3://models/../b",
            "s3://models?endpoint=127.0.0.1:9000",
            "s3://models?endpoint=http://",
            "s3://models?endpoint=http://key:secret@h",
            "s3://models?region=",
            "s3://models?region=a&region=b",
            "s3://models?access_key=a",
            "S3://models",
        ] {
            assert_eq!(Location::parse(url), None, "{url}");
        }
    }
}
