//! Whose bundles are used: trusted keys, and keys that were revoked.
//!
//! `REKINDLE_TRUSTED_KEYS` holds keys with commas or blanks between them and, if it is set, stands for the
//! file `trusted-keys`. The files lie in `rekindle` in the user's configuration folder, a key on each
//! line, and after it, if anything, a comment; `revoked-keys` is heeded in any case. A folder or file that
//! others can write is refused: who writes it chooses whose code is run.

use super::{BundleError, PublicKey, fault};
use crate::folder;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The environment variable that names the trusted keys.
pub const KEYS_VARIABLE: &str = "REKINDLE_TRUSTED_KEYS";

/// The keys whose bundles are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedKeys {
    trusted: BTreeSet<PublicKey>,
    revoked: BTreeSet<PublicKey>,
}

impl TrustedKeys {
    /// No key at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// The keys that this user trusts, by environment and files.
    ///
    /// # Errors
    /// Something in there that is no key, or a file that others can write.
    pub fn of_user() -> Result<Self, BundleError> {
        let named = std::env::var_os(KEYS_VARIABLE);
        Self::choose(named, &KeyFiles::of_user()?)
    }

    fn choose(named: Option<OsString>, files: &KeyFiles) -> Result<Self, BundleError> {
        let trusted = match named {
            Some(named) => {
                let named = named.to_string_lossy();
                let keys = named.split([',', ' ', '\t', '\n']);
                keys.filter(|key| !key.is_empty())
                    .map(str::parse)
                    .collect::<Result<_, _>>()?
            }
            None => keys_in(&files.trusted())?,
        };
        let revoked = keys_in(&files.revoked())?;
        Ok(Self { trusted, revoked })
    }

    /// Trusts `key`, unless it was revoked.
    pub fn trust(&mut self, key: PublicKey) {
        self.trusted.insert(key);
    }

    /// Revokes `key` for good.
    pub fn revoke(&mut self, key: PublicKey) {
        self.revoked.insert(key);
    }

    /// Whether bundles signed by `key` are used.
    pub fn is_trusted(&self, key: &PublicKey) -> bool {
        self.trusted.contains(key) && !self.is_revoked(key)
    }

    /// Whether `key` was revoked.
    pub fn is_revoked(&self, key: &PublicKey) -> bool {
        self.revoked.contains(key)
    }

    /// The keys whose bundles are used.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.trusted.difference(&self.revoked)
    }

    /// The keys that were revoked.
    pub fn revoked(&self) -> impl Iterator<Item = &PublicKey> {
        self.revoked.iter()
    }
}

/// The files that hold a user's keys.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    folder: PathBuf,
}

impl KeyFiles {
    /// Those in the user's configuration folder.
    ///
    /// # Errors
    /// The user has no such folder.
    pub fn of_user() -> Result<Self, BundleError> {
        use etcetera::BaseStrategy as _;
        let strategy = etcetera::base_strategy::choose_native_strategy().map_err(|error| {
            fault("find", Path::new("the home folder"))(io::Error::other(error))
        })?;
        Ok(Self::in_folder(strategy.config_dir().join("rekindle")))
    }

    /// Those in `folder`.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The keys that are trusted.
    pub fn trusted(&self) -> PathBuf {
        self.folder.join("trusted-keys")
    }

    /// The keys that were revoked.
    pub fn revoked(&self) -> PathBuf {
        self.folder.join("revoked-keys")
    }

    /// Where the user's own signing key is kept unless another place is named.
    pub fn signing_key(&self) -> PathBuf {
        self.folder.join("signing-key")
    }

    /// Makes the folder, for its owner alone.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn make_folder(&self) -> Result<(), BundleError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(fault("create", &self.folder))
    }

    /// Adds `key` to the trusted ones, unless it is there. Says whether it was not.
    ///
    /// # Errors
    /// A file that is not to be trusted or cannot be written.
    pub fn trust(&self, key: &PublicKey, comment: &str) -> Result<bool, BundleError> {
        self.add(&self.trusted(), key, comment)
    }

    /// Adds `key` to the revoked ones, unless it is there. Says whether it was not.
    ///
    /// # Errors
    /// A file that is not to be trusted or cannot be written.
    pub fn revoke(&self, key: &PublicKey, comment: &str) -> Result<bool, BundleError> {
        self.add(&self.revoked(), key, comment)
    }

    /// One line, appended in one write: the file is right however many do it.
    fn add(&self, path: &Path, key: &PublicKey, comment: &str) -> Result<bool, BundleError> {
        self.make_folder()?;
        if keys_in(path)?.contains(key) {
            return Ok(false);
        }
        let comment = comment.replace(|c: char| c.is_control(), " ");
        let line = format!("{key} {comment}").trim_end().to_owned() + "\n";
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(fault("open", path))?;
        file.write_all(line.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(fault("write", path))?;
        Ok(true)
    }
}

/// The keys in a file; none if it is not there.
fn keys_in(path: &Path) -> Result<BTreeSet<PublicKey>, BundleError> {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(fault("look at", path)(error)),
    };
    let refused = |what: String| BundleError::Key {
        place: path.display().to_string(),
        wanted: "list of keys to rely on",
        what,
    };
    if ![rustix::process::geteuid().as_raw(), 0].contains(&metadata.uid()) {
        return Err(refused(format!("it belongs to user {}", metadata.uid())));
    }
    if metadata.mode() & 0o022 != 0 {
        let path = folder::quoted(path);
        return Err(refused(format!(
            "others can write it; run `chmod go-w {path}`"
        )));
    }
    if let Some(parent) = path.canonicalize().map_err(fault("open", path))?.parent() {
        folder::check(parent)?;
    }
    let text = std::fs::read_to_string(path).map_err(fault("read", path))?;
    let lines = text.lines().enumerate();
    let keys = lines.filter_map(|(number, line)| {
        let key = line.split_whitespace().next()?;
        let parsed = key
            .parse()
            .map_err(|_| refused(format!("line {} is no key", number + 1)));
        (!key.starts_with('#')).then_some(parsed)
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::super::SigningKey;
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn key() -> PublicKey {
        SigningKey::generate().expect("random").public_key()
    }

    fn private_folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn files_hold_what_was_trusted_and_revoked() {
        let folder = private_folder();
        let files = KeyFiles::in_folder(folder.path().join("rekindle"));
        let (first, second) = (key(), key());
        assert!(files.trust(&first, "build\nserver").expect("written"));
        assert!(!files.trust(&first, "").expect("there"));
        assert!(files.trust(&second, "").expect("written"));
        assert!(files.revoke(&second, "").expect("written"));
        let keys = TrustedKeys::choose(None, &files).expect("keys");
        assert!(keys.is_trusted(&first));
        assert!(!keys.is_trusted(&second) && keys.is_revoked(&second));
        assert_eq!(keys.iter().collect::<Vec<_>>(), [&first]);
        let text = std::fs::read_to_string(files.trusted()).expect("text");
        assert!(text.contains("build server\n"), "{text}");
    }

    #[test]
    fn the_variable_stands_for_the_file_but_revokes_nothing() {
        let folder = private_folder();
        let files = KeyFiles::in_folder(folder.path().join("rekindle"));
        let (in_file, named, revoked) = (key(), key(), key());
        files.trust(&in_file, "").expect("written");
        files.revoke(&revoked, "").expect("written");
        let variable = format!("{named}, {revoked}");
        let keys = TrustedKeys::choose(Some(variable.into()), &files).expect("keys");
        assert!(keys.is_trusted(&named));
        assert!(!keys.is_trusted(&in_file) && !keys.is_trusted(&revoked));
        let none = TrustedKeys::choose(Some(OsString::new()), &files).expect("no keys");
        assert_eq!(none.iter().count(), 0);
        assert!(TrustedKeys::choose(Some("nonsense".into()), &files).is_err());
    }

    #[test]
    fn files_that_others_can_write_are_refused() {
        let folder = private_folder();
        let files = KeyFiles::in_folder(folder.path().join("rekindle"));
        files.trust(&key(), "").expect("written");
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
        };
        for (path, bad, good) in [
            (files.trusted(), 0o620, 0o600),
            (files.folder.clone(), 0o770, 0o700),
        ] {
            mode(&path, bad);
            let error = TrustedKeys::choose(None, &files)
                .expect_err("refused")
                .to_string();
            assert!(error.contains("chmod"), "{error}");
            mode(&path, good);
        }
        TrustedKeys::choose(None, &files).expect("mended");
    }

    #[test]
    fn a_line_that_is_no_key_is_an_error_with_its_number() {
        let folder = private_folder();
        let files = KeyFiles::in_folder(folder.path().to_owned());
        let text = format!("# mine\n\n{} laptop\nnonsense\n", key());
        std::fs::write(files.trusted(), text).expect("written");
        let error = TrustedKeys::choose(None, &files)
            .expect_err("refused")
            .to_string();
        assert!(error.contains("line 4"), "{error}");
    }
}
