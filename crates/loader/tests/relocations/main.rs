//! How each kind of relocation is proven, as a table that these tests write: `docs/relocations.md`.
//!
//! Each case is assembled, linked, loaded and run; where the layout can be made the same, lld links
//! the same object for the same addresses and the bytes are compared; and what cannot be right is
//! refused with an error that says where. The table holds what happened, so it cannot claim more. Run
//! with `REKINDLE_BLESS=1` to write it.

mod aarch64;
mod cases;
#[path = "../compiled/mod.rs"]
mod compiled;
#[path = "../foreign/mod.rs"]
mod foreign;
mod lld;
mod low;
mod macho;
mod names;
#[path = "../placed/mod.rs"]
mod placed;
#[path = "../whole/mod.rs"]
mod whole;
mod x86_64;

use cases::{CASES, Case, Proof};
use object::elf;
use rekindle_cache_core::artifact::Loader;
use rekindle_loader::{LinkError, LoadError, NativeLoader};
use std::collections::BTreeMap;
use std::path::Path;
use whole::{Answer, first_installed, skip};

/// What happened to a case.
enum Happened {
    Ran,
    RanAndCompared,
    Compared,
    Refused(LinkError),
}

/// The kinds of one target, and how they are tried.
struct Suite {
    title: &'static str,
    names: &'static [(u32, &'static str)],
    emitted: &'static [u32],
    try_case: fn(&Case, Option<&str>) -> Answer<Happened>,
}

const X86_64: Suite = Suite {
    title: "x86-64, ELF",
    names: names::X86_64,
    emitted: x86_64::EMITTED,
    try_case: x86_64::try_case,
};

const X86_64_LOW: Suite = Suite {
    title: "x86-64, ELF, not position-independent",
    names: low::KINDS,
    emitted: low::EMITTED,
    try_case: low::try_case,
};

const AARCH64: Suite = Suite {
    title: "AArch64, ELF",
    names: names::AARCH64,
    emitted: aarch64::EMITTED,
    try_case: aarch64::try_case,
};

const MACHO_X86_64: Suite = Suite {
    title: "x86-64, Mach-O",
    names: macho::X86_64,
    emitted: macho::X86_64_EMITTED,
    try_case: macho::try_x86_64,
};

const MACHO_ARM64: Suite = Suite {
    title: "arm64, Mach-O",
    names: macho::ARM64,
    emitted: macho::ARM64_EMITTED,
    try_case: macho::try_arm64,
};

/// What the usual linker makes of an object whose roots are `test` and the labels for lld.
fn link(object: &[u8]) -> Answer<Result<Vec<u8>, LinkError>> {
    link_by(&NativeLoader::new(), object)
}

/// What `loader` makes of such an object.
fn link_by(loader: &NativeLoader, object: &[u8]) -> Answer<Result<Vec<u8>, LinkError>> {
    let labels = lld::labels(object)?;
    let mut roots: Vec<&str> = labels.iter().map(String::as_str).collect();
    roots.push("test");
    match loader.prepare(object, &roots) {
        Ok(image) => Ok(Ok(image.bytes)),
        Err(LoadError::Link(error)) => Ok(Err(error)),
        Err(error) => Err(error.into()),
    }
}

/// Calls `with` with the kind in each relocation of `object`, as a place of four bytes.
fn each_kind(object: &mut [u8], mut with: impl FnMut(&mut [u8; 4])) -> Answer<()> {
    let number = |object: &[u8], at: usize, width: usize| -> Option<u64> {
        let mut bytes = [0; 8];
        bytes
            .get_mut(..width)?
            .copy_from_slice(object.get(at..at + width)?);
        Some(u64::from_le_bytes(bytes))
    };
    let outline = || Some((number(object, 40, 8)?, number(object, 60, 2)?));
    let (headers, count) = outline().ok_or("no ELF header")?;
    for header in (0..count).map(|index| (headers + index * 64) as usize) {
        let field = |at, width| number(object, header + at, width).ok_or("no section header");
        let (sort, start, size) = (field(4, 4)?, field(24, 8)?, field(32, 8)?);
        if sort != u64::from(elf::SHT_RELA) {
            continue;
        }
        let table = object.get_mut(start as usize..(start + size) as usize);
        for relocation in table.ok_or("no relocations")?.chunks_exact_mut(24) {
            let kind = relocation.get_mut(8..12).ok_or("a short relocation")?;
            with(kind.try_into()?);
        }
    }
    Ok(())
}

fn has_kind(object: &[u8], wanted: u32) -> Answer<bool> {
    let mut found = false;
    let mut object = object.to_vec();
    each_kind(&mut object, |kind| {
        found |= u32::from_le_bytes(*kind) == wanted;
    })?;
    Ok(found)
}

fn change_kind(object: &mut [u8], from: u32, to: u32) -> Answer<()> {
    each_kind(object, |kind| {
        if u32::from_le_bytes(*kind) == from {
            *kind = to.to_le_bytes();
        }
    })
}

impl Suite {
    /// Tries `cases`; the rows of the page, or what went wrong.
    fn try_all(&self, cases: &[Case], linker: Option<&str>) -> Result<String, String> {
        let mut rows = String::new();
        let mut wrong = Vec::new();
        let mut proven: BTreeMap<u32, usize> = BTreeMap::new();
        for case in cases {
            let name = self.name(case.kind);
            let happened = match (self.try_case)(case, linker) {
                Ok(happened) => happened,
                Err(error) => {
                    wrong.push(format!("{name}, {}: {error}", case.what));
                    continue;
                }
            };
            if let Happened::Refused(error) = &happened {
                let fault = match case.proof {
                    Proof::Refuse => fault_of(error, name),
                    _ => Some(error.to_string()),
                };
                if let Some(fault) = fault {
                    wrong.push(format!("{name}, {}: {fault}", case.what));
                }
            }
            let works = !matches!(happened, Happened::Refused(_));
            *proven.entry(case.kind).or_default() += usize::from(works);
            let (kind, what) = (case.kind, case.what);
            rows += &format!("| {kind} | {name} | {what} | {} |\n", proof(&happened));
        }
        for (kind, name) in self.names {
            if !proven.contains_key(kind) {
                wrong.push(format!("{name} is in no case"));
            }
        }
        for kind in self.emitted {
            if proven.get(kind).is_none_or(|cases| *cases == 0) {
                wrong.push(format!("{} is emitted by compilers", self.name(*kind)));
            }
        }
        match wrong.is_empty() {
            true => Ok(rows),
            false => Err(wrong.join("\n")),
        }
    }

    /// The specification's name of a kind.
    fn name(&self, kind: u32) -> &'static str {
        let known = self.names.iter().find(|(number, _)| *number == kind);
        known.map_or("unnamed", |(_, name)| name)
    }

    /// Holds the part of the page about this target against `rows`, or writes it.
    fn check_page(&self, rows: &str) -> Answer<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/relocations.md");
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        let head = format!(
            "## {}\n\n| number | kind | what it refers to | proven by |\n| ---: | --- | --- | --- |\n",
            self.title
        );
        if page.contains(&format!("{head}{rows}")) {
            return Ok(());
        }
        if std::env::var_os("REKINDLE_BLESS").is_none() {
            let title = self.title;
            return Err(format!(
                "the part on {title} of docs/relocations.md is out of date; run this test with REKINDLE_BLESS=1"
            )
            .into());
        }
        let start = page.find(&format!("## {}\n", self.title));
        let (before, rest) = page.split_at(start.unwrap_or(page.len()));
        let after = rest.get(2..).and_then(|rest| rest.find("\n## "));
        let after = after.and_then(|at| rest.get(at + 2..)).unwrap_or("");
        std::fs::write(&path, format!("{before}{head}{rows}{after}"))?;
        Ok(())
    }
}

/// What an error lacks that someone who reads it needs.
fn fault_of(error: &LinkError, name: &str) -> Option<String> {
    let text = error.to_string();
    // They all say the symbol, the section and the offset the same way; a number will do as a name.
    let says_where = text.contains("referred to at ") && text.contains("+0x");
    let says_what = text.contains(name) || text.contains("of an unknown name");
    // A contradiction of the object's has no kind.
    let is_malformed = matches!(error, LinkError::Malformed { .. });
    (!says_where || !(says_what || is_malformed))
        .then(|| format!("the error does not say where: {text}"))
}

/// What the page says of a case.
fn proof(happened: &Happened) -> String {
    match happened {
        Happened::Ran => "ran".to_owned(),
        Happened::RanAndCompared => "ran; lld".to_owned(),
        Happened::Compared => "lld".to_owned(),
        Happened::Refused(error) => format!("refused: `{}`", variant(error)),
    }
}

/// The name of an error's variant.
fn variant(error: &LinkError) -> String {
    let text = format!("{error:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text.get(..end.unwrap_or(text.len()))
        .unwrap_or_default()
        .to_owned()
}

/// Tries one target's cases, and holds the page against what happened.
fn prove(suite: &Suite, cases: &[Case]) -> Answer<()> {
    // One at a time: they write one file.
    static PAGE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let linker = first_installed(&["ld.lld-22", "ld.lld-21", "ld.lld-19", "ld.lld"]);
    let rows = suite.try_all(cases, linker)?;
    if linker.is_none() {
        skip("docs/relocations.md against lld", "lld is not installed");
        return Ok(());
    }
    let _turn = PAGE.lock().map_err(|error| error.to_string())?;
    suite.check_page(&rows)
}

#[test]
fn every_kind_of_x86_64() -> Answer<()> {
    prove(&X86_64, CASES)
}

#[test]
fn every_kind_of_x86_64_that_is_not_position_independent() -> Answer<()> {
    prove(&X86_64_LOW, low::CASES)
}

#[test]
fn every_kind_of_macho() -> Answer<()> {
    if !whole::is_installed("clang-22") {
        skip("relocations of Mach-O", "clang-22 is not installed");
        return Ok(());
    }
    prove(&MACHO_X86_64, macho::X86_64_CASES)?;
    if let Some(lack) = foreign::lacks() {
        skip("relocations of Mach-O arm64", lack);
        return Ok(());
    }
    prove(&MACHO_ARM64, macho::ARM64_CASES)
}

#[test]
fn every_kind_of_aarch64() -> Answer<()> {
    if let Some(lack) = foreign::lacks() {
        skip("relocations of AArch64", lack);
        return Ok(());
    }
    prove(&AARCH64, &aarch64::cases())
}
