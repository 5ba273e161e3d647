//! `rekindle doctor`: what keeps the cache from working, and the command that mends it.

use crate::arguments::Place;
use crate::exit::Exit;
use crate::print::Printer;
use crate::progress::{Bar, Counted};
use crate::records::source_name;
use crate::units::{bytes, counted};
use rekindle_cache_core::bundle::{PublicKey, TrustedKeys};
use rekindle_cache_core::folder;
use rekindle_cache_core::store::{FolderStore, Limits, StoreError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// With less free space than this, a flush will soon fail.
const LITTLE_SPACE: u64 = 64 << 20;

/// Files of the folder that are looked at one by one; more mean that packs are not merged.
const MANY_PACKS: u64 = 200;

#[derive(Debug, Serialize)]
struct Findings {
    folder: String,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    what: String,
    /// The command that mends it, or what to do.
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Good,
    Note,
    Problem,
}

pub(crate) fn run(place: &Place, out: &mut Printer) -> anyhow::Result<Exit> {
    let folder = place.folder()?;
    let mut findings = Findings {
        folder: folder.display().to_string(),
        checks: Vec::new(),
    };
    findings.limits();
    let is_there = findings.folder_is_there(&folder);
    findings.file_system(&folder);
    if is_there && findings.trust(&folder) {
        findings.versions(&folder);
        match FolderStore::open_read_only(&folder) {
            Ok(store) => {
                findings.files(&store);
                findings.contents(&store);
                findings.sources(&store);
            }
            Err(error) => findings.problem("contents", error.to_string(), None),
        }
    }
    let worst = findings.checks.iter().map(|check| check.state).max();
    out.print(&findings, Findings::print)?;
    Ok(match worst {
        Some(State::Problem) => Exit::Found,
        _ => Exit::Done,
    })
}

impl Findings {
    fn add(&mut self, name: &'static str, state: State, what: String, remedy: Option<String>) {
        self.checks.push(Check {
            name,
            state,
            what,
            remedy,
        });
    }

    fn good(&mut self, name: &'static str, what: impl Into<String>) {
        self.add(name, State::Good, what.into(), None);
    }

    fn note(&mut self, name: &'static str, what: String, remedy: Option<String>) {
        self.add(name, State::Note, what, remedy);
    }

    fn problem(&mut self, name: &'static str, what: String, remedy: Option<String>) {
        self.add(name, State::Problem, what, remedy);
    }

    fn limits(&mut self) {
        match Limits::from_environment() {
            Ok(limits) => {
                let what = format!(
                    "{} and {}",
                    bytes(limits.max_bytes),
                    counted(limits.max_entries, "record")
                );
                self.good("limits", what);
            }
            Err(error) => {
                let remedy = "set the variable as said, or unset it".to_owned();
                self.problem("limits", error.to_string(), Some(remedy));
            }
        }
    }

    fn folder_is_there(&mut self, folder: &Path) -> bool {
        let shown = quoted(folder);
        match folder.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let writable = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK);
                match writable {
                    Ok(()) => self.good("folder", "there, and can be written"),
                    Err(error) => self.note(
                        "folder",
                        format!("there, and can only be read ({error}): nothing new is kept"),
                        None,
                    ),
                }
                true
            }
            Ok(_) => {
                let remedy = format!("mv {shown} {shown}.aside");
                self.problem(
                    "folder",
                    "there is something else in its place".to_owned(),
                    Some(remedy),
                );
                false
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let what = "not there yet: the first process that keeps something makes it";
                self.note("folder", what.to_owned(), None);
                false
            }
            Err(error) => {
                let remedy = format!("set {} to a folder of your own", folder::FOLDER_VARIABLE);
                self.problem(
                    "folder",
                    format!("cannot be reached: {error}"),
                    Some(remedy),
                );
                false
            }
        }
    }

    /// Whether the store's own check lets the folder pass.
    fn trust(&mut self, folder: &Path) -> bool {
        let problems = match folder::problems(folder) {
            Ok(problems) => problems,
            Err(error) => {
                self.problem("trust", error.to_string(), None);
                return false;
            }
        };
        let trusted = problems.is_empty();
        if trusted {
            self.good("trust", "nobody else can put code in it");
        }
        for problem in problems {
            match problem {
                StoreError::Untrusted {
                    path,
                    reason,
                    remedy,
                } => self.problem(
                    "trust",
                    format!("{}: {reason}", path.display()),
                    Some(command_in(&remedy)),
                ),
                other => self.problem("trust", other.to_string(), None),
            }
        }
        trusted
    }

    fn file_system(&mut self, folder: &Path) {
        // Of a folder that is yet to be made, the file system is that of the nearest parent.
        let Some(there) = folder.ancestors().find(|path| path.is_dir()) else {
            return;
        };
        match rustix::fs::statfs(there) {
            Ok(status) => {
                let (name, note) = kind_of_file_system(status.f_type as u64);
                match note {
                    Some(note) => self.note("file system", format!("{name}: {note}"), None),
                    None => self.good("file system", name),
                }
            }
            Err(error) => self.note("file system", format!("unknown: {error}"), None),
        }
        if let Ok(status) = rustix::fs::statvfs(there) {
            let free = status.f_bavail.saturating_mul(status.f_frsize);
            let what = format!("{} free", bytes(free));
            if status.f_files > 0 && status.f_favail == 0 {
                let remedy = "remove files: the file system has no inodes left".to_owned();
                self.problem("space", "no file can be made".to_owned(), Some(remedy));
            } else if free < LITTLE_SPACE {
                let remedy = "rekindle prune --max-bytes 100M".to_owned();
                self.problem("space", what, Some(remedy));
            } else {
                self.good("space", what);
            }
        }
    }

    fn versions(&mut self, folder: &Path) {
        let ours = FolderStore::open_read_only(folder);
        let ours = ours
            .as_ref()
            .ok()
            .and_then(|store| store.folder().file_name());
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        let mut others = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let is_version = text.strip_prefix('v').is_some_and(|number| {
                !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit())
            });
            if is_version && Some(name.as_os_str()) != ours && entry.path().is_dir() {
                others.push(entry.path());
            }
        }
        if others.is_empty() {
            return self.good("versions", "only this one's files");
        }
        for other in others {
            let what = format!(
                "{} has another version's files, {}; they are not in the way",
                other.display(),
                bytes(size_of_folder(&other))
            );
            let remedy = format!(
                "rm -r {}   # if that version is not used any more",
                quoted(&other)
            );
            self.note("versions", what, Some(remedy));
        }
    }

    fn files(&mut self, store: &FolderStore) {
        let Ok(entries) = std::fs::read_dir(store.folder()) else {
            return;
        };
        let user = rustix::process::geteuid().as_raw();
        let mut bad = 0;
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(metadata) = path.symlink_metadata() else {
                continue;
            };
            let shown = quoted(&path);
            let (what, remedy) = if metadata.is_symlink() {
                ("is a link, which is not followed", format!("rm {shown}"))
            } else if ![user, 0].contains(&metadata.uid()) {
                (
                    "belongs to somebody else, and is not used",
                    format!("rm -r {shown}"),
                )
            } else if metadata.mode() & 0o022 != 0 {
                (
                    "can be written by others, and is not used",
                    format!("rm -r {shown}"),
                )
            } else {
                continue;
            };
            bad += 1;
            self.problem("files", format!("{} {what}", path.display()), Some(remedy));
        }
        if bad == 0 {
            self.good("files", "all yours, and nobody else can write them");
        }
        if let Ok(usage) = store.usage() {
            if usage.pack_files > MANY_PACKS {
                self.note(
                    "packs",
                    format!(
                        "{}: look-ups go through all of them",
                        counted(usage.pack_files, "pack")
                    ),
                    Some("rekindle pack".to_owned()),
                );
            }
            if usage.retired > 0 {
                let what = format!(
                    "{} are replaced, and go when the processes that use them end",
                    bytes(usage.retired)
                );
                self.note("packs", what, None);
            }
        }
    }

    fn contents(&mut self, store: &FolderStore) {
        let bar = Bar::new("checking", Counted::Bytes);
        let verified = store.verify(&mut |step| bar.set(step.done, step.total));
        drop(bar);
        match verified {
            Ok(verified) if verified.damage.is_empty() => {
                let what = format!(
                    "{} in {}, every byte as it was written",
                    counted(verified.records, "record"),
                    counted(verified.packs, "pack")
                );
                self.good("contents", what);
            }
            Ok(verified) => {
                for damage in &verified.damage {
                    let remedy = "rekindle verify --repair".to_owned();
                    self.problem("contents", damage.to_string(), Some(remedy));
                }
            }
            Err(error) => self.problem("contents", error.to_string(), None),
        }
        match store.quarantined() {
            Ok(aside) => {
                for aside in aside {
                    let what = format!(
                        "{}, {}, was set aside: {}",
                        aside.file.display(),
                        bytes(aside.bytes),
                        aside.reason.trim_end()
                    );
                    let remedy = format!("rm {}   # or keep it for a report", quoted(&aside.file));
                    self.note("quarantine", what, Some(remedy));
                }
            }
            Err(error) => self.problem("quarantine", error.to_string(), None),
        }
    }

    /// Records of signers that are not trusted (any more).
    fn sources(&mut self, store: &FolderStore) {
        let keys = match TrustedKeys::of_user() {
            Ok(keys) => keys,
            Err(error) => return self.problem("keys", error.to_string(), None),
        };
        let mut sources: BTreeMap<String, (u64, Option<PublicKey>)> = BTreeMap::new();
        store.inventory(&mut |listed| {
            let provenance = listed.record.provenance;
            let key = provenance.key().map(PublicKey::from_bytes);
            sources.entry(source_name(provenance)).or_insert((0, key)).0 += 1;
            ControlFlow::Continue(())
        });
        let before = self.checks.len();
        for (source, (records, key)) in sources {
            let records = counted(records, "record");
            match key {
                Some(key) if keys.is_revoked(&key) => self.problem(
                    "keys",
                    format!("{records} signed by {key}, which was revoked"),
                    Some(format!("rekindle key revoke {key}")),
                ),
                Some(key) if !keys.is_trusted(&key) => self.note(
                    "keys",
                    format!("{records} signed by {key}, which is not trusted"),
                    Some(format!(
                        "rekindle key revoke {key}   # or: rekindle key trust {key}"
                    )),
                ),
                None if source == "unsigned" => self.note(
                    "keys",
                    format!("{records} that nobody vouches for"),
                    Some("rekindle clear --source unsigned".to_owned()),
                ),
                _ => {}
            }
        }
        if self.checks.len() == before {
            self.good(
                "keys",
                "every record was compiled here, or signed by a trusted key",
            );
        }
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}\n", self.folder)?;
        for check in &self.checks {
            let mark = match check.state {
                State::Good => "good",
                State::Note => "note",
                State::Problem => "PROBLEM",
            };
            writeln!(out, "  {mark:<8} {:<12} {}", check.name, check.what)?;
            if let Some(remedy) = &check.remedy {
                writeln!(out, "  {:<8} {:<12}   {remedy}", "", "")?;
            }
        }
        let count = |state| {
            self.checks
                .iter()
                .filter(|check| check.state == state)
                .count() as u64
        };
        match count(State::Problem) {
            0 => writeln!(out, "\nNothing keeps the cache from working."),
            problems => writeln!(
                out,
                "\n{}; below each stands what mends it.",
                counted(problems, "problem")
            ),
        }
    }
}

/// The command in the store's words, or the words.
fn command_in(remedy: &str) -> String {
    match remedy.split('`').nth(1) {
        Some(command) => command.to_owned(),
        None => remedy.to_owned(),
    }
}

/// A file system's name by the number that `statfs` gives, and what it means for a cache.
fn kind_of_file_system(number: u64) -> (&'static str, Option<&'static str>) {
    let network = Some("packs are read, not mapped, as another machine may change them");
    match number & 0xffff_ffff {
        0xef53 => ("ext4", None),
        0x5846_5342 => ("xfs", None),
        0x9123_683e => ("btrfs", None),
        0x2fc1_2fc1 => ("zfs", None),
        0xf2f5_2010 => ("f2fs", None),
        0x794c_7630 => (
            "overlay",
            Some("a container's own: what is kept goes with it, unless the folder is a volume"),
        ),
        0x0102_1994 | 0x8584_58f6 => ("tmpfs", Some("in memory: nothing outlives the next boot")),
        0x6969 => ("nfs", network),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => ("smb", network),
        0x6573_5546 => ("fuse", network),
        0x0102_1997 => ("9p", network),
        0x00c3_6400 => ("ceph", network),
        0x0bd0_0bd0 => ("lustre", network),
        _ => ("one without a known name", None),
    }
}

fn size_of_folder(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size_of_folder(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
        _ => 0,
    });
    sizes.sum()
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    match path.chars().all(plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}
