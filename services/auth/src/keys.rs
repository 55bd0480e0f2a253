//! The signing keys and the service secret: files that only we may read, made at the first start.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::auth::{Claims, Jwk, Jwks};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{self, DecodePrivateKey as _, EncodePrivateKey as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sha2::{Digest as _, Sha256};

use crate::{AuthError, random, secrets};

mod file;

/// The fewest characters of a secret in a file.
const SECRET_LENGTH: usize = 32;

/// The keys that tokens are signed and verified with.
pub(crate) struct Keys {
    header: Header,
    key: EncodingKey,
    /// All public keys, oldest first.
    pub(crate) public: Jwks,
    /// The files, oldest first, with the second of their making.
    files: Vec<(PathBuf, i64)>,
    /// Which of them signs.
    signing: usize,
}

/// When keys come and go.
#[derive(Clone, Copy)]
pub(crate) struct KeyTimes {
    pub(crate) now: i64,
    /// From a key's making until it signs, seconds.
    pub(crate) publish_s: i64,
    /// How long after that tokens of the key before may be about, seconds.
    pub(crate) linger_s: i64,
}

impl Keys {
    /// Reads `signing/*.pem` in the folder; makes one if there is none. The last that is old enough
    /// signs, all are published.
    pub(crate) fn open(folder: &Path, times: KeyTimes) -> Result<Self, AuthError> {
        let folder = folder.join("signing");
        let mut paths = file::list(&folder, "pem")?;
        if paths.is_empty() {
            make_key(&folder, 1, times.now)?;
            paths = file::list(&folder, "pem")?;
        }
        let mut public = Jwks { keys: Vec::new() };
        let (mut signer, mut signing, mut files) = (None, 0, Vec::new());
        for (place, path) in paths.into_iter().enumerate() {
            let text = file::read(&path)?;
            let key =
                SigningKey::from_pkcs8_pem(&text).map_err(|cause| no_key(&path, Some(cause)))?;
            let der = key.to_pkcs8_der().map_err(|cause| no_key(&path, Some(cause)))?;
            let jwk = public_key(&key);
            let made_at = made_at(&path);
            if place == 0 || made_at + times.publish_s <= times.now {
                let header = Header { kid: Some(jwk.kid.clone()), ..Header::new(Algorithm::EdDSA) };
                signer = Some((header, EncodingKey::from_ed_der(der.as_bytes())));
                signing = place;
            }
            public.keys.push(jwk);
            files.push((path, made_at));
        }
        let (header, key) = signer.ok_or_else(|| no_key(&folder, None))?;
        Ok(Self { header, key, public, files, signing })
    }

    /// Makes a key that signs a little later.
    pub(crate) fn rotate(folder: &Path, times: KeyTimes) -> Result<(), AuthError> {
        let folder = folder.join("signing");
        let last = file::list(&folder, "pem")?.last().map_or(0, |path| number(path));
        make_key(&folder, last + 1, times.now)
    }

    /// The second in which the newest key was made.
    pub(crate) fn newest(&self) -> i64 {
        self.files.last().map_or(0, |(_, made_at)| *made_at)
    }

    /// Removes the keys of which no token is about any more. Tells whether there were any.
    pub(crate) fn retire(&self, times: KeyTimes) -> Result<bool, AuthError> {
        let Some((_, made_at)) = self.files.get(self.signing) else { return Ok(false) };
        if made_at + times.publish_s + times.linger_s > times.now {
            return Ok(false);
        }
        for (path, _) in self.files.iter().take(self.signing) {
            file::remove(path)?;
            tracing::info!(path = %path.display(), "removed a signing key whose tokens are over");
        }
        Ok(self.signing > 0)
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, AuthError> {
        jsonwebtoken::encode(&self.header, claims, &self.key).map_err(AuthError::Sign)
    }
}

/// Makes `<number>-<second>.pem`.
fn make_key(folder: &Path, number: u32, now: i64) -> Result<(), AuthError> {
    let path = folder.join(format!("{number:04}-{now}.pem"));
    file::read_or_make(&path, || {
        let key = SigningKey::from_bytes(&random::bytes()?);
        let pem = key.to_pkcs8_pem(LineEnding::LF);
        Ok(pem.map_err(|cause| no_key(&path, Some(cause)))?.as_bytes().to_vec())
    })
    .map(drop)
}

/// The number that a key's file begins with.
fn number(path: &Path) -> u32 {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name.split('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The second in which a key was made: as its name says, or as the file system does.
fn made_at(path: &Path) -> i64 {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let named = name.split_once('-').and_then(|(_, second)| second.parse().ok());
    named.unwrap_or_else(|| file::second_of(path))
}

/// Reads a key that seals something, such as `audit.key`; makes it if it is not there.
pub(crate) fn secret_key(folder: &Path, name: &str) -> Result<[u8; 32], AuthError> {
    Ok(Sha256::digest(file_of_secret(&folder.join(name))?).into())
}

/// The secret that the services share, as a digest: comparing digests tells no length and, as
/// nobody can choose them, no part of the secret either.
pub(crate) struct ServiceSecret(String);

impl ServiceSecret {
    /// Reads the file; makes it if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, AuthError> {
        let secret = file_of_secret(path)?;
        Ok(Self(secrets::digest(&secret)))
    }

    /// Whether this is the secret; takes the same time in any case.
    pub(crate) fn is(&self, secret: &str) -> bool {
        secrets::matches(secret, &self.0)
    }
}

/// Reads a file with a secret of one line; makes it if it is not there.
fn file_of_secret(path: &Path) -> Result<String, AuthError> {
    let text = file::read_or_make(path, || Ok(format!("{}\n", random::token()?).into_bytes()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.chars().count() < SECRET_LENGTH {
        let must_be = "secret of at least 32 characters";
        let path = path.to_owned();
        return Err(AuthError::KeyFileContent { path, must_be, source: None });
    }
    Ok(secret.to_owned())
}

fn public_key(key: &SigningKey) -> Jwk {
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    // RFC 7638 with the members that RFC 8037 requires, in order, without spaces.
    let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
    Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        alg: "EdDSA".to_owned(),
        usage: "sig".to_owned(),
        kid: URL_SAFE_NO_PAD.encode(thumbprint),
        x,
    }
}

fn no_key(path: &Path, source: Option<pkcs8::Error>) -> AuthError {
    let must_be = "Ed25519 private key in PEM (PKCS#8)";
    AuthError::KeyFileContent { path: path.to_owned(), must_be, source }
}

#[cfg(test)]
mod tests;
