//! The outline of a Mach-O object, checked as it is read.

use crate::error::LinkError;
use crate::link::read::{LE, bad};
use crate::link::target::Machine;
use object::LittleEndian;
use object::macho::{self, MachHeader64, Nlist64, Section64};
use object::read::StringTable;
use object::read::macho::{MachHeader, Nlist, Section, Segment};

/// A Mach-O object.
pub(super) struct Object<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) machine: Machine,
    /// Whether symbols begin atoms.
    pub(super) has_atoms: bool,
    pub(super) sections: Vec<&'a Section64<LittleEndian>>,
    pub(super) symbols: &'a [Nlist64<LittleEndian>],
    strings: StringTable<'a>,
}

impl<'a> Object<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, LinkError> {
        let not = |reason: String| LinkError::NotAnObject { reason };
        let header = MachHeader64::<LittleEndian>::parse(bytes, 0);
        let header = header.map_err(|error| not(error.to_string()))?;
        let machine = match header.cputype(LE) {
            macho::CPU_TYPE_X86_64 => Machine::X86_64,
            macho::CPU_TYPE_ARM64 => Machine::Aarch64,
            other => return Err(not(format!("its CPU type is {other:#x}"))),
        };
        if header.filetype(LE) != macho::MH_OBJECT {
            let sort = header.filetype(LE);
            return Err(not(format!(
                "its type is {sort} where MH_OBJECT (1) is linked"
            )));
        }
        let mut object = Self {
            bytes,
            machine,
            has_atoms: header.flags(LE) & macho::MH_SUBSECTIONS_VIA_SYMBOLS != 0,
            sections: Vec::new(),
            symbols: &[],
            strings: StringTable::default(),
        };
        let outside = |error: object::read::Error| {
            let place = format!("load commands: {error}");
            bad("an offset, index or size that leads outside", place)
        };
        let mut commands = header.load_commands(LE, bytes, 0).map_err(outside)?;
        while let Some(command) = commands.next().map_err(outside)? {
            if let Some((segment, data)) = command.segment_64().map_err(outside)? {
                let sections = segment.sections(LE, data).map_err(outside)?;
                object.sections.extend(sections);
            } else if let Some(table) = command.symtab().map_err(outside)? {
                let symbols = table.symbols::<MachHeader64<LittleEndian>, _>(LE, bytes);
                let symbols = symbols.map_err(outside)?;
                object.symbols = symbols.iter().as_slice();
                object.strings = symbols.strings();
            }
        }
        let too_many = object.sections.len() > usize::from(u8::MAX) * 256
            || object.symbols.len() as u64 > u64::from(u32::MAX) / 4;
        match too_many {
            true => Err(bad("more than can be numbered", "load commands")),
            false => Ok(object),
        }
    }

    /// The section with this number, which counts from 1.
    pub(super) fn section(&self, ordinal: u32) -> Option<&'a Section64<LittleEndian>> {
        let index = (ordinal as usize).checked_sub(1)?;
        self.sections.get(index).copied()
    }

    /// The bytes of a section; none if it is all zeros.
    pub(super) fn contents(&self, index: usize) -> Result<&'a [u8], LinkError> {
        let section = self.sections.get(index);
        let data = section.map(|section| section.data(LE, self.bytes));
        match data {
            Some(Ok(data)) => Ok(data),
            _ => Err(bad("contents that lie outside", format!("section {index}"))),
        }
    }

    /// The name of a symbol, as the object has it.
    pub(super) fn name(&self, symbol: &Nlist64<LittleEndian>) -> Result<&'a [u8], LinkError> {
        let name = symbol.name(LE, self.strings);
        name.map_err(|error| bad("a name that lies outside", error.to_string()))
    }

    /// A number of `width` bytes at `offset` of a section, with its sign.
    pub(super) fn number(&self, index: usize, offset: u64, width: u64) -> Option<i64> {
        let bytes = self.contents(index).ok()?;
        let rest = bytes.get(usize::try_from(offset).ok()?..)?;
        match width {
            4 => Some(i32::from_le_bytes(*rest.first_chunk()?).into()),
            8 => Some(i64::from_le_bytes(*rest.first_chunk()?)),
            _ => None,
        }
    }
}
