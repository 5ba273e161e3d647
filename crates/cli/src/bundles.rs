//! `rekindle export` and `rekindle import`.

use crate::arguments::{Export, Import, Place};
use crate::exit::Exit;
use crate::place::note_size;
use crate::print::Printer;
use crate::progress::{Bar, Counted};
use crate::records::{source_name, trusted_bundle};
use crate::units::{bytes, count, counted};
use anyhow::{Context as _, bail};
use rekindle_cache_core::bundle::{self, KeyFiles, SigningKey};
use rekindle_cache_core::store::{Provenance, Record, Store as _};
use serde::Serialize;
use std::io::{self, Write};

#[derive(Debug, Serialize)]
struct Exported {
    file: String,
    records: u64,
    bytes: u64,
    signer: Option<String>,
    damaged: u64,
    /// Records that came from elsewhere and were left out.
    foreign: u64,
}

#[derive(Debug, Serialize)]
struct Imported {
    file: String,
    source: String,
    records: u64,
    present: u64,
    other_version: u64,
}

pub(crate) fn export(place: &Place, options: &Export, out: &mut Printer) -> anyhow::Result<Exit> {
    let (_, store) = place.look()?;
    let key = match options.unsigned {
        true => None,
        false => Some(signing_key(options)?),
    };
    let mut foreign = 0;
    let export = bundle::Export { key: key.as_ref() };
    let is_ours = |record: &Record<'_>| options.all_sources || record.provenance == Provenance::OWN;
    rekindle_cache_core::store::Store::for_each(&store, &mut |found| {
        if let rekindle_cache_core::store::Found::Record(record) = found {
            foreign += u64::from(options.selection.has(&record) && !is_ours(&record));
        }
        std::ops::ControlFlow::Continue(())
    });
    let bar = Bar::new("exporting", Counted::Records);
    let done = export.run(
        &store,
        &options.file,
        &mut |record| options.selection.has(record) && is_ours(record),
        &mut |step| bar.set(step.done, step.total),
    )?;
    drop(bar);
    let exported = Exported {
        file: options.file.display().to_string(),
        records: done.records,
        bytes: done.bytes,
        signer: key.map(|key| key.public_key().to_string()),
        damaged: done.damaged,
        foreign,
    };
    out.print(&exported, Exported::print)?;
    Ok(match (exported.records, exported.damaged) {
        (0, _) => Exit::Nothing,
        (_, 0) => Exit::Done,
        _ => Exit::Found,
    })
}

fn signing_key(options: &Export) -> anyhow::Result<SigningKey> {
    let path = match &options.key {
        Some(path) => path.clone(),
        None => {
            let path = KeyFiles::of_user()?.signing_key();
            if !path.exists() {
                bail!(
                    "there is no key to sign with: run `rekindle key new`, name one by `--key FILE`, or \
                     pass `--unsigned`"
                );
            }
            path
        }
    };
    SigningKey::read(&path).context("the bundle cannot be signed")
}

pub(crate) fn import(place: &Place, options: &Import, out: &mut Printer) -> anyhow::Result<Exit> {
    let bundle = trusted_bundle(&options.file, options.allow_unsigned)?;
    let store = place.make()?;
    let before = store.statistics();
    let bar = Bar::new("importing", Counted::Records);
    let done = bundle.import_into(&store, &mut |step| bar.set(step.done, step.total))?;
    drop(bar);
    if done.records > 0 {
        note_size(&store, &before);
    }
    let imported = Imported {
        file: options.file.display().to_string(),
        source: source_name(bundle.provenance()),
        records: done.records,
        present: done.present,
        other_version: done.other_version,
    };
    out.print(&imported, Imported::print)?;
    Ok(Exit::Done)
}

impl Exported {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let signed = match &self.signer {
            Some(signer) => format!("signed by {signer}"),
            None => "not signed".to_owned(),
        };
        writeln!(
            out,
            "{}: {}, {}, {signed}",
            self.file,
            counted(self.records, "record"),
            bytes(self.bytes),
        )?;
        if self.foreign > 0 {
            writeln!(
                out,
                "{} from elsewhere left out (`--all-sources` vouches for them)",
                counted(self.foreign, "record")
            )?;
        }
        if self.damaged > 0 {
            writeln!(
                out,
                "{} left out (`rekindle verify` says more)",
                counted(self.damaged, "damaged record")
            )?;
        }
        Ok(())
    }
}

impl Imported {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let source = match self.source.as_str() {
            "unsigned" => "nobody vouches for them".to_owned(),
            signer => format!("{signer} vouches for them"),
        };
        writeln!(
            out,
            "{} taken over, {} there already; {source}",
            counted(self.records, "record"),
            count(self.present),
        )?;
        if self.other_version > 0 {
            writeln!(
                out,
                "{} of another version passed over",
                counted(self.other_version, "record")
            )?;
        }
        Ok(())
    }
}
