//! Encryption of artefacts at rest: AES-256-GCM.
//!
//! What lies in the store is [`MAGIC`], the form's number, the key's id, a nonce, the encrypted bytes
//! and their tag. The digest that an artefact is found by is that of its plain bytes; it is
//! authenticated along, so that no artefact can lie in another one's place.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut as _, Aes256Gcm, Key, KeyInit as _, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::hex;
use sha2::{Digest as _, Sha256};

use crate::StoreError;

/// No model file begins so.
const MAGIC: &[u8; 11] = b"\0de-sealed\0";
const FORM: u8 = 1;
const KEY_ID: usize = 8;
const NONCE: usize = 12;
const TAG: usize = 16;

const SETTING: &str = "storage.artifacts_encryption_key";
const OLD_SETTING: &str = "storage.artifacts_old_encryption_keys";

/// What identifies a key without telling it.
type KeyId = [u8; KEY_ID];

struct NamedKey {
    id: KeyId,
    cipher: Aes256Gcm,
}

/// The keys: the one to write with, if any, and all to read with.
#[derive(Default)]
pub(crate) struct Sealing {
    writes: bool,
    /// The one to write with comes first.
    keys: Vec<NamedKey>,
}

/// How bytes of the store are to be taken.
#[derive(Debug, PartialEq)]
pub(crate) enum Opened {
    /// As they are: they are not encrypted.
    Plain,
    /// Encrypted, and with which key; these are the plain bytes.
    Sealed { bytes: Vec<u8>, with_current_key: bool },
    /// Encrypted, and changed since, or moved from another place.
    Damaged,
    /// Encrypted with a key that is not there; this is its id.
    NoKey(String),
}

impl Sealing {
    /// From the two settings: a key, and older ones separated by commas, spaces or lines.
    pub(crate) fn of(current: &str, old: &str) -> Result<Self, StoreError> {
        let mut keys = Vec::new();
        if !current.trim().is_empty() {
            keys.push(key(SETTING, current.trim())?);
        }
        let writes = !keys.is_empty();
        let separator = |c: char| c == ',' || c.is_whitespace();
        for text in old.split(separator).filter(|text| !text.is_empty()) {
            keys.push(key(OLD_SETTING, text)?);
        }
        Ok(Self { writes, keys })
    }

    /// Whether what is written is encrypted.
    pub(crate) fn writes(&self) -> bool {
        self.writes
    }

    /// The bytes as they are to lie in the store.
    pub(crate) fn seal(&self, sha256: &str, plain: &[u8]) -> Result<Vec<u8>, String> {
        let Some(key) = self.keys.first().filter(|_| self.writes) else {
            return Ok(plain.to_vec());
        };
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|cause| format!("no random bytes: {cause}"))?;
        let head = MAGIC.len() + 1 + KEY_ID + NONCE;
        let mut sealed = Vec::with_capacity(head + plain.len() + TAG);
        sealed.extend_from_slice(MAGIC);
        sealed.push(FORM);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let body = sealed.get_mut(head..).unwrap_or_default();
        let tag = key
            .cipher
            .encrypt_inout_detached(&Nonce::from(nonce), sha256.as_bytes(), InOutBuf::from(body))
            .map_err(|_too_long| "it is too long to be encrypted".to_owned())?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// What the bytes of the store are.
    pub(crate) fn open(&self, sha256: &str, stored: &[u8]) -> Opened {
        let Some(rest) = stored.strip_prefix(MAGIC) else { return Opened::Plain };
        let parts = rest
            .split_first()
            .filter(|(form, _)| **form == FORM)
            .and_then(|(_, rest)| rest.split_first_chunk::<KEY_ID>())
            .and_then(|(id, rest)| Some((id, rest.split_first_chunk::<NONCE>()?)))
            .and_then(|(id, (nonce, rest))| Some((id, nonce, rest.split_last_chunk::<TAG>()?)));
        let Some((id, nonce, (body, tag))) = parts else { return Opened::Damaged };
        let Some(index) = self.keys.iter().position(|key| key.id == *id) else {
            return Opened::NoKey(hex(id));
        };
        let Some(key) = self.keys.get(index) else { return Opened::Damaged };
        let mut bytes = body.to_vec();
        let opened = key.cipher.decrypt_inout_detached(
            &Nonce::from(*nonce),
            sha256.as_bytes(),
            InOutBuf::from(bytes.as_mut_slice()),
            &Tag::from(*tag),
        );
        match opened {
            Ok(()) => Opened::Sealed { bytes, with_current_key: self.writes && index == 0 },
            Err(_changed) => Opened::Damaged,
        }
    }
}

/// The error of an artefact whose key is not there.
pub(crate) fn no_key(sha256: &str, id: &str) -> StoreError {
    StoreError::Setting {
        setting: SETTING,
        why: format!(
            "does not hold key `{id}`, which artefact `{sha256}` is encrypted with: set it there, or in `{OLD_SETTING}`"
        ),
    }
}

fn key(setting: &'static str, text: &str) -> Result<NamedKey, StoreError> {
    let bytes: Option<[u8; 32]> = STANDARD.decode(text).ok().and_then(|it| it.try_into().ok());
    let bytes = bytes.ok_or_else(|| StoreError::Setting {
        setting,
        why: "must be 32 random bytes in base64: make one with `openssl rand -base64 32`"
            .to_owned(),
    })?;
    let digest = Sha256::new().chain_update(b"artefact key id").chain_update(bytes).finalize();
    let mut id = KeyId::default();
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    Ok(NamedKey { id, cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(bytes)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    #[test]
    fn what_is_sealed_is_opened_with_its_key_in_its_place_alone() {
        let sealing = Sealing::of(&text(1), "").unwrap();
        let sealed = sealing.seal("place", b"a model").unwrap();
        assert!(!sealed.windows(5).any(|window| window == b"model"));
        assert_ne!(sealed, sealing.seal("place", b"a model").unwrap(), "a nonce is used once");
        let opened = Opened::Sealed { bytes: b"a model".to_vec(), with_current_key: true };
        assert_eq!(sealing.open("place", &sealed), opened);
        assert_eq!(sealing.open("elsewhere", &sealed), Opened::Damaged);

        let rotated = Sealing::of(&text(2), &format!("{},\n{}", text(3), text(1))).unwrap();
        let opened = Opened::Sealed { bytes: b"a model".to_vec(), with_current_key: false };
        assert_eq!(rotated.open("place", &sealed), opened);
        for other in [Sealing::of(&text(2), "").unwrap(), Sealing::default()] {
            let Opened::NoKey(id) = other.open("place", &sealed) else { panic!("it has no key") };
            let told = no_key("place", &id).to_string();
            assert!(told.contains(SETTING) && told.contains(&id), "{told}");
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let sealing = Sealing::of(&text(1), "").unwrap();
        let sealed = sealing.seal("place", b"a model").unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            let opened = sealing.open("place", &changed);
            assert!(!matches!(opened, Opened::Sealed { .. }), "byte {index}: {opened:?}");
            let opened = sealing.open("place", &sealed[..index]);
            assert!(!matches!(opened, Opened::Sealed { .. }), "cut at {index}: {opened:?}");
        }
    }

    #[test]
    fn without_a_key_nothing_is_changed_and_a_wrong_key_is_not_shown() {
        let none = Sealing::of("", " ").unwrap();
        assert!(!none.writes());
        assert_eq!(none.seal("place", b"a model").unwrap(), b"a model");
        assert_eq!(none.open("place", b"a model"), Opened::Plain);
        let short = STANDARD.encode(b"hush-hush");
        for (current, old, setting) in
            [(short.as_str(), "", SETTING), ("", short.as_str(), OLD_SETTING), ("?", "", SETTING)]
        {
            let error = Sealing::of(current, old).err().unwrap().to_string();
            assert!(error.contains(setting) && error.contains("32"), "{error}");
            assert!(!error.contains(&short), "{error}");
        }
    }
}
