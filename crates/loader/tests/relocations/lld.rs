//! The same object linked by lld, to lie exactly where the image lies.

use crate::whole::{Answer, succeed};
use object::{Object, ObjectSection, ObjectSymbol};
use std::fmt::Write;
use std::process::Command;

/// An image at its place.
pub(crate) trait Laid {
    /// The address of an export.
    fn address_of(&self, name: &str) -> Option<u64>;

    /// Bytes of the image.
    fn memory(&self, address: u64, size: u64) -> Option<Vec<u8>>;
}

/// What lld has to be told so that its layout is the image's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// Where the sections lie.
    Sections,
    /// Also where the slot lies.
    Slot(u64),
    /// Also that what is outside lies at this stub.
    Stub(u64),
}

/// A section that is compared.
struct Placed {
    name: String,
    address: u64,
    size: u64,
}

/// An lld, and the machine that it links for.
pub(crate) struct Linker<'l> {
    pub(crate) program: &'l str,
    pub(crate) emulation: &'l str,
}

impl Linker<'_> {
    /// Links `object` where `image` lies, and compares the sections that have labels. `symbols` are
    /// those of the process that the object refers to.
    pub(crate) fn compare(
        &self,
        object: &[u8],
        image: &impl Laid,
        met: Met,
        symbols: &[(&str, u64)],
    ) -> Answer<()> {
        let folder = tempfile::tempdir()?;
        let [input, script, output] =
            ["unit.o", "script.ld", "linked"].map(|name| folder.path().join(name));
        std::fs::write(&input, object)?;

        let placed = placed(object, image)?;
        let mut sections: Vec<(u64, &str)> = placed
            .iter()
            .map(|section| (section.address, section.name.as_str()))
            .collect();
        if let Met::Slot(slot) = met {
            sections.push((slot, ".got"));
        }
        // The file has them in the script's order, which must not lead backwards.
        sections.sort_unstable();
        let mut text = "SECTIONS {\n".to_owned();
        for (address, name) in sections {
            writeln!(text, "  {name} {address:#x} : {{ *({name}) }}")?;
        }
        text += "  /DISCARD/ : { *(.eh_frame) *(.comment) *(.note*) }\n}\n";
        std::fs::write(&script, text)?;

        let mut command = Command::new(self.program);
        command.args([
            "-m",
            self.emulation,
            "--no-check-sections",
            "--entry=test",
            "-T",
        ]);
        command.arg(&script).arg(&input).arg("-o").arg(&output);
        if let Met::Slot(_) = met {
            command.arg("--no-relax");
        }
        for (name, address) in symbols {
            let address = match met {
                Met::Stub(stub) => stub,
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
            let found = image.memory(*address, *size).ok_or("bytes outside")?;
            if expected != found {
                return Err(format!("{name}: lld has {expected:x?}, the image {found:x?}").into());
            }
        }
        Ok(())
    }
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

fn placed(object: &[u8], image: &impl Laid) -> Answer<Vec<Placed>> {
    let file = object::File::parse(object)?;
    let mut placed = Vec::new();
    for symbol in file.symbols().filter(|symbol| symbol.is_global()) {
        let name = symbol.name()?;
        let (Some(index), true) = (symbol.section_index(), name.ends_with("_start")) else {
            continue;
        };
        let section = file.section_by_index(index)?;
        let address = image.address_of(name).ok_or_else(|| format!("no {name}"))?;
        placed.push(Placed {
            name: section.name()?.to_owned(),
            address: address - symbol.address(),
            size: section.size(),
        });
    }
    match placed.is_empty() {
        true => Err("nothing to compare".into()),
        false => Ok(placed),
    }
}
