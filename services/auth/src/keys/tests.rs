use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// The key of RFC 8037, appendix A.
const RFC_8037_SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

/// When the tests begin; a new key signs at once.
const TIMES: KeyTimes = KeyTimes { now: 1_700_000_000, publish_s: 0, linger_s: 900 };

fn open(folder: &Path) -> Result<Keys, AuthError> {
    Keys::open(folder, TIMES)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_thumbprint_is_that_of_the_rfc() {
    let secret: [u8; 32] = URL_SAFE_NO_PAD.decode(RFC_8037_SECRET).unwrap().try_into().unwrap();
    let jwk = public_key(&SigningKey::from_bytes(&secret));
    assert_eq!(jwk.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    assert_eq!(jwk.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn keys_are_made_once_for_the_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("keys");
    let first = open(&place).unwrap();
    assert_eq!(open(&place).unwrap().public, first.public);
    let file = place.join("signing/0001-1700000000.pem");
    assert_eq!((mode(&place), mode(&place.join("signing")), mode(&file)), (0o700, 0o700, 0o600));
    assert!(fs::read_to_string(&file).unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(fs::read_dir(place.join("signing")).unwrap().count(), 1);
}

#[test]
fn many_that_start_at_once_have_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let barrier = std::sync::Barrier::new(8);
    let opened: Vec<Jwks> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    open(folder.path()).unwrap().public
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(opened.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(opened[0].keys.len(), 1);
}

#[test]
fn a_second_key_signs_and_both_are_published() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = open(folder.path()).unwrap();
    let new = open(other.path()).unwrap();
    let second = folder.path().join("signing/0002-1700000000.pem");
    fs::copy(other.path().join("signing/0001-1700000000.pem"), second).unwrap();

    let both = open(folder.path()).unwrap();
    assert_eq!(both.header.kid.as_ref(), Some(&new.public.keys[0].kid));
    let expected: Vec<_> = [&old, &new].map(|keys| keys.public.keys[0].clone()).to_vec();
    assert_eq!(both.public.keys, expected);
}

#[test]
fn a_new_key_is_published_before_it_signs_and_an_old_one_until_its_tokens_are_over() {
    let folder = tempfile::tempdir().unwrap();
    let at = |second: i64| KeyTimes { now: TIMES.now + second, publish_s: 60, linger_s: 900 };
    let first = Keys::open(folder.path(), at(0)).unwrap();
    let signs = |second| Keys::open(folder.path(), at(second)).unwrap().header.kid.unwrap();
    assert_eq!(signs(0), first.public.keys[0].kid, "the only one signs at once");

    Keys::rotate(folder.path(), at(100)).unwrap();
    let both = Keys::open(folder.path(), at(100)).unwrap();
    assert_eq!(both.public.keys.len(), 2);
    assert_eq!(signs(159), first.public.keys[0].kid);
    assert_eq!(signs(160), both.public.keys[1].kid);

    let retire = |second| {
        Keys::open(folder.path(), at(second)).unwrap().retire(at(second)).unwrap();
        Keys::open(folder.path(), at(second)).unwrap().public.keys.len()
    };
    assert_eq!(retire(159), 2, "the old one signs yet");
    assert_eq!(retire(1059), 2, "its last token is about");
    assert_eq!(retire(1060), 1);
    assert_eq!(signs(1060), both.public.keys[1].kid);
}

#[test]
fn a_key_made_by_openssl_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap();
    let file = folder.path().join("signing/0001-1700000000.pem");
    // PKCS#8 version 1: without the public key.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    fs::write(&file, pem).unwrap();
    let keys = open(folder.path()).unwrap();
    assert_eq!(keys.public.keys[0].kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap();
    let file = folder.path().join("signing/0001-1700000000.pem");
    for bits in [0o644, 0o604, 0o660, 0o666] {
        fs::set_permissions(&file, fs::Permissions::from_mode(bits)).unwrap();
        let text = open(folder.path()).err().unwrap().to_string();
        let remedy = format!("(mode {bits:o}): run `chmod 600 {}`", file.display());
        assert!(text.contains(&remedy), "{text}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    open(folder.path()).unwrap();
}

#[test]
fn a_file_that_is_no_key_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap();
    let file = folder.path().join("signing/0001-1700000000.pem");
    for bad in ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        fs::write(&file, bad).unwrap();
        let error = open(folder.path()).err().unwrap();
        assert!(matches!(error, AuthError::KeyFileContent { .. }), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), bad);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file.join("keys")).err().unwrap();
    assert!(error.to_string().contains("file/keys"), "{error}");
}

#[test]
fn the_service_secret_is_made_once_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/service.secret");
    let secret = ServiceSecret::open(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert!(secret.is(text.trim_end()));
    assert!(ServiceSecret::open(&path).unwrap().is(text.trim_end()));
    for wrong in ["", "x", &text, &text.repeat(2)] {
        assert!(!secret.is(wrong), "{wrong}");
    }
    fs::write(&path, "short\n").unwrap();
    let text = ServiceSecret::open(&path).err().unwrap().to_string();
    assert!(text.contains("secret of at least 32 characters"), "{text}");
}
