//! The same object linked by lld, to lie exactly where the image lies in this process.

use crate::cases::Meet;
use crate::whole::{Answer, succeed};
use object::{Object, ObjectSection, ObjectSymbol};
use rekindle_cache_core::artifact::Code as _;
use rekindle_loader::Code;
use std::fmt::Write;
use std::process::Command;

/// A section that is compared.
struct Placed {
    name: String,
    address: u64,
    size: u64,
}

/// Links `object` with `lld` where `code` lies, and compares the sections that have labels. `symbols`
/// are those of the process that the object refers to.
pub(crate) fn compare(
    lld: &str,
    object: &[u8],
    code: &Code,
    meet: Meet,
    symbols: &[(&str, u64)],
) -> Answer<()> {
    let folder = tempfile::tempdir()?;
    let [input, script, output] =
        ["unit.o", "script.ld", "linked"].map(|name| folder.path().join(name));
    std::fs::write(&input, object)?;

    let placed = placed(object, code)?;
    let target = match meet {
        Meet::Sections => 0,
        Meet::Slot | Meet::Stub => target_of_field(code)?,
    };
    let mut sections: Vec<(u64, &str)> = placed
        .iter()
        .map(|section| (section.address, section.name.as_str()))
        .collect();
    if meet == Meet::Slot {
        sections.push((target, ".got"));
    }
    // The file has them in the script's order, which must not lead backwards.
    sections.sort_unstable();
    let mut text = "SECTIONS {\n".to_owned();
    for (address, name) in sections {
        writeln!(text, "  {name} {address:#x} : {{ *({name}) }}")?;
    }
    text += "  /DISCARD/ : { *(.eh_frame) *(.comment) *(.note*) }\n}\n";
    std::fs::write(&script, text)?;

    let mut command = Command::new(lld);
    command.args([
        "-m",
        "elf_x86_64",
        "--no-check-sections",
        "--entry=test",
        "-T",
    ]);
    command.arg(&script).arg(&input).arg("-o").arg(&output);
    if meet == Meet::Slot {
        command.arg("--no-relax");
    }
    for (name, address) in symbols {
        let address = match meet {
            Meet::Stub => target,
            _ => *address,
        };
        command.arg(format!("--defsym={name}={address:#x}"));
    }
    succeed(&mut command)?;

    let linked = std::fs::read(&output)?;
    let linked = object::File::parse(linked.as_slice())?;
    for Placed {
        name,
        address,
        size,
    } in &placed
    {
        let section = linked.section_by_name(name);
        let section = section.ok_or_else(|| format!("lld made no {name}"))?;
        if section.address() != *address {
            return Err(format!("lld put {name} at {:#x}", section.address()).into());
        }
        let expected = section.data()?;
        let expected = expected.get(..*size as usize).unwrap_or(expected);
        let found = memory(*address, *size);
        if expected != found {
            return Err(format!("{name}: lld has {expected:x?}, the image {found:x?}").into());
        }
    }
    Ok(())
}

/// The symbols that mark sections to be compared, and the field.
pub(crate) fn labels(object: &[u8]) -> Answer<Vec<String>> {
    let file = object::File::parse(object)?;
    let mut names = Vec::new();
    for symbol in file.symbols().filter(|symbol| !symbol.is_undefined()) {
        let name = symbol.name()?;
        if symbol.is_global() && (name.ends_with("_start") || name == "field") {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn placed(object: &[u8], code: &Code) -> Answer<Vec<Placed>> {
    let file = object::File::parse(object)?;
    let mut placed = Vec::new();
    for symbol in file.symbols().filter(|symbol| symbol.is_global()) {
        let name = symbol.name()?;
        let (Some(index), true) = (symbol.section_index(), name.ends_with("_start")) else {
            continue;
        };
        let section = file.section_by_index(index)?;
        let address = code.symbol(name).ok_or_else(|| format!("no {name}"))?;
        placed.push(Placed {
            name: section.name()?.to_owned(),
            address: address as u64 - symbol.address(),
            size: section.size(),
        });
    }
    match placed.is_empty() {
        true => Err("nothing to compare".into()),
        false => Ok(placed),
    }
}

/// What the four bytes at `field`, which end an instruction, lead to.
fn target_of_field(code: &Code) -> Answer<u64> {
    let field = code.symbol("field").ok_or("no field")? as u64;
    let bytes = memory(field, 4).try_into()?;
    let distance = i64::from(i32::from_le_bytes(bytes));
    Ok((field + 4).wrapping_add_signed(distance))
}

/// Bytes of a loaded image.
fn memory(address: u64, size: u64) -> &'static [u8] {
    // SAFETY: the callers ask for bytes of a section of an image that was loaded and stays; a field
    // of it is within that, and nobody writes while a test looks.
    unsafe { std::slice::from_raw_parts(address as *const u8, size as usize) }
}
