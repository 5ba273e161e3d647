//! The machine code of an image, for people: x86-64, in Intel's notation.

use iced_x86::{
    Decoder, DecoderOptions, Formatter as _, IntelFormatter, OpKind, SymbolResolver, SymbolResult,
};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// One instruction, at an offset in the image.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) offset: u64,
    /// Its bytes, in hexadecimal.
    pub(crate) bytes: String,
    pub(crate) text: String,
    /// Other instructions jump here, or call.
    pub(crate) is_target: bool,
}

/// Names the places that the text jumps to or calls.
struct Labels(BTreeSet<u64>);

impl SymbolResolver for Labels {
    fn symbol(
        &mut self,
        _: &iced_x86::Instruction,
        _: u32,
        _: Option<u32>,
        address: u64,
        _: u32,
    ) -> Option<SymbolResult<'_>> {
        self.0
            .contains(&address)
            .then(|| SymbolResult::with_string(address, label(address)))
    }
}

/// The instructions of `text`, whose first byte is offset 0.
pub(crate) fn of(text: &[u8]) -> Vec<Instruction> {
    let instructions: Vec<_> = Decoder::new(64, text, DecoderOptions::NONE)
        .iter()
        .collect();
    let starts: BTreeSet<u64> = instructions.iter().map(|each| each.ip()).collect();
    // Calls of what lies elsewhere go through memory and are none of these.
    let near = [
        OpKind::NearBranch16,
        OpKind::NearBranch32,
        OpKind::NearBranch64,
    ];
    let branches = instructions
        .iter()
        .filter(|each| near.contains(&each.op0_kind()));
    let targets: BTreeSet<u64> = branches
        .map(|each| each.near_branch_target())
        .filter(|target| starts.contains(target))
        .collect();
    let resolver = Box::new(Labels(targets.clone()));
    let mut formatter = IntelFormatter::with_options(Some(resolver), None);
    formatter.options_mut().set_hex_prefix("0x");
    formatter.options_mut().set_hex_suffix("");
    formatter
        .options_mut()
        .set_space_after_operand_separator(true);
    formatter.options_mut().set_rip_relative_addresses(false);
    formatter.options_mut().set_show_branch_size(false);
    let shown = instructions.iter().map(|each| {
        let mut shown = String::new();
        formatter.format(each, &mut shown);
        let start = usize::try_from(each.ip()).unwrap_or(usize::MAX);
        let bytes = text.get(start..start.saturating_add(each.len()));
        Instruction {
            offset: each.ip(),
            bytes: bytes
                .unwrap_or_default()
                .iter()
                .fold(String::new(), |mut hex, byte| {
                    use std::fmt::Write as _;
                    let _ = write!(hex, "{byte:02x}");
                    hex
                }),
            text: shown,
            is_target: targets.contains(&each.ip()),
        }
    });
    shown.collect()
}

/// Prints `code`, a line for each instruction and one for each place that others jump to. Filling at
/// the end of functions is one line, however long it is.
pub(crate) fn print(code: &[Instruction], out: &mut dyn Write) -> io::Result<()> {
    let mut filling = false;
    for each in code {
        let fills = !each.is_target && ["int3", "nop"].contains(&each.text.as_str());
        if each.is_target {
            writeln!(out, "{}:", label(each.offset))?;
        }
        if !(fills && filling) {
            writeln!(
                out,
                "  {:>6x}  {:<20}  {}",
                each.offset, each.bytes, each.text
            )?;
        }
        filling = fills;
    }
    Ok(())
}

fn label(offset: u64) -> String {
    format!("at_{offset:x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_and_calls_have_names() {
        // xor eax,eax; back: add eax,[rip+0x10]; cmp eax,9; jl back; call end; end: ret; int3; int3
        let text = [
            0x31, 0xc0, 0x03, 0x05, 0x10, 0, 0, 0, 0x83, 0xf8, 0x09, 0x7c, 0xf5, 0xe8, 0, 0, 0, 0,
            0xc3, 0xcc, 0xcc,
        ];
        let code = of(&text);
        let shown: Vec<_> = code.iter().map(|each| each.text.as_str()).collect();
        assert_eq!(
            shown,
            [
                "xor eax, eax",
                "add eax, [0x18]",
                "cmp eax, 9",
                "jl at_2",
                "call at_12",
                "ret",
                "int3",
                "int3"
            ]
        );
        let mut out = Vec::new();
        print(&code, &mut out).expect("printed");
        let out = String::from_utf8(out).expect("text");
        assert!(out.contains("at_2:\n       2  030510000000"), "{out}");
        assert_eq!(out.matches("int3").count(), 1, "{out}");
    }

    #[test]
    fn bytes_that_are_no_code_are_shown_as_such() {
        for text in [&[][..], &[0xff], &[0x0f, 0xff, 0xff], &[0xe8, 1]] {
            assert_eq!(
                of(text)
                    .iter()
                    .map(|each| each.bytes.len() / 2)
                    .sum::<usize>(),
                text.len()
            );
        }
    }
}
