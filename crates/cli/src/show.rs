//! `rekindle show`: everything that is known of a definition's record, and its code.

use crate::arguments::{Place, Show};
use crate::disassembly;
use crate::exit::Exit;
use crate::image::ImageFacts;
use crate::print::Printer;
use crate::records::{Row, Seen, Source, hex, not_found, short, shown_name};
use crate::units::{ago, bytes, count, counted, duration, now};
use rekindle_cache_core::artifact::DependencyKind;
use rekindle_cache_core::checksum;
use rekindle_cache_core::metadata::{ArchivedDependencyRecord, BASE, NameRole};
use serde::Serialize;
use std::io::{self, Write};

/// A record with all that it says.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) row: Row,
    object_key: String,
    object_digest: String,
    /// `base` or `better`: which of the environment's compilers made the code.
    tier: &'static str,
    factory: String,
    defines: Vec<String>,
    defines_later: Vec<String>,
    references: Vec<String>,
    pub(crate) context: String,
    pub(crate) text_digest: String,
    pub(crate) dependencies: Vec<DependencyFacts>,
    side_tables: Vec<TableFacts>,
    file: String,
    offset: Option<u64>,
    checksum_right: bool,
    image: Option<ImageFacts>,
    /// Why there is no `image`.
    image_error: Option<String>,
}

/// A dependency, as people call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct DependencyFacts {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) scope: String,
    pub(crate) digest: String,
}

#[derive(Debug, Serialize)]
struct TableFacts {
    name: String,
    bytes: u64,
}

pub(crate) fn run(place: &Place, options: &Show, out: &mut Printer) -> anyhow::Result<Exit> {
    let source = Source::open(place, options.bundle.as_deref())?;
    let mut shown = source.find(&options.what, |seen| Shown::of(seen, !options.no_code));
    if shown.is_empty() {
        eprintln!("rekindle: {}", not_found(&source, &options.what));
        return Ok(Exit::Nothing);
    }
    let older = shown.len() - 1;
    if !options.all {
        shown.truncate(1);
    }
    out.print(&shown, |shown, out| {
        for (number, shown) in shown.iter().enumerate() {
            if number > 0 {
                writeln!(out, "\n")?;
            }
            shown.print(out)?;
        }
        if !options.all && older > 0 {
            writeln!(
                out,
                "\n{} older; `--all` shows them, and `rekindle why` how they differ",
                counted(older as u64, "record"),
            )?;
        }
        Ok(())
    })?;
    let damaged = shown.iter().any(|shown| !shown.checksum_right);
    Ok(if damaged { Exit::Found } else { Exit::Done })
}

impl Shown {
    pub(crate) fn of(seen: &Seen<'_>, code: bool) -> Self {
        let metadata = seen.record.metadata;
        let entry = &metadata.entry;
        let image = seen.record.image;
        let (facts, error) = match ImageFacts::of(image.bytes, code) {
            Ok(facts) => (Some(facts), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            row: Row::of(seen),
            object_key: metadata.manifest.object_key().to_string(),
            object_digest: hex(&entry.object_digest),
            tier: match entry.tier {
                BASE => "base",
                _ => "better",
            },
            factory: entry.factory.as_str().to_owned(),
            defines: owned(entry.names(NameRole::Defined)),
            defines_later: owned(entry.names(NameRole::DefinedLater)),
            references: owned(entry.names(NameRole::Referred)),
            context: metadata.entry.context.as_str().to_owned(),
            text_digest: hex(&metadata.entry.text_digest),
            dependencies: metadata
                .manifest
                .dependencies
                .iter()
                .map(DependencyFacts::of)
                .collect(),
            side_tables: entry
                .side_tables
                .iter()
                .map(|table| TableFacts {
                    name: table.name.as_str().to_owned(),
                    bytes: table.bytes.len() as u64,
                })
                .collect(),
            file: seen.file.display().to_string(),
            offset: seen.offset,
            checksum_right: checksum(image.bytes) == image.checksum,
            image: facts,
            image_error: error,
        }
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let row = &self.row;
        writeln!(out, "{}\n", shown_name(&row.name))?;
        let mut line = |name: &str, text: &str| writeln!(out, "  {name:<12} {text}");
        line("form key", &row.key)?;
        line("object key", &self.object_key)?;
        line("environment", &row.environment)?;
        line("source", &row.source)?;
        let created = match row.created {
            0 => String::new(),
            created => format!(", {}", ago(created, now())),
        };
        let by = match self.tier {
            "better" => ", by the better compiler",
            _ => "",
        };
        line(
            "compiled",
            &format!("in {}{created}{by}", duration(row.compile_ns)),
        )?;
        let used = match row.last_used {
            Some(used) => format!(
                "{} noted, last {}",
                counted(row.hits, "hit"),
                ago(used, now())
            ),
            None => "not noted".to_owned(),
        };
        line("used", &used)?;
        line("factory", &shown_name(&self.factory))?;
        let mut list = |name: &str, items: &[String]| {
            for (number, item) in items.iter().enumerate() {
                line(if number == 0 { name } else { "" }, &shown_name(item))?;
            }
            Ok::<(), io::Error>(())
        };
        list("defines", &self.defines)?;
        list("later", &self.defines_later)?;
        list("refers to", &self.references)?;
        let dependencies: Vec<String> = self
            .dependencies
            .iter()
            .map(DependencyFacts::line)
            .collect();
        match dependencies.as_slice() {
            [] => line("depends on", "nothing outside its own text and environment")?,
            dependencies => list("depends on", dependencies)?,
        }
        let place = match self.offset {
            Some(offset) => format!("{}, offset {offset}", self.file),
            None => self.file.clone(),
        };
        line("file", &place)?;
        for table in &self.side_tables {
            line(
                "side table",
                &format!("{}, {}", shown_name(&table.name), bytes(table.bytes)),
            )?;
        }
        if !self.checksum_right {
            line(
                "damaged",
                "the image is not what was compiled; run `rekindle verify --repair`",
            )?;
        }
        self.print_image(out)
    }

    fn print_image(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, text: &str| writeln!(out, "  {name:<12} {text}");
        let size = bytes(self.row.image_bytes);
        let Some(image) = &self.image else {
            let why = self.image_error.as_deref().unwrap_or_default();
            return line("image", &format!("{size}; {why}"));
        };
        line(
            "image",
            &format!(
                "{size}: {} of code, {} read-only in all, {} of data, {}",
                bytes(image.text_bytes),
                bytes(image.payload_bytes),
                bytes(image.data_bytes),
                counted(image.fixups, "fixup"),
            ),
        )?;
        for (name, names) in [("exports", &image.exports), ("imports", &image.imports)] {
            for (number, item) in names.iter().enumerate() {
                line(if number == 0 { name } else { "" }, &shown_name(item))?;
            }
        }
        if image.code.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{} instructions\n", count(image.code.len() as u64))?;
        disassembly::print(&image.code, out)
    }
}

impl DependencyFacts {
    pub(crate) fn of(dependency: &ArchivedDependencyRecord) -> Self {
        Self {
            kind: match dependency.kind() {
                Some(kind) => kind_name(kind),
                None => format!("kind {}", dependency.kind),
            },
            name: dependency.name.as_str().to_owned(),
            scope: dependency.scope.as_str().to_owned(),
            digest: dependency.digest().to_string(),
        }
    }

    /// For people: what it is, without its digest.
    pub(crate) fn in_words(&self) -> String {
        let name = shown_name(&self.name);
        match self.scope.as_str() {
            "" => format!("{} {name}", self.kind),
            sort if self.kind == DependencyKind::Host.name() => format!("{sort} {name}"),
            scope => format!("{} {name} in {}", self.kind, shown_name(scope)),
        }
    }

    fn line(&self) -> String {
        format!("{}  {}", short(&self.digest), self.in_words())
    }
}

fn owned<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    texts.map(str::to_owned).collect()
}

fn kind_name(kind: DependencyKind) -> String {
    kind.name().to_owned()
}
