//! `rekindle verify`: reads every byte and checks it.

use crate::arguments::{Place, Verify};
use crate::exit::Exit;
use crate::print::Printer;
use crate::progress::{Bar, Counted};
use crate::records::Source;
use crate::units::{bytes, counted};
use rekindle_cache_core::store::Damage;
use serde::Serialize;
use std::io::{self, Write};

#[derive(Debug, Default, Serialize)]
struct Checked {
    packs: u64,
    records: u64,
    bytes: u64,
    damage: Vec<Damaged>,
    /// Packs set aside, if that was asked for.
    set_aside: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Damaged {
    file: Option<String>,
    offset: u64,
    what: String,
}

pub(crate) fn run(place: &Place, options: &Verify, out: &mut Printer) -> anyhow::Result<Exit> {
    if let Some(path) = &options.bundle {
        let source = Source::open(place, Some(path))?;
        let mut checked = Checked::default();
        if let Source::Bundle(_, store) = &source {
            let bar = Bar::new("checking", Counted::Records);
            store.verify(&mut |step| bar.set(step.done, step.total))?;
            checked.packs = 1;
            checked.records = store.bundle().records();
            checked.bytes = store.bundle().bytes();
        }
        out.print(&checked, Checked::print)?;
        return Ok(Exit::Done);
    }
    let store = match options.repair {
        true => place.change()?,
        false => place.look()?.1,
    };
    let bar = Bar::new("checking", Counted::Bytes);
    let verified = store.verify(&mut |step| bar.set(step.done, step.total))?;
    drop(bar);
    let mut checked = Checked {
        packs: verified.packs,
        records: verified.records,
        bytes: verified.bytes,
        damage: verified.damage.iter().map(Damaged::of).collect(),
        set_aside: None,
    };
    if options.repair {
        checked.set_aside = Some(store.set_aside_damaged()?);
    }
    out.print(&checked, Checked::print)?;
    Ok(match checked.damage.is_empty() || options.repair {
        true => Exit::Done,
        false => Exit::Found,
    })
}

impl Damaged {
    fn of(damage: &Damage) -> Self {
        Self {
            file: damage.file.as_ref().map(|file| file.display().to_string()),
            offset: damage.offset,
            what: damage.what.clone(),
        }
    }
}

impl Checked {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for damage in &self.damage {
            let file = damage.file.as_deref().unwrap_or("(in memory)");
            writeln!(out, "{file}, offset {}: {}", damage.offset, damage.what)?;
        }
        let whole = format!(
            "{} and {} in {}",
            counted(self.records, "record"),
            bytes(self.bytes),
            counted(self.packs, "file"),
        );
        match (self.damage.len() as u64, self.set_aside) {
            (0, _) => writeln!(out, "{whole}: all good"),
            (damage, None) => writeln!(
                out,
                "{whole}: {} damaged; `rekindle verify --repair` sets them aside and keeps the rest",
                counted(damage, "place"),
            ),
            (_, Some(packs)) => writeln!(
                out,
                "{whole}: {} set aside; what was intact in them is kept",
                counted(packs, "damaged pack"),
            ),
        }
    }
}
