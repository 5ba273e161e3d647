//! cranelift-jit, on a shape of its own: it takes CLIF, or the code that was made of it, and no objects.
//!
//! A unit is what a small definition of a Lisp comes to: a factory that calls a function of the unit
//! and one of the process, a table of words and a name. For this project's loader it is an object;
//! for cranelift-jit the code and the relocations that the object has, compiled beforehand
//! (`cranelift-jit`), or the functions before they are compiled (`cranelift-jit-compile`).

use super::dlopen;
use super::work::{Subject, Unit, Work, call};
use anyhow::{Context as _, Result, anyhow};
use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AbiParam, Function, InstBuilder as _, MemFlagsData, Signature};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{Configurable as _, Flags};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{DataDescription, FuncId, Linkage, Module, ModuleReloc};
use cranelift_object::{ObjectBuilder, ObjectModule};
use std::ffi::CString;
use std::path::PathBuf;

/// The units as objects.
pub(super) fn work(units: usize) -> Result<Work> {
    let units = (0..units).map(|number| {
        let entry = entry(number);
        let object = object(number)?;
        Ok(Unit {
            symbol: CString::new(entry.clone())?,
            entry,
            plain_object: Vec::new(),
            object,
            object_file: PathBuf::new(),
            libraries: Vec::new(),
        })
    });
    Ok(Work {
        name: "small-clif",
        units: units.collect::<Result<_>>()?,
        rounds: 10,
        burst: 1,
    })
}

fn entry(number: usize) -> String {
    format!("factory_{number}")
}

fn isa(is_pic: bool) -> Result<OwnedTargetIsa> {
    let mut flags = cranelift_codegen::settings::builder();
    flags.set("opt_level", "speed")?;
    flags.set("is_pic", if is_pic { "true" } else { "false" })?;
    flags.set("unwind_info", "true")?;
    let builder = cranelift_native::builder().map_err(|reason| anyhow!("{reason}"))?;
    Ok(builder.finish(Flags::new(flags))?)
}

fn object(number: usize) -> Result<Vec<u8>> {
    let names = cranelift_module::default_libcall_names();
    let builder = ObjectBuilder::new(isa(true)?, "unit", names)?;
    let mut module = ObjectModule::new(builder);
    let functions = declare(&mut module, number)?;
    for (function, body) in functions {
        module.define_function(function, &mut Context::for_function(body))?;
    }
    Ok(module.finish().emit()?)
}

/// Declares everything of unit `number` and defines its data; the functions are returned, the factory
/// last.
fn declare(module: &mut dyn Module, number: usize) -> Result<[(FuncId, Function); 2]> {
    let mut signature = module.make_signature();
    signature.params.push(AbiParam::new(I64));
    signature.returns.push(AbiParam::new(I64));
    let length = module.declare_function("strlen", Linkage::Import, &signature)?;
    let body_name = format!("body_{number}");
    let body = module.declare_function(&body_name, Linkage::Local, &signature)?;
    let factory = module.declare_function(&entry(number), Linkage::Export, &signature)?;
    let mut data = |name: &str, bytes: Vec<u8>| {
        let name = format!("{name}_{number}");
        let id = module.declare_data(&name, Linkage::Local, false, false)?;
        let mut description = DataDescription::new();
        description.set_align(8);
        description.define(bytes.into());
        module.define_data(id, &description)?;
        anyhow::Ok(id)
    };
    let name = data("name", format!("user/def-{number}\0").into_bytes())?;
    let words = (0..8u64).flat_map(|word| (word + 3).to_le_bytes());
    let table = data("table", words.collect())?;

    // body(x): the sum of table[i & 7] * i for i from x to x + 9.
    let body_function = function(module, &signature, body, |module, builder, x| {
        let table = module.declare_data_in_func(table, builder.func);
        let table = builder.ins().symbol_value(I64, table);
        let (head, done) = (builder.create_block(), builder.create_block());
        for block in [head, done] {
            builder.append_block_param(block, I64);
        }
        builder.append_block_param(head, I64);
        let zero = builder.ins().iconst(I64, 0);
        let end = builder.ins().iadd_imm_s(x, 9);
        builder.ins().jump(head, &[zero.into(), x.into()]);
        builder.switch_to_block(head);
        let (sum, i) = (builder.block_params(head)[0], builder.block_params(head)[1]);
        let index = builder.ins().band_imm_s(i, 7);
        let offset = builder.ins().imul_imm_s(index, 8);
        let place = builder.ins().iadd(table, offset);
        let word = builder.ins().load(I64, MemFlagsData::trusted(), place, 0);
        let product = builder.ins().imul(word, i);
        let sum = builder.ins().iadd(sum, product);
        let i = builder.ins().iadd_imm_s(i, 1);
        let more = builder.ins().icmp(IntCC::SignedLessThan, i, end);
        let again = [sum.into(), i.into()];
        builder.ins().brif(more, head, &again, done, &[sum.into()]);
        builder.switch_to_block(done);
        builder.block_params(done)[0]
    });
    // factory(x): body(x) + strlen(name).
    let factory_function = function(module, &signature, factory, |module, builder, x| {
        let body = module.declare_func_in_func(body, builder.func);
        let call = builder.ins().call(body, &[x]);
        let sum = builder.inst_results(call)[0];
        let name = module.declare_data_in_func(name, builder.func);
        let name = builder.ins().symbol_value(I64, name);
        let length = module.declare_func_in_func(length, builder.func);
        let call = builder.ins().call(length, &[name]);
        let length = builder.inst_results(call)[0];
        builder.ins().iadd(sum, length)
    });
    Ok([(body, body_function), (factory, factory_function)])
}

/// A function whose body is what `build` makes of its parameter.
fn function(
    module: &mut dyn Module,
    signature: &Signature,
    id: FuncId,
    build: impl FnOnce(
        &mut dyn Module,
        &mut FunctionBuilder<'_>,
        cranelift_codegen::ir::Value,
    ) -> cranelift_codegen::ir::Value,
) -> Function {
    let mut function = Function::new();
    function.signature = signature.clone();
    function.name = cranelift_codegen::ir::UserFuncName::user(0, id.as_u32());
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut function, &mut context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    let x = builder.block_params(block)[0];
    let result = build(module, &mut builder, x);
    builder.ins().return_(&[result]);
    builder.seal_all_blocks();
    builder.finalize(module.target_config());
    function
}

/// cranelift-jit, with a module for all units of a round.
pub(super) struct Jit {
    compiles: bool,
    module: Option<JITModule>,
    ready: Vec<Ready>,
}

/// A unit declared, and its functions as they are or as code.
struct Ready {
    functions: [(FuncId, Function); 2],
    code: Vec<(FuncId, u64, Vec<u8>, Vec<ModuleReloc>)>,
}

impl Jit {
    pub(super) fn new(compiles: bool) -> Result<Self> {
        Ok(Self {
            compiles,
            module: None,
            ready: Vec::new(),
        })
    }
}

impl Subject for Jit {
    fn begin(&mut self, work: &Work) -> Result<()> {
        let names = cranelift_module::default_libcall_names();
        let mut builder = JITBuilder::with_isa(isa(false)?, names);
        builder.symbol_lookup_fn(Box::new(|name| {
            Some(dlopen::global(&CString::new(name).ok()?)?.cast())
        }));
        let mut module = JITModule::new(builder);
        self.ready.clear();
        for number in 0..work.units.len() {
            let functions = declare(&mut module, number)?;
            let mut code = Vec::new();
            for (id, function) in &functions {
                if self.compiles {
                    continue;
                }
                let mut context = Context::for_function(function.clone());
                let compiled = context.compile(module.isa(), &mut Default::default());
                let compiled = compiled.map_err(|error| anyhow!("{:?}", error.inner))?;
                let relocations = compiled.buffer.relocs().iter();
                let relocations =
                    relocations.map(|one| ModuleReloc::from_mach_reloc(one, function, *id));
                let relocations = relocations.collect();
                let bytes = compiled.code_buffer().to_vec();
                let alignment = u64::from(compiled.buffer.alignment);
                code.push((*id, alignment, bytes, relocations));
            }
            self.ready.push(Ready { functions, code });
        }
        self.module = Some(module);
        Ok(())
    }

    fn load_and_call(&mut self, work: &Work, load: usize) -> Result<i64> {
        let module = self.module.as_mut().context("no module")?;
        let ready = self
            .ready
            .get_mut(work.number(load))
            .context("no such unit")?;
        for (id, alignment, bytes, relocations) in &ready.code {
            module.define_function_bytes(*id, *alignment, bytes, relocations)?;
        }
        if self.compiles {
            for (id, function) in &ready.functions {
                let mut context = Context::for_function(function.clone());
                module.define_function(*id, &mut context)?;
            }
        }
        module.finalize_definitions()?;
        let unit = work.unit(load)?;
        let found = module.get_name(&unit.entry).context("no such name")?;
        let cranelift_module::FuncOrDataId::Func(factory) = found else {
            anyhow::bail!("the factory is no function");
        };
        let entry = module.get_finalized_function(factory);
        // SAFETY: it is the unit's factory.
        Ok(unsafe { call(entry as usize) })
    }

    fn end(&mut self) -> Result<()> {
        if let Some(module) = self.module.take() {
            // SAFETY: nothing of its code is used any more.
            unsafe { module.free_memory() };
        }
        Ok(())
    }
}
