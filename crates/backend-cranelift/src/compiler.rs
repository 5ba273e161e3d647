//! Units to objects.

use crate::check::{Reach, bind, check};
use crate::error::Error;
use crate::fingerprint;
use crate::module::{data_id, declare, defined_data, description, function_id};
use crate::options::Options;
use crate::unit::Unit;
use cranelift_codegen::Context;
use cranelift_codegen::isa::{CallConv, OwnedTargetIsa, TargetFrontendConfig, TargetIsa};
use cranelift_module::{Module, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{Compiled, Compiler, Object};

/// Compiles [`Unit`]s to position-independent object files.
///
/// The unit's own functions are called directly; imported functions and words are read from slots
/// (`GOTPCREL` on x86-64), so that a loader relocates no text. With unwind tables, which are the
/// default, the object has an `.eh_frame`; there is none on macOS, for which Cranelift writes none.
///
/// The object has no table of traps: code that traps stops the process with a signal that its host
/// cannot attribute. It has no side tables and no dependencies either.
///
/// One compiler may be used by many threads at once.
pub struct CraneliftCompiler {
    isa: OwnedTargetIsa,
    options: Options,
    fingerprint: Digest,
}

impl CraneliftCompiler {
    /// A compiler with `options`.
    ///
    /// # Errors
    /// A machine that Cranelift has no code generator for, or a flag that it does not take.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let isa = options.isa(true)?;
        let fingerprint = fingerprint::of_compiler(&*isa, options);
        Ok(Self {
            isa,
            options: options.clone(),
            fingerprint,
        })
    }

    /// A compiler of optimised code for this machine's CPU.
    ///
    /// # Errors
    /// A machine that Cranelift has no code generator for.
    pub fn native() -> Result<Self, Error> {
        Self::new(&Options::default())
    }

    /// The calling convention of the platform's C: what `extern "C"` functions have.
    pub fn call_conv(&self) -> CallConv {
        self.isa.default_call_conv()
    }

    /// What `FunctionBuilder::finalize` asks for.
    pub fn frontend_config(&self) -> TargetFrontendConfig {
        self.isa.frontend_config()
    }

    /// Cranelift's description of the target, for front ends that ask it for more.
    pub fn isa(&self) -> &dyn TargetIsa {
        &*self.isa
    }

    /// The target triple that the code is for.
    pub fn target(&self) -> String {
        self.isa.triple().to_string()
    }

    /// The CPU features that the code may use, by Cranelift's names (`has_avx2`), in order.
    ///
    /// They are part of the [`fingerprint`](Compiler::fingerprint) as well.
    pub fn required_features(&self) -> Vec<String> {
        let flags = self.isa.isa_flags();
        let features = flags
            .iter()
            .filter(|flag| flag.name.starts_with("has_") && flag.as_bool() == Some(true));
        let mut features: Vec<_> = features.map(|flag| flag.name.to_owned()).collect();
        features.sort_unstable();
        features
    }

    fn object(&self, unit: &Unit) -> Result<Vec<u8>, Error> {
        check(unit)?;
        // The name goes into the object, so it is the same for every unit.
        let builder = ObjectBuilder::new(self.isa.clone(), "rekindle", default_libcall_names());
        let mut builder = builder.map_err(|error| Error::Host {
            reason: error.to_string(),
        })?;
        let is_macos = self.isa.triple().operating_system.is_like_darwin();
        builder
            .unwind_info(self.options.unwind_tables && !is_macos)
            .per_function_section(self.options.section_per_symbol)
            .per_data_object_section(self.options.section_per_symbol);
        let mut module = ObjectModule::new(builder);
        declare(unit, &mut module)?;

        let mut context = Context::new();
        for (index, function) in unit.functions.iter().enumerate() {
            let Some(clif) = &function.clif else {
                continue;
            };
            context.clear();
            context.func = bind(unit, function, clif, Reach::Distance)?;
            module
                .define_function(function_id(index), &mut context)
                .map_err(|error| Error::module(&function.name, &error))?;
        }
        for (index, data, contents) in defined_data(unit) {
            module
                .define_data(data_id(index), &description(contents))
                .map_err(|error| Error::module(&data.name, &error))?;
        }
        module.finish().emit().map_err(|error| Error::Output {
            action: "written to an object",
            message: error.to_string(),
        })
    }
}

impl Compiler for CraneliftCompiler {
    type Unit = Unit;
    type Error = Error;

    fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    fn digest(&self, unit: &Unit) -> Digest {
        fingerprint::of_unit(unit)
    }

    fn compile(&self, unit: &Unit) -> Result<Compiled, Error> {
        Ok(Compiled {
            object: Object {
                bytes: self.object(unit)?,
                side_tables: Vec::new(),
            },
            dependencies: Vec::new(),
        })
    }
}
