//! cranelift-jit, compiling anew: one module for all definitions, each finished when it is wanted. The host's
//! words are constants in the code, as a JIT's may be.

use super::peer::{ARGUMENTS, Function, Peer, Place};
use crate::language::{RUNTIME, Source, define};
use anyhow::{Result, anyhow};
use cranelift_codegen::Context;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AbiParam, InstBuilder as _};
use cranelift_codegen::settings::{Configurable as _, Flags};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module as _};

struct Jit {
    module: JITModule,
    runtime: Vec<FuncId>,
}

pub(super) fn start(_place: &Place) -> Result<Box<dyn Peer>> {
    let mut flags = cranelift_codegen::settings::builder();
    flags.set("opt_level", "speed")?;
    flags.set("is_pic", "false")?;
    flags.set("enable_verifier", "false")?;
    let isa = cranelift_native::builder().map_err(|reason| anyhow!("{reason}"))?;
    let isa = isa.finish(Flags::new(flags))?;
    let mut builder = JITBuilder::with_isa(isa, cranelift_module::default_libcall_names());
    for (name, function) in RUNTIME {
        builder.symbol(name, function as usize as *const u8);
    }
    let mut module = JITModule::new(builder);
    let mut signature = module.make_signature();
    signature.params.extend([AbiParam::new(I64); 2]);
    signature.returns.push(AbiParam::new(I64));
    let mut runtime = Vec::new();
    for (name, _) in RUNTIME {
        runtime.push(module.declare_function(name, Linkage::Import, &signature)?);
    }
    Ok(Box::new(Jit { module, runtime }))
}

impl Peer for Jit {
    fn bring_back(&mut self, number: usize) -> Result<u64> {
        let module = &mut self.module;
        let mut context = Context::new();
        let parameters = [AbiParam::new(I64); 2];
        context.func.signature = module.make_signature();
        context.func.signature.params.extend(parameters);
        context.func.signature.returns.push(AbiParam::new(I64));
        let words = Source::words(number);
        let callees = self.runtime.iter();
        let callees: Vec<_> = callees
            .map(|callee| module.declare_func_in_func(*callee, &mut context.func))
            .collect();
        let config = module.target_config();
        define(&mut context.func, number, config, |builder, call| {
            let word = words[call.word].value as i64;
            let word = builder.ins().iconst(I64, word);
            (callees[call.runtime], word)
        });
        let name = format!("function_{number}");
        let signature = &context.func.signature;
        let function = module.declare_function(&name, Linkage::Local, signature)?;
        module.define_function(function, &mut context)?;
        module.finalize_definitions()?;
        let address = module.get_finalized_function(function);
        // SAFETY: it was compiled just now, as such a function.
        let function = unsafe { std::mem::transmute::<*const u8, Function>(address) };
        let (left, right) = ARGUMENTS;
        Ok(function(left, right))
    }
}
