//! How each kind of relocation is proven, as a table that these tests write: `docs/relocations.md`.
//!
//! Each case is assembled, linked, loaded and run; where the layout can be made the same, lld links
//! the same object for the same addresses and the bytes are compared; and what cannot be right is
//! refused with an error that says where. The table holds what happened, so it cannot claim more. Run
//! with `REKINDLE_BLESS=1` to write it.

mod cases;
#[path = "../compiled/mod.rs"]
mod compiled;
mod lld;
#[path = "../whole/mod.rs"]
mod whole;

use cases::{CASES, Case, Meet, Proof};
use compiled::{Host, assembly, function};
use object::elf;
use rekindle_cache_core::artifact::{Loader, Symbols};
use rekindle_loader::{LinkError, LoadError, NativeLoader};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use whole::{Answer, first_installed, skip};

/// Kinds that compilers emit for position-independent code, the large model and all models of
/// thread-locals included: none of them may be refused altogether.
const EMITTED: &[u32] = &[
    elf::R_X86_64_64,
    elf::R_X86_64_PC32,
    elf::R_X86_64_PLT32,
    elf::R_X86_64_GOTPCREL,
    elf::R_X86_64_GOTPCRELX,
    elf::R_X86_64_REX_GOTPCRELX,
    elf::R_X86_64_CODE_4_GOTPCRELX,
    elf::R_X86_64_TLSGD,
    elf::R_X86_64_TLSLD,
    elf::R_X86_64_DTPOFF32,
    elf::R_X86_64_GOTTPOFF,
    elf::R_X86_64_GOTPC32_TLSDESC,
    elf::R_X86_64_TLSDESC_CALL,
    elf::R_X86_64_GOT64,
    elf::R_X86_64_GOTOFF64,
    elf::R_X86_64_GOTPC64,
    elf::R_X86_64_PC64,
    elf::R_X86_64_PLTOFF64,
];

/// What a slot of a case leads to.
static OUTSIDE_DATA: i32 = 42;

/// What happened to a case.
enum Happened {
    Ran,
    RanAndCompared,
    Compared,
    Refused(LinkError),
}

/// Links, loads, runs and compares one case.
fn try_case(case: &Case, linker: Option<&str>) -> Answer<Happened> {
    let source = format!(".globl test\n{}", case.source);
    let mut object = assembly(&source).map_err(|error| error.to_string())?;
    if let Some(written_as) = case.written_as {
        change_kind(&mut object, written_as, case.kind)?;
    }
    if !has_kind(&object, case.kind)? {
        return Err("the assembler made another relocation of it".into());
    }
    let labels = lld::labels(&object)?;
    let mut roots: Vec<&str> = labels.iter().map(String::as_str).collect();
    roots.push("test");

    let loader = NativeLoader::new();
    let image = match loader.prepare(&object, &roots) {
        Ok(image) => image,
        Err(LoadError::Link(error)) => return Ok(Happened::Refused(error)),
        Err(error) => return Err(error.into()),
    };
    if case.proof == Proof::Refuse {
        // What it would compute nobody knows.
        return Err("not refused".into());
    }
    let outside = &raw const OUTSIDE_DATA as u64;
    let host = Host(HashMap::from([("outside_data", outside)]));
    // SAFETY: the image is of a case's source.
    let code = unsafe { loader.load(image.as_ref(), &host) }?;
    let run = || -> Answer<()> {
        let test = function(&code, "test").map_err(|error| error.to_string())?;
        match test() as i32 {
            42 => Ok(()),
            other => Err(format!("it returned {other}").into()),
        }
    };
    let compare = |meet: Meet| -> Answer<()> {
        let Some(linker) = linker else {
            return Ok(());
        };
        let names = ["outside_data", "labs"];
        let used: Vec<_> = names
            .into_iter()
            .filter(|name| case.source.contains(name))
            .map(|name| (name, host.address_of(name)))
            .collect();
        lld::compare(linker, &object, &code, meet, &used)
    };
    match case.proof {
        Proof::Refuse => Err("not refused".into()),
        Proof::Run => run().map(|()| Happened::Ran),
        Proof::RunAndCompare(meet) => {
            run()?;
            compare(meet).map(|()| Happened::RanAndCompared)
        }
        Proof::Compare(meet) => compare(meet).map(|()| Happened::Compared),
    }
}

impl Host {
    /// Where the loader will have found `name`.
    fn address_of(&self, name: &str) -> u64 {
        let known = self.address(rekindle_cache_core::symbol_hash(name), name);
        known.unwrap_or(libc::labs as *const () as u64)
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

/// Tries all cases; the row of each, and what went wrong.
fn try_all(linker: Option<&str>) -> (Vec<(&'static Case, Happened)>, Vec<String>) {
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for case in CASES {
        let name = kind_name(case.kind);
        match try_case(case, linker) {
            Ok(Happened::Refused(error)) => {
                // What is not linked yet may be refused for another relocation beside it.
                let about = match case.proof {
                    Proof::Refuse => name,
                    _ => "R_X86_64_",
                };
                if let Some(fault) = fault_of(&error, about) {
                    wrong.push(format!("{name}, {}: {fault}", case.what));
                }
                rows.push((case, Happened::Refused(error)));
            }
            Ok(happened) => rows.push((case, happened)),
            Err(error) => wrong.push(format!("{name}, {}: {error}", case.what)),
        }
    }
    (rows, wrong)
}

/// What an error lacks that someone who reads it needs.
fn fault_of(error: &LinkError, name: &str) -> Option<String> {
    let text = error.to_string();
    // They all say the symbol, the section and the offset the same way; a number will do as a name.
    let says_where = text.contains("referred to at .") && text.contains("+0x");
    let says_what = text.contains(name) || text.contains("of an unknown name");
    (!says_where || !says_what).then(|| format!("the error does not say where: {text}"))
}

fn page(rows: &[(&Case, Happened)]) -> String {
    let mut page = "# Relocations of x86-64\n\n\
        How each kind is proven. This page is written by a test (`cargo test -p rekindle-loader --test\n\
        relocations` with `REKINDLE_BLESS=1`), which fails when what happens is something else.\n\n\
        - *ran*: an object with it was linked, loaded and run, and computed the right number.\n\
        - *lld*: lld linked the same object for the addresses at which it was loaded here, and the bytes\n  \
          are the same.\n\
        - *refused*: linking fails with this error, which names symbol, section and offset.\n\n\
        | number | kind | what it refers to | proven by |\n| ---: | --- | --- | --- |\n"
        .to_owned();
    for (case, happened) in rows {
        let proof = match happened {
            Happened::Ran => "ran".to_owned(),
            Happened::RanAndCompared => "ran; lld".to_owned(),
            Happened::Compared => "lld".to_owned(),
            Happened::Refused(error) => format!("refused: `{}`", variant(error)),
        };
        page += &format!(
            "| {} | {} | {} | {proof} |\n",
            case.kind,
            kind_name(case.kind),
            case.what
        );
    }
    page
}

/// The name of an error's variant.
fn variant(error: &LinkError) -> String {
    let text = format!("{error:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text.get(..end.unwrap_or(text.len()))
        .unwrap_or_default()
        .to_owned()
}

/// The ABI's name of a kind.
fn kind_name(kind: u32) -> &'static str {
    KIND_NAMES
        .iter()
        .find(|(number, _)| *number == kind)
        .map_or("unnamed", |(_, name)| name)
}

macro_rules! kind_names {
    ($($name:ident),* $(,)?) => {
        /// Every kind that the x86-64 ABI has and `object` knows.
        const KIND_NAMES: &[(u32, &str)] = &[$((elf::$name, stringify!($name))),*];
    };
}
kind_names! {
    R_X86_64_NONE, R_X86_64_64, R_X86_64_PC32, R_X86_64_GOT32, R_X86_64_PLT32, R_X86_64_COPY,
    R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, R_X86_64_RELATIVE, R_X86_64_GOTPCREL, R_X86_64_32,
    R_X86_64_32S, R_X86_64_16, R_X86_64_PC16, R_X86_64_8, R_X86_64_PC8, R_X86_64_DTPMOD64,
    R_X86_64_DTPOFF64, R_X86_64_TPOFF64, R_X86_64_TLSGD, R_X86_64_TLSLD, R_X86_64_DTPOFF32,
    R_X86_64_GOTTPOFF, R_X86_64_TPOFF32, R_X86_64_PC64, R_X86_64_GOTOFF64, R_X86_64_GOTPC32,
    R_X86_64_GOT64, R_X86_64_GOTPCREL64, R_X86_64_GOTPC64, R_X86_64_GOTPLT64, R_X86_64_PLTOFF64,
    R_X86_64_SIZE32, R_X86_64_SIZE64, R_X86_64_GOTPC32_TLSDESC, R_X86_64_TLSDESC_CALL,
    R_X86_64_TLSDESC, R_X86_64_IRELATIVE, R_X86_64_RELATIVE64, R_X86_64_GOTPCRELX,
    R_X86_64_REX_GOTPCRELX, R_X86_64_CODE_4_GOTPCRELX, R_X86_64_CODE_4_GOTTPOFF,
    R_X86_64_CODE_4_GOTPC32_TLSDESC, R_X86_64_CODE_5_GOTPCRELX, R_X86_64_CODE_5_GOTTPOFF,
    R_X86_64_CODE_5_GOTPC32_TLSDESC, R_X86_64_CODE_6_GOTPCRELX, R_X86_64_CODE_6_GOTTPOFF,
    R_X86_64_CODE_6_GOTPC32_TLSDESC,
}

#[test]
fn every_kind_is_proven_and_the_page_says_how() -> Answer<()> {
    let linker = first_installed(&["ld.lld-22", "ld.lld-21", "ld.lld-19", "ld.lld"]);
    let (rows, wrong) = try_all(linker);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let mut proven: BTreeMap<u32, usize> = BTreeMap::new();
    for (case, happened) in &rows {
        let works = !matches!(happened, Happened::Refused(_));
        *proven.entry(case.kind).or_default() += usize::from(works);
    }
    for (kind, name) in KIND_NAMES {
        assert!(proven.contains_key(kind), "{name} is in no case");
    }
    for kind in EMITTED {
        let works = proven.get(kind).is_some_and(|cases| *cases > 0);
        assert!(works, "{} is emitted by compilers", kind_name(*kind));
    }

    if linker.is_none() {
        skip("docs/relocations.md against lld", "lld is not installed");
        return Ok(());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/relocations.md");
    let page = page(&rows);
    if std::env::var_os("REKINDLE_BLESS").is_some() {
        std::fs::write(&path, &page)?;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/relocations.md is out of date; run this test with REKINDLE_BLESS=1"
    );
    Ok(())
}
