//! `rekindle key`: the keys that sign bundles, and whose are trusted.

use crate::arguments::{Key, Place};
use crate::exit::Exit;
use crate::place::note_size;
use crate::print::Printer;
use crate::prune::Removed;
use crate::units::counted;
use rekindle_cache_core::bundle::{KeyFiles, PublicKey, SigningKey, TrustedKeys};
use rekindle_cache_core::store::Store as _;
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Serialize)]
struct Own {
    public_key: String,
    file: String,
}

#[derive(Debug, Serialize)]
struct Known {
    trusted: Vec<String>,
    revoked: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Changed {
    key: String,
    /// It was so before.
    already: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<Removed>,
}

pub(crate) fn run(place: &Place, key: &Key, out: &mut Printer) -> anyhow::Result<Exit> {
    let files = KeyFiles::of_user()?;
    match key {
        Key::New { out: path } => new(&files, path.clone(), out),
        Key::Show { key } => {
            let path = key.clone().unwrap_or_else(|| files.signing_key());
            if !path.exists() {
                anyhow::bail!(
                    "there is no key in {}: `rekindle key new` makes one",
                    path.display()
                );
            }
            let own = own(&SigningKey::read(&path)?, &path);
            out.print(&own, |own, out| writeln!(out, "{}", own.public_key))?;
            Ok(Exit::Done)
        }
        Key::List => {
            let keys = TrustedKeys::of_user()?;
            let known = Known {
                trusted: keys.iter().map(PublicKey::to_string).collect(),
                revoked: keys.revoked().map(PublicKey::to_string).collect(),
            };
            out.print(&known, Known::print)?;
            Ok(Exit::Done)
        }
        Key::Trust { key, comment } => {
            if TrustedKeys::of_user()?.is_revoked(key) {
                anyhow::bail!(
                    "{key} was revoked; if that was a mistake, remove its line from {}",
                    files.revoked().display()
                );
            }
            let changed = Changed {
                key: key.to_string(),
                already: !files.trust(key, comment)?,
                dropped: None,
            };
            out.print(&changed, |changed, out| {
                let already = if changed.already { "already " } else { "" };
                writeln!(out, "{} is {already}trusted", changed.key)
            })?;
            Ok(Exit::Done)
        }
        Key::Revoke { key, comment } => revoke(place, &files, key, comment, out),
    }
}

fn new(files: &KeyFiles, path: Option<PathBuf>, out: &mut Printer) -> anyhow::Result<Exit> {
    let path = match path {
        Some(path) => path,
        None => {
            files.make_folder()?;
            files.signing_key()
        }
    };
    if path.exists() {
        anyhow::bail!(
            "there is a key in {} already: `rekindle key show` prints its public half, and `--out FILE` \
             makes another one",
            path.display()
        );
    }
    let key = SigningKey::generate()?;
    key.write_new(&path)?;
    let own = own(&key, &path);
    out.print(&own, |own, out| {
        writeln!(out, "{}", own.public_key)?;
        writeln!(
            out,
            "The secret half is in {}; keep it to yourself.",
            own.file
        )?;
        writeln!(
            out,
            "Others trust it by `rekindle key trust {}`.",
            own.public_key
        )
    })?;
    Ok(Exit::Done)
}

/// The list comes first: records that a process imports meanwhile are refused already.
fn revoke(
    place: &Place,
    files: &KeyFiles,
    key: &PublicKey,
    comment: &str,
    out: &mut Printer,
) -> anyhow::Result<Exit> {
    let already = !files.revoke(key, comment)?;
    let dropped = match place.folder()?.exists() {
        true => {
            let bytes = key.to_bytes();
            let store = place.change()?;
            let before = store.statistics();
            let removed =
                Removed::of(&store.retain(&mut |record| record.provenance.key() != Some(bytes))?);
            if removed.removed > 0 {
                note_size(&store, &before);
            }
            removed
        }
        false => Removed::default(),
    };
    let exit = dropped.exit();
    let changed = Changed {
        key: key.to_string(),
        already,
        dropped: Some(dropped),
    };
    out.print(&changed, Changed::print_revoked)?;
    Ok(exit)
}

fn own(key: &SigningKey, path: &Path) -> Own {
    Own {
        public_key: key.public_key().to_string(),
        file: path.display().to_string(),
    }
}

impl Known {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for (what, keys) in [("trusted", &self.trusted), ("revoked", &self.revoked)] {
            for key in keys {
                writeln!(out, "{what}  {key}")?;
            }
        }
        Ok(())
    }
}

impl Changed {
    fn print_revoked(&self, out: &mut dyn Write) -> io::Result<()> {
        let already = if self.already { "already " } else { "" };
        write!(out, "{} is {already}revoked; ", self.key)?;
        match &self.dropped {
            Some(dropped) if dropped.busy => writeln!(
                out,
                "another process prunes or merges, so its records are still there: try again"
            ),
            Some(dropped) => writeln!(out, "{} dropped", counted(dropped.removed, "record")),
            None => writeln!(out, "nothing dropped"),
        }
    }
}
