//! The folder of a store: where it is, how it is made, and when it is not to be trusted.
//!
//! Whoever can write the folder can have their code run by everyone who reads it. So a folder that
//! others can write, or that belongs to somebody else than the user or root, is refused, and so is one
//! whose parents would let others put another folder in its place. That goes for each folder on the way:
//!
//! - Its owner is the user or root. In a container that does not know the machine's root, the number that
//!   the kernel shows in its place is root's.
//! - Nobody else can write it. A sticky one, such as `/tmp`, may be written by all: there, nobody but its
//!   owner can rename or remove a folder, and that the folder is the user's own is checked as well. Write
//!   access for the group that has the user's own number lets nobody else in: distributions give each
//!   user such a group, and folders that it can write.
//! - A symbolic link on the way belongs to the user or root and lies in a folder of which all this is
//!   true, and so does what it leads to. The store's folder itself is none, nor is anything in it.

use crate::store::{FORMAT_VERSION, StoreError};
use std::ffi::OsString;
use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The environment variable that names the folder.
pub const FOLDER_VARIABLE: &str = "REKINDLE_DIR";

/// Tells backup programs to leave the folder out: <https://bford.info/cachedir/>.
const TAG_NAME: &str = "CACHEDIR.TAG";
const TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file is a cache directory tag created by Rekindle.\n\
    # For information about cache directory tags see https://bford.info/cachedir/\n";

/// The owner that the kernel shows for users whom a container does not know, such as the root outside.
const UNMAPPED_USER: u32 = 65534;

/// So many links may be on the way to a folder, as for the kernel.
const MOST_LINKS: u32 = 40;

/// The folder that `REKINDLE_DIR` names, else `rekindle` in the user's cache folder.
///
/// # Errors
/// [`StoreError::NoFolder`] if there is neither.
pub fn default_folder() -> Result<PathBuf, StoreError> {
    use etcetera::BaseStrategy as _;
    choose(std::env::var_os(FOLDER_VARIABLE), || {
        etcetera::base_strategy::choose_native_strategy().map(|strategy| strategy.cache_dir())
    })
}

fn choose<E: std::fmt::Display>(
    named: Option<OsString>,
    cache: impl FnOnce() -> Result<PathBuf, E>,
) -> Result<PathBuf, StoreError> {
    let no_folder = |reason: String| StoreError::NoFolder { reason };
    match named.filter(|name| !name.is_empty()) {
        Some(named) => std::path::absolute(&named).map_err(|error| no_folder(error.to_string())),
        None => cache()
            .map(|cache| cache.join("rekindle"))
            .map_err(|error| no_folder(error.to_string())),
    }
}

/// Makes the store's folder where it is not there, checks it, and gives the folder in it for files of
/// this version.
pub(crate) fn prepare(folder: &Path) -> Result<PathBuf, StoreError> {
    create(folder)?;
    let folder = resolve(folder)?;
    check(&folder)?;
    tag(&folder);
    let versioned = versioned(&folder);
    create(&versioned)?;
    check_own(&versioned)?;
    Ok(versioned)
}

/// Checks the store's folder and gives the folder in it for files of this version, without making
/// anything. `None` if there is none of this version.
pub(crate) fn find(folder: &Path) -> Result<Option<PathBuf>, StoreError> {
    let folder = resolve(folder)?;
    check(&folder)?;
    let versioned = versioned(&folder);
    match check_own(&versioned) {
        Ok(()) => Ok(Some(versioned)),
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn versioned(folder: &Path) -> PathBuf {
    folder.join(format!("v{FORMAT_VERSION}"))
}

fn create(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(fault("create", folder))
}

/// The path of `folder` without links. They are followed once, here: what is checked is what is used.
fn resolve(folder: &Path) -> Result<PathBuf, StoreError> {
    let absolute = std::path::absolute(folder).map_err(fault("open", folder))?;
    let metadata = absolute
        .symlink_metadata()
        .map_err(fault("open", &absolute))?;
    if metadata.is_symlink() {
        let target = absolute.canonicalize().map_err(fault("open", &absolute))?;
        return Err(StoreError::Untrusted {
            reason: "it is a symbolic link, which can be made to lead elsewhere".to_owned(),
            remedy: format!("set {FOLDER_VARIABLE} to {}", quoted(&target)),
            path: absolute,
        });
    }
    let mut resolved = PathBuf::from("/");
    let mut rest: Vec<OsString> = parts(&absolute);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            resolved.pop();
            continue;
        }
        let next = resolved.join(part);
        let metadata = next.symlink_metadata().map_err(fault("open", &next))?;
        if !metadata.is_symlink() {
            resolved = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            let source = io::Error::from_raw_os_error(libc::ELOOP);
            return Err(fault("open", folder)(source));
        }
        if !is_owner_trusted(metadata.uid()) {
            return Err(foreign(&next, &metadata));
        }
        check_parent(&resolved)?;
        let target = next.read_link().map_err(fault("open", &next))?;
        if target.is_absolute() {
            resolved = PathBuf::from("/");
        }
        rest.extend(parts(&target));
    }
    Ok(resolved)
}

/// The parts of a path without its root, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    use std::path::Component;
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn tag(folder: &Path) {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join(TAG_NAME))
        .and_then(|mut file| file.write_all(TAG));
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // The store works without; a folder that cannot be written is told of elsewhere.
        Err(error) => tracing::debug!(folder = %folder.display(), %error, "no {TAG_NAME}"),
    }
}

/// Checks the store's folder and all its parents.
pub(crate) fn check(folder: &Path) -> Result<(), StoreError> {
    check_own(folder)?;
    folder.ancestors().skip(1).try_for_each(check_parent)
}

/// Everything for which a store in `folder` would be refused, each with its remedy: a store names only
/// the first that it meets.
///
/// # Errors
/// A folder that is not there or cannot be reached.
pub fn problems(folder: &Path) -> Result<Vec<StoreError>, StoreError> {
    let folder = resolve(folder)?;
    let mut problems = Vec::new();
    problems.extend(check_own(&folder).err());
    problems.extend(
        folder
            .ancestors()
            .skip(1)
            .filter_map(|path| check_parent(path).err()),
    );
    let versioned = versioned(&folder);
    if versioned.symlink_metadata().is_ok() {
        problems.extend(check_own(&versioned).err());
    }
    Ok(problems)
}

fn check_own(path: &Path) -> Result<(), StoreError> {
    let metadata = path.symlink_metadata().map_err(fault("look at", path))?;
    if !metadata.is_dir() {
        return Err(fault("open", path)(io::ErrorKind::NotADirectory.into()));
    }
    if ![rustix::process::geteuid().as_raw(), 0].contains(&metadata.uid()) {
        return Err(foreign(path, &metadata));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(open_to_others(path, &metadata, "go-w"));
    }
    Ok(())
}

/// Who can write a parent can swap its folders, unless it is sticky.
fn check_parent(path: &Path) -> Result<(), StoreError> {
    let metadata = path.symlink_metadata().map_err(fault("look at", path))?;
    if !is_owner_trusted(metadata.uid()) {
        return Err(foreign(path, &metadata));
    }
    let mode = metadata.mode();
    let by_group = mode & 0o020 != 0 && !is_group_private(metadata.gid());
    let sticky = mode & 0o1000 != 0;
    if !sticky && (by_group || mode & 0o002 != 0) {
        return Err(open_to_others(
            path,
            &metadata,
            if by_group { "go-w" } else { "o-w" },
        ));
    }
    Ok(())
}

/// Whether the owner of a parent is the user or root.
fn is_owner_trusted(user: u32) -> bool {
    [rustix::process::geteuid().as_raw(), 0].contains(&user)
        || (user == UNMAPPED_USER && !knows_all_users())
}

/// Whether every number of a user is that user's here, so that 65534 is a user and no stand-in for root.
fn knows_all_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether the group is the user's own by its number, and the one that this process has.
fn is_group_private(group: u32) -> bool {
    group == rustix::process::getegid().as_raw() && group == rustix::process::geteuid().as_raw()
}

fn foreign(path: &Path, metadata: &Metadata) -> StoreError {
    StoreError::Untrusted {
        path: path.to_owned(),
        reason: format!(
            "it belongs to user {}, who can put any code in it",
            metadata.uid()
        ),
        remedy: format!("set {FOLDER_VARIABLE} to a folder of your own"),
    }
}

fn open_to_others(path: &Path, metadata: &Metadata, change: &str) -> StoreError {
    StoreError::Untrusted {
        path: path.to_owned(),
        reason: format!(
            "others can write it (mode {:04o})",
            metadata.mode() & 0o7777
        ),
        remedy: format!("run `chmod {change} {}`", quoted(path)),
    }
}

/// The path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    if path.chars().all(plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// Makes errors of one operation on one path.
pub(crate) fn fault<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("is there").mode() & 0o7777
    }

    #[test]
    fn the_variable_goes_before_the_cache_folder() {
        let cache = || Ok::<_, String>(PathBuf::from("/home/user/.cache"));
        let none = || Err("no home".to_owned());
        let chosen = |name: &str| choose(Some(name.into()), cache).expect("chosen");
        assert_eq!(chosen("/somewhere"), Path::new("/somewhere"));
        assert_eq!(chosen(""), Path::new("/home/user/.cache/rekindle"));
        assert!(chosen("relative").is_absolute());
        let error = choose(None, none)
            .expect_err("nothing to choose")
            .to_string();
        assert!(
            error.contains(FOLDER_VARIABLE) && error.contains("no home"),
            "{error}"
        );
    }

    #[test]
    fn folders_are_private_and_tagged() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("a/b");
        let versioned = prepare(&folder).expect("prepared");
        for path in [&parent.path().join("a"), &folder, &versioned] {
            assert_eq!(mode(path), 0o700, "{}", path.display());
        }
        let tag = std::fs::read(folder.join(TAG_NAME)).expect("tagged");
        assert!(tag.starts_with(b"Signature: 8a477f597d28d172789f06886806bc55"));
        prepare(&folder).expect("prepared again");
        assert_eq!(find(&folder).expect("found"), Some(versioned));
    }

    #[test]
    fn folders_that_others_can_write_are_refused_with_the_remedy() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("my store");
        let versioned = prepare(&folder).expect("prepared");
        for (path, bad) in [(&folder, 0o770), (&folder, 0o702), (&versioned, 0o720)] {
            set_permissions(path, Permissions::from_mode(bad)).expect("changed");
            let error = prepare(&folder).expect_err("refused").to_string();
            let remedy = format!("chmod go-w '{}'", path.display());
            assert!(error.contains(&remedy), "{error}");
            assert!(find(&folder).is_err());
            set_permissions(path, Permissions::from_mode(0o700)).expect("changed");
        }
        prepare(&folder).expect("mended");
    }

    #[test]
    fn parents_that_others_can_write_are_refused_unless_sticky() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("store");
        prepare(&folder).expect("prepared");
        set_permissions(parent.path(), Permissions::from_mode(0o777)).expect("changed");
        let error = prepare(&folder).expect_err("refused").to_string();
        assert!(error.contains("chmod o-w"), "{error}");
        set_permissions(parent.path(), Permissions::from_mode(0o1777)).expect("changed");
        prepare(&folder).expect("sticky");
    }

    #[test]
    fn the_stores_folder_is_no_link_and_links_on_the_way_are_looked_at() {
        use std::os::unix::fs::symlink;
        let parent = tempfile::tempdir().expect("a folder");
        let real = parent.path().join("real");
        let versioned = prepare(&real.join("store")).expect("prepared");
        symlink(real.join("store"), parent.path().join("link")).expect("linked");
        let error = prepare(&parent.path().join("link"))
            .expect_err("refused")
            .to_string();
        assert!(error.contains("symbolic link"), "{error}");
        let remedy = format!("{FOLDER_VARIABLE} to {}", real.join("store").display());
        assert!(error.contains(&remedy), "{error}");

        // The user's own link, to a folder of their own.
        symlink("real/../real", parent.path().join("way")).expect("linked");
        let found = find(&parent.path().join("way/store")).expect("trusted");
        assert_eq!(found, Some(versioned.clone()));
        // In a folder in which others can put another link.
        let open = parent.path().join("open");
        std::fs::create_dir(&open).expect("made");
        symlink(&real, open.join("way")).expect("linked");
        find(&open.join("way/store")).expect("not open yet");
        set_permissions(&open, Permissions::from_mode(0o777)).expect("changed");
        let error = find(&open.join("way/store"))
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains(&format!("chmod o-w {}", open.display())),
            "{error}"
        );

        symlink("round", parent.path().join("round")).expect("linked");
        assert!(find(&parent.path().join("round/store")).is_err());

        std::fs::remove_dir(&versioned).expect("removed");
        symlink(&real, &versioned).expect("linked");
        assert!(find(&real.join("store")).is_err(), "nor is what is in it");
        assert!(prepare(&real.join("store")).is_err());
    }

    #[test]
    fn a_parent_that_another_group_can_write_is_refused() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give a folder to any group.
            return;
        }
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("store");
        prepare(&folder).expect("prepared");
        set_permissions(parent.path(), Permissions::from_mode(0o775)).expect("changed");
        prepare(&folder).expect("the user's own group");
        std::os::unix::fs::chown(parent.path(), None, Some(1234)).expect("given away");
        let error = prepare(&folder).expect_err("refused").to_string();
        assert!(error.contains("chmod go-w"), "{error}");
        std::os::unix::fs::chown(parent.path(), Some(1234), Some(0)).expect("given away");
        let error = prepare(&folder).expect_err("refused").to_string();
        assert!(error.contains("belongs to user 1234"), "{error}");
    }

    #[test]
    fn a_file_in_the_way_is_an_error_with_its_path() {
        let parent = tempfile::tempdir().expect("a folder");
        let file = parent.path().join("file");
        std::fs::write(&file, b"").expect("written");
        let error = prepare(&file.join("store"))
            .expect_err("not a folder")
            .to_string();
        assert!(error.contains("file/store"), "{error}");
        assert!(find(&parent.path().join("missing")).is_err());
    }
}
