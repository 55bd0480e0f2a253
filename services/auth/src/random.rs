//! Secrets from the system's random source.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::AuthError;

/// Letters and digits that nobody takes for another: 32 of them, so that a byte's low five bits
/// choose evenly.
const READABLE: [char; 32] = [
    'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'm', 'n', 'p', 'q', 'r', 's', 't', 'u',
    'v', 'w', 'x', 'y', 'z', '2', '3', '4', '5', '6', '7', '8', '9',
];

/// Random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], AuthError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(AuthError::Random)?;
    Ok(bytes)
}

/// Characters of an id, after what it begins with.
pub(crate) const ID_LENGTH: usize = 12;

/// An id of 60 random bits that is easy to read, after what it begins with.
pub(crate) fn id(begin: &str) -> Result<String, AuthError> {
    let mut id = begin.to_owned();
    for byte in bytes::<ID_LENGTH>()? {
        id.extend(READABLE.get(usize::from(byte & 31)));
    }
    Ok(id)
}

/// 256 random bits in base64url: 43 characters.
pub(crate) fn token() -> Result<String, AuthError> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

/// A password of 120 random bits that a person can copy by hand: four groups of six.
///
/// # Errors
/// [`AuthError::Random`] if the system has none.
pub fn password() -> Result<String, AuthError> {
    let mut password = String::with_capacity(27);
    for (place, byte) in bytes::<24>()?.into_iter().enumerate() {
        if place > 0 && place % 6 == 0 {
            password.push('-');
        }
        password.extend(READABLE.get(usize::from(byte & 31)));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_four_groups_and_never_the_same() {
        let password = password().unwrap();
        assert_eq!(password.split('-').map(str::len).collect::<Vec<_>>(), [6; 4]);
        assert_ne!(password, super::password().unwrap());
        let different: std::collections::BTreeSet<_> = READABLE.into_iter().collect();
        assert_eq!(different.len(), 32);
    }
}
