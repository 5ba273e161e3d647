//! The keys that sign bundles, and how they are written.
//!
//! Public: `ed25519:` and 64 hexadecimal digits. Secret: a file of one line, `rekindle-signing-key
//! ed25519:` and 64 hexadecimal digits, which only its owner may read.

use super::{BundleError, fault};
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::str::FromStr;

const SCHEME: &str = "ed25519:";
const SECRET: &str = "rekindle-signing-key ";

/// No key file is longer than this.
const LONGEST_FILE: u64 = 4096;

/// The public half of a key: names who vouches for a bundle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// A key that signs bundles.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl PublicKey {
    /// The key of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Whether `signature` is this key's of `message`. Weak keys, under which one signature fits several
    /// messages, never verify.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(message, &Signature::from_bytes(signature))
                .is_ok()
        })
    }
}

impl FromStr for PublicKey {
    type Err = BundleError;

    fn from_str(text: &str) -> Result<Self, BundleError> {
        let wrong = |what: String| BundleError::Key {
            place: format!("`{}`", text.escape_debug()),
            wanted: "public key",
            what,
        };
        let bytes = parse(text).map_err(|what| wrong(what.to_owned()))?;
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(wrong("nobody can sign with it safely".to_owned())),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&written(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl SigningKey {
    /// A new key, from the operating system's random bytes.
    ///
    /// # Errors
    /// The operating system has none.
    pub fn generate() -> Result<Self, BundleError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| BundleError::Key {
            place: "what the operating system gave".to_owned(),
            wanted: "random number",
            what: error.to_string(),
        })?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    /// Its public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Reads the key that [`write_new`](Self::write_new) wrote.
    ///
    /// # Errors
    /// A file that is not there, that others can read, or that holds no key.
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        let wrong = |what: String| BundleError::Key {
            place: path.display().to_string(),
            wanted: "signing key",
            what,
        };
        let file = std::fs::File::open(path).map_err(fault("open", path))?;
        let metadata = file.metadata().map_err(fault("look at", path))?;
        if metadata.mode() & 0o077 != 0 {
            return Err(wrong(format!(
                "others can read or write it; make a new one, or run `chmod go= {}` if nobody did",
                crate::folder::quoted(path)
            )));
        }
        let mut text = String::new();
        file.take(LONGEST_FILE)
            .read_to_string(&mut text)
            .map_err(fault("read", path))?;
        let secret = text
            .trim_end()
            .strip_prefix(SECRET)
            .ok_or("it does not start as one")
            .and_then(parse)
            .map_err(|what| wrong(what.to_owned()))?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    /// Writes the key to a new file that only its owner may read.
    ///
    /// # Errors
    /// A file that is there already, or cannot be made.
    pub fn write_new(&self, path: &Path) -> Result<(), BundleError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(fault("create", path))?;
        let line = format!("{SECRET}{}\n", written(self.0.as_bytes()));
        file.write_all(line.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(fault("write", path))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey({})", self.public_key())
    }
}

fn written(bytes: &[u8; 32]) -> String {
    use fmt::Write as _;
    let mut text = SCHEME.to_owned();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn parse(text: &str) -> Result<[u8; 32], &'static str> {
    let digits = text
        .strip_prefix(SCHEME)
        .ok_or("it does not start with `ed25519:`")?;
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return Err("it has not 64 hexadecimal digits");
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16);
            let value = value.and_then(|value| u8::try_from(value).ok());
            *byte = *byte << 4 | value.ok_or("it has not 64 hexadecimal digits")?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let key = SigningKey::generate().expect("random");
        key.write_new(&path).expect("written");
        assert_eq!(path.metadata().expect("there").mode() & 0o777, 0o600);
        let read = SigningKey::read(&path).expect("read");
        assert_eq!(read.public_key(), key.public_key());
        let public: PublicKey = key.public_key().to_string().parse().expect("a key");
        assert_eq!(public, key.public_key());
        assert!(key.write_new(&path).is_err(), "a key is never overwritten");
        let other = SigningKey::generate().expect("random");
        assert_ne!(other.public_key(), key.public_key());
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let key = SigningKey::generate().expect("random");
        key.write_new(&path).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("changed");
        let error = SigningKey::read(&path).expect_err("refused").to_string();
        assert!(error.contains("chmod go="), "{error}");
    }

    #[test]
    fn texts_that_are_no_keys_are_errors() {
        let long = format!("{SCHEME}{}", "ab".repeat(33));
        let odd = format!("{SCHEME}{}é", "a".repeat(62));
        let weak = format!("{SCHEME}{}", "00".repeat(32));
        for text in ["", "ed25519:", "rsa:00", &long, &odd, &weak] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let key = SigningKey::generate().expect("random");
        let secret = written(key.0.as_bytes());
        assert!(!format!("{key:?}").contains(&secret[SCHEME.len()..]));
    }
}
