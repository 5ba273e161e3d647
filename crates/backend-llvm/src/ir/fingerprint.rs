//! The digests by which compiled modules are known.

use crate::ir::options::Options;
use crate::ir::target::Machine;
use inkwell::context::Context;
use rekindle_cache_core::{Digest, DigestBuilder};

/// The version of what this crate itself adds to the code: a change of it changes every key.
const BACKEND_VERSION: u64 = 1;

/// The digest of everything but the unit that code depends on.
pub(crate) fn of_compiler(machine: &Machine, options: &Options) -> Digest {
    let mut builder = DigestBuilder::new("rekindle llvm compiler");
    builder
        .number(BACKEND_VERSION)
        // The linked library's own words, with its full version, whatever it was built against.
        .bytes(
            Context::create()
                .create_module("")
                .write_bitcode_to_memory()
                .as_slice(),
        )
        .text(&machine.triple)
        .text(&machine.cpu)
        .text(&machine.features)
        .text(options.pipeline())
        .text(options.opt_level.pipeline())
        .text(&format!("{:?}", options.code_model))
        .number(u64::from(options.unwind_tables))
        .list(options.inputs.len());
    for (name, digest) in &options.inputs {
        builder.text(name).digest(digest);
    }
    builder.finish()
}

/// The version of the LLVM library in this process, such as `22.1.8`.
pub fn llvm_version() -> String {
    #[cfg(any(feature = "ir-llvm14", feature = "ir-llvm15"))]
    {
        // Older ones have no function that says it.
        if cfg!(feature = "ir-llvm14") {
            "14"
        } else {
            "15"
        }
        .to_owned()
    }
    #[cfg(not(any(feature = "ir-llvm14", feature = "ir-llvm15")))]
    {
        let (major, minor, patch) = inkwell::support::get_llvm_version();
        format!("{major}.{minor}.{patch}")
    }
}
