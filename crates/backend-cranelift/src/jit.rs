//! Units run at once, by `cranelift-jit`: for code that must not be kept.

use crate::check::{Reach, bind, check, symbol_at};
use crate::error::Error;
use crate::libcalls::libcall;
use crate::module::{data_id, declare, defined_data, description, function_id};
use crate::options::Options;
use crate::unit::{DataRelocation, Linkage, SymbolId, Unit};
use cranelift_codegen::Context;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_jit::{
    BranchProtection, JITBuilder, JITMemoryKind, JITMemoryProvider, JITModule, SystemMemoryProvider,
};
use cranelift_module::{
    Module, ModuleReloc, ModuleRelocTarget, ModuleResult, default_libcall_names,
};
use rekindle_cache_core::artifact::{Code, Jit, Symbols};
use rekindle_cache_core::symbol_hash;
use std::collections::HashMap;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs [`Unit`]s in this process at once, without an object.
///
/// Everything outside a function is reached by its 64-bit address, so it does not matter how far apart
/// a unit's functions and data lie, or whether an imported word is an address at all.
///
/// Cranelift's JIT registers no unwind tables: a panic or exception that reaches a frame of this code
/// aborts the process. Units whose frames have to be crossed are compiled to objects and loaded.
pub struct CraneliftJit {
    isa: OwnedTargetIsa,
}

impl CraneliftJit {
    /// A JIT with `options`. Unwind tables and sections are for objects, and have no effect here.
    ///
    /// # Errors
    /// A machine that Cranelift has no code generator for, or a flag that it does not take.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let options = options.clone().unwind_tables(false);
        Ok(Self {
            isa: options.isa(false)?,
        })
    }
}

/// Code that `cranelift-jit` placed in memory, where it stays.
#[derive(Debug)]
pub struct JitCode {
    /// Addresses of the exports. They are numbers so that a handle may be used by any thread.
    exports: HashMap<String, usize>,
    size: usize,
}

impl Code for JitCode {
    fn symbol(&self, name: &str) -> Option<*const u8> {
        let address = *self.exports.get(name)?;
        Some(ptr::with_exposed_provenance(address))
    }

    fn size(&self) -> usize {
        self.size
    }
}

impl Jit for CraneliftJit {
    type Unit = Unit;
    type Code = JitCode;
    type Error = Error;

    unsafe fn run(&self, unit: &Unit, symbols: &dyn Symbols) -> Result<JitCode, Error> {
        check(unit)?;
        let functions = self.compile(unit)?;
        let words = Imports::resolve(unit, symbols, &functions)?;

        let used = Arc::new(AtomicUsize::new(0));
        let mut builder = JITBuilder::with_isa(self.isa.clone(), default_libcall_names());
        builder.symbols(words.into_addresses());
        builder.memory_provider(Box::new(KeptMemory {
            system: ManuallyDrop::new(SystemMemoryProvider::new()),
            used: Arc::clone(&used),
        }));
        let mut module = JITModule::new(builder);
        declare(unit, &mut module)?;
        for function in &functions {
            let id = function_id(function.index);
            let relocations = &function.relocations;
            module
                .define_function_bytes(id, function.alignment, &function.bytes, relocations)
                .map_err(|error| Error::module(function.name, &error))?;
        }
        for (index, data, contents) in defined_data(unit) {
            module
                .define_data(data_id(index), &description(contents))
                .map_err(|error| Error::module(&data.name, &error))?;
        }
        module
            .finalize_definitions()
            .map_err(|error| Error::Output {
                action: "made executable",
                message: error.to_string(),
            })?;
        Ok(JitCode {
            exports: exports(unit, &module),
            size: used.load(Ordering::Relaxed),
        })
    }
}

impl CraneliftJit {
    fn compile<'a>(&self, unit: &'a Unit) -> Result<Vec<CompiledFunction<'a>>, Error> {
        let mut functions = Vec::new();
        for (index, function) in unit.functions.iter().enumerate() {
            let Some(clif) = &function.clif else {
                continue;
            };
            let clif = bind(unit, function, clif, Reach::Address)?;
            let mut context = Context::for_function(clif);
            context
                .compile(&*self.isa, &mut ControlPlane::default())
                .map_err(|error| Error::compile(&function.name, &error.inner))?;
            let Some(code) = context.compiled_code() else {
                continue;
            };
            let relocations = code.buffer.relocs().iter();
            let relocations = relocations.map(|relocation| {
                ModuleReloc::from_mach_reloc(relocation, &context.func, function_id(index))
            });
            functions.push(CompiledFunction {
                index,
                name: &function.name,
                alignment: u64::from(code.buffer.alignment),
                bytes: code.code_buffer().to_vec(),
                relocations: relocations.collect(),
            });
        }
        Ok(functions)
    }
}

/// A function whose code is finished but for the addresses that it refers to.
struct CompiledFunction<'a> {
    index: usize,
    name: &'a str,
    alignment: u64,
    bytes: Vec<u8>,
    relocations: Vec<ModuleReloc>,
}

/// The words of everything outside the unit that its code or data refers to.
///
/// They are all found, and all references to them tried, before the module sees any of it: it panics
/// on a symbol that nobody knows, on a sum that overflows and on relocations that it does not make.
struct Imports<'a> {
    unit: &'a Unit,
    symbols: &'a dyn Symbols,
    words: HashMap<String, u64>,
}

impl<'a> Imports<'a> {
    fn resolve(
        unit: &'a Unit,
        symbols: &'a dyn Symbols,
        functions: &[CompiledFunction<'_>],
    ) -> Result<Self, Error> {
        let mut imports = Self {
            unit,
            symbols,
            words: HashMap::new(),
        };
        for function in functions {
            for relocation in &function.relocations {
                imports.code_reference(function.name, relocation)?;
            }
        }
        for (_, data, contents) in defined_data(unit) {
            for relocation in &contents.relocations {
                imports.data_reference(&data.name, relocation)?;
            }
        }
        Ok(imports)
    }

    fn code_reference(&mut self, user: &str, relocation: &ModuleReloc) -> Result<(), Error> {
        let complaint = |reason| Error::Relocation {
            name: user.to_owned(),
            relocation: format!("{:?} to {}", relocation.kind, relocation.name),
            reason,
        };
        let symbol = match &relocation.name {
            // Within one function all distances are known and small.
            ModuleRelocTarget::FunctionOffset(..) => return Ok(()),
            ModuleRelocTarget::LibCall(routine) => {
                let name = default_libcall_names()(*routine);
                self.word(user, &name).map(|word| (name, word)).map(Some)?
            }
            ModuleRelocTarget::User { namespace, index } => {
                let symbol = symbol_at(*namespace, *index);
                let symbol = symbol.ok_or_else(|| complaint("leads out of the unit"))?;
                self.imported_word(user, symbol)?
            }
            ModuleRelocTarget::KnownSymbol(_) => {
                return Err(complaint("is for the system's linker"));
            }
        };
        if relocation.kind != Reloc::Abs8 {
            return Err(complaint("the JIT does not make"));
        }
        match symbol {
            Some((_, word)) if !fits(word, relocation.addend) => {
                Err(complaint("overflows the imported word"))
            }
            _ => Ok(()),
        }
    }

    fn data_reference(&mut self, user: &str, relocation: &DataRelocation) -> Result<(), Error> {
        match self.imported_word(user, relocation.symbol)? {
            Some((name, word)) if !fits(word, i64::from(relocation.addend)) => {
                Err(Error::Relocation {
                    name: user.to_owned(),
                    relocation: format!("{name:?} + {}", relocation.addend),
                    reason: "overflows the imported word",
                })
            }
            _ => Ok(()),
        }
    }

    /// The name and word of `symbol`, unless the unit itself defines it.
    fn imported_word(
        &mut self,
        user: &str,
        symbol: SymbolId,
    ) -> Result<Option<(String, u64)>, Error> {
        let declared = match symbol {
            SymbolId::Function(id) => {
                let function = self.unit.functions.get(id.0 as usize);
                function.map(|function| (&function.name, function.linkage))
            }
            SymbolId::Data(id) => {
                let data = self.unit.data.get(id.0 as usize);
                data.map(|data| (&data.name, data.linkage))
            }
        };
        match declared {
            Some((name, Linkage::Import)) => {
                let word = self.word(user, name)?;
                Ok(Some((name.clone(), word)))
            }
            _ => Ok(None),
        }
    }

    fn word(&mut self, user: &str, name: &str) -> Result<u64, Error> {
        if let Some(word) = self.words.get(name) {
            return Ok(*word);
        }
        let word = self.symbols.address(symbol_hash(name), name);
        let word = word
            .or_else(|| libcall(name))
            .ok_or_else(|| Error::UnknownSymbol {
                name: name.to_owned(),
                user: user.to_owned(),
            })?;
        self.words.insert(name.to_owned(), word);
        Ok(word)
    }

    /// The words as the module takes them: as addresses, which it adds to and never follows.
    fn into_addresses(self) -> impl Iterator<Item = (String, *const u8)> {
        let words = self.words.into_iter();
        words.map(|(name, word)| (name, ptr::with_exposed_provenance(word as usize)))
    }
}

fn fits(word: u64, addend: i64) -> bool {
    word.checked_add_signed(addend).is_some()
}

fn exports(unit: &Unit, module: &JITModule) -> HashMap<String, usize> {
    let mut exports = HashMap::new();
    for (index, function) in unit.functions.iter().enumerate() {
        if function.linkage == Linkage::Export {
            let address = module.get_finalized_function(function_id(index));
            exports.insert(function.name.clone(), address.expose_provenance());
        }
    }
    for (index, data) in unit.data.iter().enumerate() {
        if data.linkage == Linkage::Export {
            let (address, _) = module.get_finalized_data(data_id(index));
            exports.insert(data.name.clone(), address.expose_provenance());
        }
    }
    exports
}

/// The system's memory, counted, and never given back: code may be called for as long as the process
/// lives. The module's own memory does not do, as dropping the module unmaps writable data.
struct KeptMemory {
    system: ManuallyDrop<SystemMemoryProvider>,
    used: Arc<AtomicUsize>,
}

impl JITMemoryProvider for KeptMemory {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        let memory = self.system.allocate(size, align, kind)?;
        self.used.fetch_add(size, Ordering::Relaxed);
        Ok(memory)
    }

    unsafe fn free_memory(&mut self) {}

    fn finalize(&mut self, branch_protection: BranchProtection) -> ModuleResult<()> {
        self.system.finalize(branch_protection)
    }
}
