//! What the subcommands read of a record, from the cache or from a bundle.

use crate::arguments::Place;
use anyhow::Context as _;
use rekindle_cache_core::bundle::{Acceptance, Bundle, BundleStore, TrustedKeys};
use rekindle_cache_core::metadata::NameRole;
use rekindle_cache_core::store::{FolderStore, Found, Provenance, Record, Store as _};
use rekindle_cache_core::{Digest, key::FormKey};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Digits of a key that identify it to a person: the 64 bits by which packs are searched.
pub(crate) const SHOWN_DIGITS: usize = 16;

/// What can be looked into.
pub(crate) enum Source {
    Cache(Box<FolderStore>),
    Bundle(PathBuf, BundleStore),
}

/// A record and where it was found.
pub(crate) struct Seen<'a> {
    pub(crate) record: Record<'a>,
    pub(crate) file: &'a Path,
    pub(crate) offset: Option<u64>,
    /// Bytes that it takes up in the file.
    pub(crate) bytes: u64,
    pub(crate) hits: u64,
    pub(crate) last_used: Option<u64>,
}

impl Source {
    /// The cache, or `bundle` if one is named. A bundle is only looked at, so nobody's word is needed.
    pub(crate) fn open(place: &Place, bundle: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = bundle else {
            return Ok(Self::Cache(Box::new(place.look()?.1)));
        };
        let store =
            Bundle::open(path)?.accept(&Acceptance::of(&TrustedKeys::none()).or_unsigned())?;
        Ok(Self::Bundle(path.to_owned(), store))
    }

    /// Shows `visit` every record that has code. Damage is passed over.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(Seen<'_>) -> ControlFlow<()>) {
        self.each_record(&mut |seen| match seen.record.metadata.entry.is_pointer() {
            true => ControlFlow::Continue(()),
            false => visit(seen),
        });
    }

    fn each_record(&self, visit: &mut dyn FnMut(Seen<'_>) -> ControlFlow<()>) {
        match self {
            Self::Cache(store) => store.inventory(&mut |listed| {
                visit(Seen {
                    record: listed.record,
                    file: listed.file,
                    offset: Some(listed.offset),
                    bytes: listed.bytes,
                    hits: listed.hits,
                    last_used: listed.last_used,
                })
            }),
            Self::Bundle(path, store) => store.for_each(&mut |found| match found {
                Found::Record(record) => visit(Seen {
                    record,
                    file: path,
                    offset: None,
                    bytes: record.image.bytes.len() as u64,
                    hits: 0,
                    last_used: None,
                }),
                _ => ControlFlow::Continue(()),
            }),
        }
    }

    /// Makes something of every record of the definition that `what` names, newest first.
    pub(crate) fn find<T>(&self, what: &str, mut make: impl FnMut(&Seen<'_>) -> T) -> Vec<T> {
        let mut found = Vec::new();
        self.each(&mut |seen| {
            let entry = &seen.record.metadata.entry;
            let is_named = entry.name == what
                || entry.names(NameRole::Defined).any(|name| name == what)
                || is_key_start(what, &seen.record.key);
            if is_named {
                found.push((entry.created.to_native(), make(&seen)));
            }
            ControlFlow::Continue(())
        });
        // Stable: of the same second, the source's order stays.
        found.sort_by_key(|(created, _)| std::cmp::Reverse(*created));
        found.into_iter().map(|(_, made)| made).collect()
    }

    /// Names that look like `what`, the likeliest first.
    pub(crate) fn similar(&self, what: &str) -> Vec<String> {
        let wanted = last_part(what).to_lowercase();
        let mut names = Vec::new();
        self.each(&mut |seen| {
            let name = seen.record.metadata.entry.name.as_str();
            let distance = distance(&wanted, &last_part(name).to_lowercase());
            if distance <= 2.max(wanted.len() / 3) {
                names.push((distance, name.to_owned()));
            }
            ControlFlow::Continue(())
        });
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|(_, name)| name).take(5).collect()
    }
}

/// The error for a name that no record has.
pub(crate) fn not_found(source: &Source, what: &str) -> String {
    let similar = source.similar(what);
    let place = match source {
        Source::Cache(_) => "the cache".to_owned(),
        Source::Bundle(path, _) => path.display().to_string(),
    };
    let mut text = format!("no record of {} in {place}", what.escape_debug());
    if !similar.is_empty() {
        text.push_str("; there are records of ");
        text.push_str(&similar.join(", "));
    }
    text
}

fn is_key_start(what: &str, key: &FormKey) -> bool {
    what.len() >= 8
        && what.chars().all(|digit| digit.is_ascii_hexdigit())
        && key.to_string().starts_with(&what.to_lowercase())
}

fn last_part(name: &str) -> &str {
    match name.rsplit_once('/') {
        Some((_, last)) if !last.is_empty() => last,
        _ => name,
    }
}

/// Letters to be changed, added or left out to get from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in (1..).zip(from.chars()) {
        let mut diagonal = row.first().copied().unwrap_or(0);
        let mut left = line;
        for (place, other) in to.iter().enumerate() {
            let Some(cell) = row.get_mut(place) else {
                break;
            };
            *cell = left;
            let Some(above) = row.get(place + 1).copied() else {
                break;
            };
            let changed = diagonal + usize::from(letter != *other);
            left = changed.min(above + 1).min(left + 1);
            diagonal = above;
        }
        if let Some(last) = row.last_mut() {
            *last = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The start of a digest, for people.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..SHOWN_DIGITS).unwrap_or(digest)
}

/// A digest of the metadata in full.
pub(crate) fn hex(digest: &[u8; 32]) -> String {
    Digest(*digest).to_string()
}

/// Where a record comes from, as JSON and `--source` have it.
pub(crate) fn source_name(provenance: Provenance) -> String {
    match provenance.key() {
        Some(key) => rekindle_cache_core::bundle::PublicKey::from_bytes(key).to_string(),
        None if provenance == Provenance::OWN => "own".to_owned(),
        None => "unsigned".to_owned(),
    }
}

/// A record in a list.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) environment: String,
    pub(crate) source: String,
    pub(crate) image_bytes: u64,
    pub(crate) bytes: u64,
    pub(crate) compile_ns: u64,
    pub(crate) created: u64,
    pub(crate) hits: u64,
    pub(crate) last_used: Option<u64>,
}

impl Row {
    pub(crate) fn of(seen: &Seen<'_>) -> Self {
        let entry = &seen.record.metadata.entry;
        Self {
            key: seen.record.key.to_string(),
            name: entry.name.as_str().to_owned(),
            environment: hex(&entry.environment),
            source: source_name(seen.record.provenance),
            image_bytes: seen.record.image.bytes.len() as u64,
            bytes: seen.bytes,
            compile_ns: entry.compile_ns.to_native(),
            created: entry.created.to_native(),
            hits: seen.hits,
            last_used: seen.last_used,
        }
    }
}

/// The name of a definition for people: never empty, on one line.
pub(crate) fn shown_name(name: &str) -> String {
    match name {
        "" => "(no name)".to_owned(),
        name => name.chars().fold(String::new(), |mut shown, letter| {
            if letter.is_control() {
                shown.extend(letter.escape_default());
            } else {
                shown.push(letter);
            }
            shown
        }),
    }
}

/// Opens a bundle that the user trusts.
pub(crate) fn trusted_bundle(path: &Path, allow_unsigned: bool) -> anyhow::Result<BundleStore> {
    let trusted = TrustedKeys::of_user().context("it cannot be told which keys are trusted")?;
    let acceptance = Acceptance::of(&trusted);
    let acceptance = if allow_unsigned {
        acceptance.or_unsigned()
    } else {
        acceptance
    };
    Ok(Bundle::open(path)?.accept(&acceptance)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_near() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "abd"), 1);
        assert_eq!(distance("abc", "ab"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(last_part("user/one"), "one");
        assert_eq!(last_part("/"), "/");
    }
}
