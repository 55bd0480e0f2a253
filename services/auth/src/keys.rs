//! The signing keys and the service secret: files that only we may read, made at the first start.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::auth::{Claims, Jwk, Jwks};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{self, DecodePrivateKey as _, EncodePrivateKey as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sha2::{Digest as _, Sha256};

use crate::{AuthError, random};

mod file;

/// The fewest characters of a service secret.
const SECRET_LENGTH: usize = 32;

/// The keys that tokens are signed and verified with.
pub(crate) struct Keys {
    header: Header,
    key: EncodingKey,
    /// All public keys, the signing one last.
    pub(crate) public: Jwks,
}

impl Keys {
    /// Reads `signing/*.pem` in the folder; makes `signing/0001.pem` if there is none. The last by
    /// name signs, all are published, so that a key can be replaced while its tokens are about.
    pub(crate) fn open(folder: &Path) -> Result<Self, AuthError> {
        let folder = folder.join("signing");
        let mut paths = file::list(&folder, "pem")?;
        if paths.is_empty() {
            let first = folder.join("0001.pem");
            file::read_or_make(&first, || {
                let key = SigningKey::from_bytes(&random::bytes()?);
                let pem = key.to_pkcs8_pem(LineEnding::LF);
                Ok(pem.map_err(|cause| no_key(&first, Some(cause)))?.as_bytes().to_vec())
            })?;
            paths = file::list(&folder, "pem")?;
        }
        let mut public = Jwks { keys: Vec::new() };
        let mut signing = None;
        for path in &paths {
            let text = file::read(path)?;
            let key =
                SigningKey::from_pkcs8_pem(&text).map_err(|cause| no_key(path, Some(cause)))?;
            let der = key.to_pkcs8_der().map_err(|cause| no_key(path, Some(cause)))?;
            let jwk = public_key(&key);
            let header = Header { kid: Some(jwk.kid.clone()), ..Header::new(Algorithm::EdDSA) };
            signing = Some((header, EncodingKey::from_ed_der(der.as_bytes())));
            public.keys.push(jwk);
        }
        let (header, key) = signing.ok_or_else(|| no_key(&folder, None))?;
        Ok(Self { header, key, public })
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, AuthError> {
        jsonwebtoken::encode(&self.header, claims, &self.key).map_err(AuthError::Sign)
    }
}

/// The secret that the services share, as a digest: comparing digests tells no length and, as
/// nobody can choose them, no part of the secret either.
pub(crate) struct ServiceSecret([u8; 32]);

impl ServiceSecret {
    /// Reads the file; makes it if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self, AuthError> {
        let text = file::read_or_make(path, || Ok(format!("{}\n", random::token()?).into_bytes()))?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.chars().count() < SECRET_LENGTH {
            let must_be = "secret of at least 32 characters";
            let path = path.to_owned();
            return Err(AuthError::KeyFileContent { path, must_be, source: None });
        }
        Ok(Self(Sha256::digest(secret).into()))
    }

    /// Whether this is the secret; takes the same time in any case.
    pub(crate) fn is(&self, secret: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(secret).into();
        let differences = self.0.iter().zip(given).fold(0, |sum, (ours, its)| sum | (ours ^ its));
        differences == 0
    }
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
