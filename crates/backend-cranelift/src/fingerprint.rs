//! The digests by which compiled code is known: of the compiler, and of a unit.

use crate::options::Options;
use crate::unit::{Linkage, SymbolId, Unit};
use cranelift_codegen::isa::TargetIsa;
use rekindle_cache_core::{Digest, DigestBuilder};
use std::hash::{Hash, Hasher};

/// The version of what this crate itself adds to the code: a change of it changes every key.
const BACKEND_VERSION: u64 = 1;

/// Shared flags that say how Cranelift works and leave no mark on the code.
const NOT_IN_THE_CODE: &[&str] = &[
    "enable_verifier",
    "regalloc_checker",
    "regalloc_verbose_logs",
];

/// The digest of everything but the unit that code depends on.
pub(crate) fn of_compiler(isa: &dyn TargetIsa, options: &Options) -> Digest {
    let mut builder = DigestBuilder::new("rekindle cranelift compiler");
    builder
        .number(BACKEND_VERSION)
        .text(cranelift_codegen::VERSION)
        .text(&isa.triple().to_string())
        .number(u64::from(options.unwind_tables))
        .number(u64::from(options.section_per_symbol));
    let shared: Vec<_> = isa.flags().iter().collect();
    for flags in [shared, isa.isa_flags()] {
        let in_the_code = |name| !NOT_IN_THE_CODE.contains(&name);
        let flags: Vec<_> = flags.iter().filter(|flag| in_the_code(flag.name)).collect();
        builder.list(flags.len());
        for flag in flags {
            builder.text(&flag.to_string());
        }
    }
    builder.finish()
}

/// The digest of `unit`: its symbols, its data, and its functions as far as they reach the code.
///
/// A body is digested through the `Hash` of its stencil, which is all that Cranelift compiles from;
/// the printed CLIF would not do, as it leaves out the memory flags of atomic instructions.
pub(crate) fn of_unit(unit: &Unit) -> Digest {
    let mut builder = DigestBuilder::new("rekindle cranelift unit");
    builder.list(unit.functions.len());
    for function in &unit.functions {
        builder
            .text(&function.name)
            .number(linkage(function.linkage))
            .bytes(&written(&function.signature));
        let Some(clif) = &function.clif else {
            builder.list(0);
            continue;
        };
        // The stencil has its external names as numbers; what they stand for is beside it.
        let names = clif.params.user_named_funcs();
        builder
            .list(1)
            .bytes(&written(&clif.stencil))
            .list(names.len());
        for name in names.values() {
            builder
                .number(u64::from(name.namespace))
                .number(u64::from(name.index));
        }
    }
    builder.list(unit.data.len());
    for data in &unit.data {
        builder.text(&data.name).number(linkage(data.linkage));
        let Some(contents) = &data.contents else {
            builder.list(0);
            continue;
        };
        builder
            .list(1)
            .bytes(&contents.bytes)
            .number(contents.alignment)
            .number(u64::from(contents.writable))
            .list(contents.relocations.len());
        for relocation in &contents.relocations {
            let (sort, index) = match relocation.symbol {
                SymbolId::Function(id) => (0, id.0),
                SymbolId::Data(id) => (1, id.0),
            };
            builder
                .number(u64::from(relocation.offset))
                .number(sort)
                .number(u64::from(index))
                .bytes(&relocation.addend.to_le_bytes());
        }
    }
    builder.finish()
}

fn linkage(linkage: Linkage) -> u64 {
    match linkage {
        Linkage::Local => 0,
        Linkage::Export => 1,
        Linkage::Import => 2,
    }
}

/// The bytes that `value` gives a hasher: prefix-free, as `Hash` asks, and the same in every run.
fn written(value: &impl Hash) -> Vec<u8> {
    struct Written(Vec<u8>);

    impl Hasher for Written {
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }

        fn finish(&self) -> u64 {
            0
        }
    }

    let mut hasher = Written(Vec::with_capacity(1024));
    value.hash(&mut hasher);
    hasher.0
}
