//! The kinds of x86-64 ELF: assembled, linked, loaded and run in this process.

use crate::cases::{Case, Meet, Proof};
use crate::compiled::{Host, assembly, function};
use crate::lld::{Laid, Linker, Met};
use crate::whole::Answer;
use crate::{Happened, change_kind, has_kind, link_by};
use object::elf;
use rekindle_cache_core::artifact::{Code as _, Image, Loader, Symbols};
use rekindle_loader::{Code, NativeLoader};
use std::collections::HashMap;

/// Kinds that compilers emit for position-independent code, the large model and all models of
/// thread-locals included: none of them may be refused altogether.
pub(crate) const EMITTED: &[u32] = &[
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

/// Links, loads, runs and compares one case.
pub(crate) fn try_case(case: &Case, linker: Option<&str>) -> Answer<Happened> {
    try_with(&NativeLoader::new(), case, linker)
}

/// The same by `loader`.
pub(crate) fn try_with(
    loader: &NativeLoader,
    case: &Case,
    linker: Option<&str>,
) -> Answer<Happened> {
    let source = format!(".globl test\n{}", case.source);
    let mut object = assembly(&source).map_err(|error| error.to_string())?;
    if let Some(written_as) = case.written_as {
        change_kind(&mut object, written_as, case.kind)?;
    }
    if !has_kind(&object, case.kind)? {
        return Err("the assembler made another relocation of it".into());
    }
    let image = match link_by(loader, &object)? {
        Ok(image) => Image::new(image),
        Err(error) => return Ok(Happened::Refused(error)),
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
        let linker = Linker {
            program: linker,
            emulation: "elf_x86_64",
        };
        let met = match meet {
            Meet::Sections => Met::Sections,
            Meet::Slot => Met::Slot(target_of_field(&code)?),
            Meet::Stub => Met::Stub(target_of_field(&code)?),
        };
        linker.compare(&object, &code, met, &used)
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

impl Laid for Code {
    fn address_of(&self, name: &str) -> Option<u64> {
        self.symbol(name).map(|address| address as u64)
    }

    fn memory(&self, address: u64, size: u64) -> Option<Vec<u8>> {
        // SAFETY: the callers ask for bytes of a section of an image that was loaded and stays; a field
        // of it is within that, and nobody writes while a test looks.
        let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, size as usize) };
        Some(bytes.to_vec())
    }
}

/// What the four bytes at `field`, which end an instruction, lead to.
fn target_of_field(code: &Code) -> Answer<u64> {
    let field = code.address_of("field").ok_or("no field")?;
    let bytes = code.memory(field, 4).ok_or("no bytes")?;
    let distance = i64::from(i32::from_le_bytes(bytes.as_slice().try_into()?));
    Ok((field + 4).wrapping_add_signed(distance))
}
