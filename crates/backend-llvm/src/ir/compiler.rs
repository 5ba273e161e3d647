//! Units to objects.

use crate::ir::diagnostics::Listening;
use crate::ir::error::Error;
use crate::ir::fingerprint;
use crate::ir::options::Options;
use crate::ir::target::{Machine, text};
use crate::ir::unit::Unit;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::context::Context;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{FileType, TargetMachine};
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{Compiled, Compiler, Object};
use std::time::Duration;

/// Unwind tables that are right at every instruction; older versions know the attribute without a value.
const ASYNCHRONOUS: u64 = if cfg!(feature = "ir-llvm14") { 0 } else { 2 };

/// Compiles [`Unit`]s to position-independent object files.
///
/// Each compilation has an LLVM context of its own, so one compiler may be used by many threads at once,
/// and they do not wait for each other.
///
/// An object has all functions in one section, unless the module gives them sections of their own, so that
/// a loader keeps or drops them together.
#[derive(Debug, Clone)]
pub struct LlvmCompiler {
    machine: Machine,
    options: Options,
    fingerprint: Digest,
}

impl LlvmCompiler {
    /// A compiler with `options`.
    ///
    /// # Errors
    /// A target or passes that LLVM does not know.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let machine = Machine::new(options)?;
        let compiler = Self {
            fingerprint: fingerprint::of_compiler(&machine, options),
            machine,
            options: options.clone(),
        };
        let listening = Listening::new();
        let empty = listening.context().create_module("");
        compiler.run_passes(&empty, &compiler.machine.make()?)?;
        Ok(compiler)
    }

    /// A compiler of code at `-O2` for this machine's CPU.
    ///
    /// # Errors
    /// A machine that LLVM has no code generator for.
    pub fn native() -> Result<Self, Error> {
        Self::new(&Options::default())
    }

    /// The target triple that the code is for.
    pub fn target(&self) -> String {
        self.machine.triple.clone()
    }

    /// What the code may use of the CPU, by LLVM's names (`+avx2`, `cpu:znver4`), in order. It is part of
    /// the [`fingerprint`](Compiler::fingerprint) as well.
    pub fn required_features(&self) -> Vec<String> {
        self.machine.required_features()
    }

    /// Assembly in place of an object, for people.
    ///
    /// # Errors
    /// As of [`compile`](Compiler::compile).
    pub fn assembly(&self, unit: &Unit) -> Result<String, Error> {
        let bytes = self.emit(unit, FileType::Assembly)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn emit(&self, unit: &Unit, what: FileType) -> Result<Vec<u8>, Error> {
        let listening = Listening::new();
        let module = unit.module(&listening)?;
        let machine = self.machine.make()?;
        self.fit(&module, &machine)?;
        if self.options.unwind_tables {
            give_unwind_tables(listening.context(), &module);
        }
        self.run_passes(&module, &machine)?;
        let written = machine.write_to_memory_buffer(&module, what);
        // An error of the assembler comes to the context alone; the object is then without its code.
        if let Some(reason) = listening.errors() {
            return Err(Error::Compile { reason });
        }
        match written {
            Ok(buffer) => Ok(buffer.as_slice().to_vec()),
            Err(error) => Err(Error::Compile {
                reason: error.to_string(),
            }),
        }
    }

    /// Makes the module one for this target, which it may leave open.
    fn fit(&self, module: &Module<'_>, machine: &TargetMachine) -> Result<(), Error> {
        let own = machine.get_triple();
        let named = TargetMachine::normalize_triple(&module.get_triple());
        let (named, is_open) = (text(&named), module.get_triple().as_str().is_empty());
        if !is_open && named != text(&TargetMachine::normalize_triple(&own)) {
            return Err(Error::OtherTarget {
                module: named,
                compiler: self.target(),
            });
        }
        module.set_triple(&own);
        module.set_data_layout(&machine.get_target_data().get_data_layout());
        Ok(())
    }

    fn run_passes(&self, module: &Module<'_>, machine: &TargetMachine) -> Result<(), Error> {
        let passes = self.options.pipeline();
        let run = module.run_passes(passes, machine, PassBuilderOptions::create());
        run.map_err(|error| Error::Passes {
            passes: passes.to_owned(),
            reason: error.to_string(),
        })
    }
}

fn give_unwind_tables(context: &Context, module: &Module<'_>) {
    let kind = Attribute::get_named_enum_kind_id("uwtable");
    let attribute = context.create_enum_attribute(kind, ASYNCHRONOUS);
    for function in module.get_functions() {
        let is_defined = function.count_basic_blocks() > 0;
        if is_defined
            && function
                .get_enum_attribute(AttributeLoc::Function, kind)
                .is_none()
        {
            function.add_attribute(AttributeLoc::Function, attribute);
        }
    }
}

impl Compiler for LlvmCompiler {
    type Unit = Unit;
    type Error = Error;

    fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    fn digest(&self, unit: &Unit) -> Digest {
        unit.digest()
    }

    fn expected_cost(&self) -> Duration {
        Duration::from_millis(2)
    }

    fn compile(&self, unit: &Unit) -> Result<Compiled, Error> {
        Ok(Compiled {
            object: Object {
                bytes: self.emit(unit, FileType::Object)?,
                side_tables: Vec::new(),
            },
            dependencies: Vec::new(),
        })
    }
}
