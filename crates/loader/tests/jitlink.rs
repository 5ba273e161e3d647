//! Mach-O for arm64 linked here and by LLVM's own linker, which knows the format best: what each field leads to
//! is read off the bytes of the image, and told to `llvm-jitlink` as a check of what it has made of the same
//! object. (It cannot be asked for bytes: its dump of Mach-O runs without end.)

mod whole;

#[path = "placed/mod.rs"]
mod placed;

use placed::Placed;
use rekindle_cache_core::artifact::Loader;
use rekindle_loader::NativeLoader;
use std::process::Command;
use whole::{Answer, end_of, first_installed, is_installed, skip, succeed};

/// Each instruction and each word with a relocation has a name.
const SOURCE: &str = "
.section __TEXT,__text,regular,pure_instructions
.macro start name
.globl _\\name
.p2align 2
_\\name:
.endm
start main
    ret
start helper
    ret
start inner_call
    bl _helper
start outer_call
    bl _external
start page
    adrp x0, _data@PAGE
start offset
    add x0, x0, _data@PAGEOFF
start page_beyond
    adrp x0, _data@PAGE+24
start offset_beyond
    add x0, x0, _data@PAGEOFF+24
start load_page
    adrp x1, _data@PAGE+16
start load_offset
    ldr x1, [x1, _data@PAGEOFF+16]
start byte_page
    adrp x1, _data@PAGE+5
start byte_offset
    ldrb w1, [x1, _data@PAGEOFF+5]
start wide_page
    adrp x1, _data@PAGE
start wide_offset
    ldr q1, [x1, _data@PAGEOFF]
start slot_page
    adrp x2, _data@GOTPAGE
start slot_offset
    ldr x2, [x2, _data@GOTPAGEOFF]
start outer_slot_page
    adrp x2, _external@GOTPAGE
start outer_slot_offset
    ldr x2, [x2, _external@GOTPAGEOFF]
    ret
.section __DATA,__data
.p2align 4
.globl _data, _pointer, _pointer_beyond, _outer_pointer, _difference, _short_difference, _slot_distance
_data: .quad 1, 2, 3, 4, 5
_pointer: .quad _helper
_pointer_beyond: .quad _data + 24
_outer_pointer: .quad _external
_difference: .quad _helper - _difference + 4
_short_difference: .long _helper - _short_difference
_slot_distance: .long _external@GOT - .
.subsections_via_symbols
";

/// What a name is the name of.
enum Field {
    /// A branch to a function of the object.
    Branch,
    /// A branch to a function from outside.
    Stub,
    /// A page, and an offset in it at the second name, in units of so many bytes as a power of two; with an
    /// addend.
    Page(&'static str, u32, u64),
    /// The same, to a slot.
    Slot(&'static str),
    /// An address, with an addend.
    Word(u64),
    /// A distance of so many bytes from itself, with an addend.
    Distance(u64, u64),
    /// Such a distance to a slot.
    SlotDistance,
}

use Field::{Branch, Distance, Page, Slot, SlotDistance, Stub, Word};

const FIELDS: &[(&str, Field)] = &[
    ("inner_call", Branch),
    ("outer_call", Stub),
    ("page", Page("offset", 0, 0)),
    ("page_beyond", Page("offset_beyond", 0, 24)),
    ("load_page", Page("load_offset", 3, 16)),
    ("byte_page", Page("byte_offset", 0, 5)),
    ("wide_page", Page("wide_offset", 4, 0)),
    ("slot_page", Slot("slot_offset")),
    ("outer_slot_page", Slot("outer_slot_offset")),
    ("pointer", Word(0)),
    ("pointer_beyond", Word(24)),
    ("outer_pointer", Word(0)),
    ("difference", Distance(8, 4)),
    ("short_difference", Distance(4, 0)),
    ("slot_distance", SlotDistance),
];

/// Where the image is put, and what is outside.
const BASE: u64 = 0x5_0000_0000;
const EXTERNAL: u64 = 0x7_6ff0_0000;

/// An image whose fields are looked at.
struct Image(Placed);

impl Image {
    fn address(&self, name: &str) -> Answer<u64> {
        Ok(self.0.symbol(name).ok_or_else(|| format!("no {name}"))?)
    }

    /// The name of what lies at `address`.
    fn name(&self, address: u64) -> Answer<&str> {
        let found = self.0.exports.iter().find(|(_, at)| *at == address);
        let found = found.map(|(name, _)| name.as_str());
        let found = found.or((address == EXTERNAL).then_some("external"));
        Ok(found.ok_or_else(|| format!("nothing lies at {address:#x}"))?)
    }

    fn number(&self, address: u64, width: u64) -> Answer<u64> {
        let bytes = self.0.bytes(address, width).ok_or("bytes outside")?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    /// Where the pair of instructions at `page` and `offset` leads, the latter in units of `scale`.
    fn pair(&self, page: u64, offset: u64, scale: u32) -> Answer<u64> {
        let (first, second) = (self.number(page, 4)?, self.number(offset, 4)?);
        let pages = (first >> 5 & 0x7_ffff) << 2 | first >> 29 & 3;
        let pages = (pages << 43) as i64 >> 31;
        let page = (page & !0xfff).wrapping_add_signed(pages);
        Ok(page + ((second >> 10 & 0xfff) << scale))
    }

    /// What the slot at `address` holds.
    fn slot(&self, address: u64) -> Answer<&str> {
        self.name(self.number(address, 8)?)
    }

    /// Where the branch at `address` leads.
    fn branch(&self, address: u64) -> Answer<u64> {
        let distance = (self.number(address, 4)? << 38) as i64 >> 36;
        Ok(address.wrapping_add_signed(distance))
    }

    /// What `field`, called `name`, leads to here, as checks of what it leads to there.
    fn checks(&self, name: &str, field: &Field) -> Answer<Vec<String>> {
        let at = self.address(name)?;
        let slot_of = |target: &str| format!("got_addr(unit.o, _{target})");
        Ok(match field {
            Branch => {
                let target = self.name(self.branch(at)?)?;
                vec![format!(
                    "decode_operand(_{name}, 0)[25:0] = (_{target} - _{name})[27:2]"
                )]
            }
            Stub => {
                // adrp x16, slot; ldr x16, [x16, slot]; br x16
                let stub = self.branch(at)?;
                let target = self.slot(self.pair(stub, stub + 4, 3)?)?;
                let there = format!("stub_addr(unit.o, _{target})");
                vec![
                    format!("decode_operand(_{name}, 0)[25:0] = ({there} - _{name})[27:2]"),
                    format!("*{{8}}({}) = _{target}", slot_of(target)),
                ]
            }
            Page(offset, scale, addend) => {
                let target = self.pair(at, self.address(offset)?, *scale)?;
                let target = self.name(target - addend)?;
                let there = format!("(_{target} + {addend})");
                vec![
                    format!("decode_operand(_{name}, 1) = ({there}[32:12] - _{name}[32:12])"),
                    format!("decode_operand(_{offset}, 2) = {there}[11:{scale}]"),
                ]
            }
            Slot(offset) => {
                let target = self.slot(self.pair(at, self.address(offset)?, 3)?)?;
                let there = slot_of(target);
                vec![
                    format!("decode_operand(_{name}, 1) = ({there}[32:12] - _{name}[32:12])"),
                    format!("decode_operand(_{offset}, 2) = {there}[11:3]"),
                    format!("*{{8}}({there}) = _{target}"),
                ]
            }
            Word(addend) => {
                let target = self.name(self.number(at, 8)? - addend)?;
                vec![format!("*{{8}}_{name} = _{target} + {addend}")]
            }
            Distance(width, addend) => {
                let target =
                    self.name(at.wrapping_add_signed(self.signed(at, *width)?) - addend)?;
                // All 64 bits cannot be asked for as bits.
                let bits = if *width == 8 { "" } else { "[31:0]" };
                vec![format!(
                    "*{{{width}}}_{name} = (_{target} - _{name} + {addend}){bits}"
                )]
            }
            SlotDistance => {
                let target = self.slot(at.wrapping_add_signed(self.signed(at, 4)?))?;
                vec![format!(
                    "*{{4}}_{name} = ({} - _{name})[31:0]",
                    slot_of(target)
                )]
            }
        })
    }

    fn signed(&self, address: u64, width: u64) -> Answer<i64> {
        let unused = 64 - 8 * width;
        Ok((self.number(address, width)? << unused) as i64 >> unused)
    }
}

#[test]
fn llvms_own_linker_leads_everything_to_the_same() -> Answer<()> {
    let linker = first_installed(&["llvm-jitlink-22"]);
    let (Some(linker), true) = (linker, is_installed("clang-22")) else {
        skip(
            "Mach-O arm64 against LLVM's linker",
            "llvm-jitlink-22 or clang-22 is not installed",
        );
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let [unit, object, rules] = ["unit.s", "unit.o", "rules"].map(|name| folder.path().join(name));
    std::fs::write(&unit, SOURCE)?;
    let mut command = Command::new("clang-22");
    command.args(["--target=arm64-apple-macos11", "-c"]);
    succeed(command.arg(&unit).arg("-o").arg(&object))?;

    let bytes = std::fs::read(&object)?;
    let mut roots = vec!["main", "helper", "data"];
    for (name, field) in FIELDS {
        roots.push(name);
        if let Page(offset, ..) | Slot(offset) = field {
            roots.push(offset);
        }
    }
    let image = NativeLoader::new().prepare(&bytes, &roots)?;
    let image = Image(Placed::new(&image.bytes, BASE, |import| {
        (import.name == "external").then_some(EXTERNAL)
    })?);
    let mut checks = Vec::new();
    for (name, field) in FIELDS {
        checks.extend(image.checks(name, field)?);
    }
    let check = |checks: &[String]| -> Answer<_> {
        let lines: String = checks
            .iter()
            .map(|check| format!("# jitlink-check: {check}\n"))
            .collect();
        std::fs::write(&rules, lines)?;
        let mut command = Command::new(linker);
        command
            .arg("--noexec")
            .args(["--abs", &format!("_external={EXTERNAL:#x}")]);
        command.arg(format!("--check={}", rules.display()));
        end_of(command.arg("unit.o").current_dir(folder.path()), "")
    };
    let ended = check(&checks)?;
    assert_eq!(
        ended.status,
        "exit status: 0",
        "{}\n{}",
        ended.stderr,
        checks.join("\n")
    );
    // What is checked is looked at.
    let wrong = ["*{8}_pointer = _helper + 8".to_owned()];
    assert_ne!(check(&wrong)?.status, "exit status: 0");
    Ok(())
}
