//! What debuggers are told of loaded images: an ELF file in memory, with the addresses where things lie.
//!
//! One file can tell of several images, which is quicker for a debugger than a file for each: it looks
//! through all of its files whenever one is added. It has a section for each image's code (without contents,
//! as those are in memory), their functions by name, their unwind tables as one, and their debug
//! information as one, in so far as the images have kept it.

use crate::augmentation::encodings;
use crate::image::{DATA_DISTANCE, DEBUG_OFFSETS};
use object::elf;
use std::ops::Range;

/// A loaded image, as it lies in memory.
pub(crate) struct LoadedImage<'a> {
    /// What places count from.
    pub(crate) base: u64,
    pub(crate) text: Range<u64>,
    /// Where each function begins, and its name.
    pub(crate) functions: Vec<(Range<u64>, &'a str)>,
    /// Where the unwind table lies, and its bytes.
    pub(crate) unwind: Option<(u64, &'a [u8])>,
    /// The side tables: name, address, bytes.
    pub(crate) tables: Vec<(&'a str, u64, &'a [u8])>,
}

/// Whether a side table is for debuggers.
pub(crate) fn is_for_debuggers(name: &str) -> bool {
    name.starts_with(".debug_") || name == DEBUG_OFFSETS
}

/// A section of the file.
struct Section {
    name: String,
    sort: u32,
    flags: u64,
    address: u64,
    /// Without contents if it has a size of its own.
    bytes: Vec<u8>,
    size: u64,
    /// For symbols: the number of their strings, and of the first that is global.
    link: u32,
    info: u32,
    entry: u64,
}

/// The file about `images`, for `machine` as ELF numbers them.
pub(crate) fn write(machine: u16, images: &[LoadedImage<'_>]) -> Vec<u8> {
    let mut sections = vec![Section::new("", elf::SHT_NULL, 0, 0, Vec::new())];
    let mut symbols = vec![0; SYMBOL_SIZE];
    let mut strings = vec![0];
    for image in images {
        let number = sections.len() as u16;
        let flags = u64::from(elf::SHF_ALLOC | elf::SHF_EXECINSTR);
        let start = image.text.start;
        let mut text = Section::new(".text", elf::SHT_NOBITS, flags, start, Vec::new());
        text.size = image.text.end - start;
        sections.push(text);
        for (range, name) in &image.functions {
            symbols.extend((strings.len() as u32).to_le_bytes());
            symbols.push(elf::STB_GLOBAL << 4 | elf::STT_FUNC);
            symbols.push(elf::STV_DEFAULT);
            symbols.extend(number.to_le_bytes());
            symbols.extend(range.start.to_le_bytes());
            symbols.extend((range.end - range.start).to_le_bytes());
            strings.extend(name.bytes().filter(|byte| *byte != 0));
            strings.push(0);
        }
    }
    if let Some((address, bytes)) = unwind_tables(images) {
        let flags = u64::from(elf::SHF_ALLOC);
        sections.push(Section::new(
            ".eh_frame",
            elf::SHT_PROGBITS,
            flags,
            address,
            bytes,
        ));
    }
    for (name, bytes) in debug_information(images) {
        sections.push(Section::new(name, elf::SHT_PROGBITS, 0, 0, bytes));
    }
    let mut table = Section::new(".symtab", elf::SHT_SYMTAB, 0, 0, symbols);
    table.link = sections.len() as u32 + 1;
    table.info = 1;
    table.entry = SYMBOL_SIZE as u64;
    sections.push(table);
    sections.push(Section::new(".strtab", elf::SHT_STRTAB, 0, 0, strings));
    file(machine, sections)
}

const HEADER_SIZE: usize = 64;
const SECTION_HEADER_SIZE: usize = 64;
const SYMBOL_SIZE: usize = 24;

impl Section {
    fn new(name: &str, sort: u32, flags: u64, address: u64, bytes: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            sort,
            flags,
            address,
            size: bytes.len() as u64,
            bytes,
            link: 0,
            info: 0,
            entry: 0,
        }
    }
}

/// The tables of all images as one, and the address that it is to be taken to lie at.
fn unwind_tables(images: &[LoadedImage<'_>]) -> Option<(u64, Vec<u8>)> {
    let mut tables = images.iter().filter_map(|image| image.unwind);
    let (first, _) = tables.next()?;
    let address = match tables.next() {
        None => first,
        // Where no image is, and no other module as a rule: in the middle between code and data.
        Some(_) => first.wrapping_add(DATA_DISTANCE / 2),
    };
    let mut all = Vec::new();
    for (from, table) in images.iter().filter_map(|image| image.unwind) {
        let start = all.len();
        // Without the four zeros at the end, at which a reader stops.
        all.extend_from_slice(
            table
                .get(..table.len().saturating_sub(4))
                .unwrap_or_default(),
        );
        let moved = from.wrapping_sub(address.wrapping_add(start as u64)) as i64;
        let moved_table = all.get_mut(start..).unwrap_or_default();
        if moved != 0 && move_table(moved_table, moved).is_none() {
            all.truncate(start);
        }
    }
    all.extend([0; 4]);
    Some((address, all))
}

/// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`, and without the latter.
const DISTANCE: u8 = 0x1b;
const RELATIVE: u8 = 0x10;

/// Corrects the distances from entries to their functions in a table that is moved by `moved`. `None` if it
/// has some that it cannot correct.
fn move_table(table: &mut [u8], moved: i64) -> Option<()> {
    let word = |table: &[u8], at: usize| {
        let bytes = table.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let mut at = 0;
    while at < table.len() {
        let length = word(table, at)? as usize;
        let common = word(table, at + 4)? as usize;
        if common != 0 {
            let common = (at + 4).checked_sub(common)?;
            let entry = common..common + 4 + word(table, common)? as usize;
            match encodings(table.get(entry)?)?.function {
                DISTANCE => {
                    let field = table.get_mut(at + 8..)?.first_chunk_mut::<4>()?;
                    let distance = i64::from(i32::from_le_bytes(*field)).checked_add(moved)?;
                    *field = i32::try_from(distance).ok()?.to_le_bytes();
                }
                relative if relative & 0x70 == RELATIVE => return None,
                _ => {}
            }
        }
        at += 4 + length;
    }
    Some(())
}

/// Sections of debug information that a file can have: compilers write some twenty. The format counts
/// sections in 16 bits.
const MOST_TABLES: usize = 1000;

/// The debug information of all images, by the names of sections; none if they have too many names.
fn debug_information<'a>(images: &[LoadedImage<'a>]) -> Vec<(&'a str, Vec<u8>)> {
    let mut all: Vec<(&str, Vec<u8>)> = Vec::new();
    for image in images {
        let is_debug = |table: &&(&str, u64, &[u8])| table.0.starts_with(".debug_");
        let mut placed = Vec::new();
        for &(name, address, bytes) in image.tables.iter().filter(is_debug) {
            let known = all.iter().position(|(other, _)| *other == name);
            if known.is_none() && all.len() == MOST_TABLES {
                return Vec::new();
            }
            let number = known.unwrap_or_else(|| {
                all.push((name, Vec::new()));
                all.len() - 1
            });
            if let Some((_, section)) = all.get_mut(number) {
                let start = section.len();
                section.extend_from_slice(bytes);
                placed.push((number, start, address..address + bytes.len() as u64));
            }
        }
        let offsets = image
            .tables
            .iter()
            .find(|(name, ..)| *name == DEBUG_OFFSETS);
        for entry in offsets.map_or(&[][..], |(.., bytes)| bytes).chunks_exact(8) {
            let number = |at: usize| {
                let bytes = entry.get(at..).and_then(|rest| rest.first_chunk::<4>());
                bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
            };
            let at = image.base.wrapping_add(number(0).into());
            let holder = placed.iter().find(|(.., range)| range.contains(&at));
            let (Some((number, start, range)), Some((_, moved, _))) =
                (holder, placed.get(number(4) as usize))
            else {
                continue;
            };
            let field = all.get_mut(*number).and_then(|(_, section)| {
                let at = start + (at - range.start) as usize;
                section.get_mut(at..)?.first_chunk_mut::<4>()
            });
            if let Some(field) = field {
                let offset = u32::from_le_bytes(*field).wrapping_add(*moved as u32);
                *field = offset.to_le_bytes();
            }
        }
    }
    all
}

/// The file of `sections`, with their names.
fn file(machine: u16, mut sections: Vec<Section>) -> Vec<u8> {
    sections.push(Section::new(".shstrtab", elf::SHT_STRTAB, 0, 0, Vec::new()));
    let mut names = Vec::new();
    let mut name_at = Vec::new();
    for section in &sections {
        name_at.push(names.len() as u32);
        names.extend(section.name.bytes());
        names.push(0);
    }
    if let Some(last) = sections.last_mut() {
        last.size = names.len() as u64;
        last.bytes = names;
    }
    let mut bytes = vec![0; HEADER_SIZE];
    let mut headers = Vec::new();
    for (section, name) in sections.iter().zip(name_at) {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        headers.extend(name.to_le_bytes());
        headers.extend(section.sort.to_le_bytes());
        for number in [
            section.flags,
            section.address,
            bytes.len() as u64,
            section.size,
        ] {
            headers.extend(number.to_le_bytes());
        }
        headers.extend(section.link.to_le_bytes());
        headers.extend(section.info.to_le_bytes());
        headers.extend(1u64.to_le_bytes());
        headers.extend(section.entry.to_le_bytes());
        bytes.extend_from_slice(&section.bytes);
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let headers_at = bytes.len() as u64;
    bytes.extend(headers);

    let mut header = Vec::with_capacity(HEADER_SIZE);
    header.extend(elf::ELFMAG);
    header.extend([elf::ELFCLASS64, elf::ELFDATA2LSB, elf::EV_CURRENT, 0]);
    header.extend([0; 8]);
    header.extend(elf::ET_EXEC.to_le_bytes());
    header.extend(machine.to_le_bytes());
    header.extend(1u32.to_le_bytes());
    // Neither an entry nor program headers.
    header.extend([0; 16]);
    header.extend(headers_at.to_le_bytes());
    header.extend(0u32.to_le_bytes());
    let count = sections.len() as u16;
    let sizes = [HEADER_SIZE as u16, 0, 0, SECTION_HEADER_SIZE as u16];
    for number in sizes.into_iter().chain([count, count - 1]) {
        header.extend(number.to_le_bytes());
    }
    if let Some(place) = bytes.first_chunk_mut::<HEADER_SIZE>() {
        place.copy_from_slice(&header);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSection};

    #[test]
    fn debug_information_with_too_many_names_is_left_out() {
        for count in [MOST_TABLES, MOST_TABLES + 1, 66_000] {
            let names: Vec<String> = (0..count).map(|n| format!(".debug_{n}")).collect();
            let image = LoadedImage {
                base: 0x1000,
                text: 0x1000..0x1010,
                functions: vec![(0x1000..0x1010, "test")],
                unwind: None,
                tables: names.iter().map(|name| (&**name, 0, &b"x"[..])).collect(),
            };
            let file = write(crate::image::format::MACHINE_HERE, &[image]);
            let file = object::File::parse(&*file).expect("it is an ELF file");
            let is_debug = |name: &str| name.starts_with(".debug_");
            let sections = file
                .sections()
                .filter(|section| section.name().is_ok_and(is_debug));
            let expected = if count == MOST_TABLES { count } else { 0 };
            assert_eq!(sections.count(), expected);
            assert!(file.symbols().count() == 1 && file.section_by_name(".text").is_some());
        }
    }
}
