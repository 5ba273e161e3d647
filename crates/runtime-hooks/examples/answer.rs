//! A host in a page: a language whose definitions are numbers, evaluated twice and compiled once.

use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::types::I64;
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::{
    AbiParam, InstBuilder, Signature,
};
use rekindle_runtime_hooks::cranelift::backend::cranelift_frontend::{
    FunctionBuilder, FunctionBuilderContext,
};
use rekindle_runtime_hooks::cranelift::backend::{CraneliftCompiler, Linkage, Unit};
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache};
use rekindle_runtime_hooks::{Compilation, Definition, Digest, Host, Ran};
use std::error::Error;
use std::sync::Arc;

/// A host without namespaces, variables or constants.
struct Plain;

impl Host for Plain {
    fn resolution(&self, _namespace: &str, _symbol: &str) -> Option<Digest> {
        None
    }

    fn symbol(&self, _hash: u64, _name: &str) -> Option<u64> {
        None
    }
}

/// The language: a definition's text is a number, its factory returns it.
fn compile(text: &str) -> Result<Compilation<Unit>, Box<dyn Error>> {
    let number: i64 = text.parse()?;
    let compiler = CraneliftCompiler::native()?;
    let mut signature = Signature::new(compiler.call_conv());
    signature.returns.push(AbiParam::new(I64));
    let mut unit = Unit::new();
    let factory = unit.declare_function("factory", Linkage::Export, &signature);
    let mut body = unit.new_body(factory);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut body, &mut context);
    let block = builder.create_block();
    builder.switch_to_block(block);
    builder.seal_all_blocks();
    let value = builder.ins().iconst(I64, number);
    builder.ins().return_(&[value]);
    builder.finalize(compiler.frontend_config());
    unit.define_function(factory, body);
    Ok(Compilation {
        unit: unit.into(),
        factory: "factory".to_owned(),
        defines: vec!["answer".to_owned()],
        defines_later: Vec::new(),
        references: Vec::new(),
        side_tables: Vec::new(),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let cache = Arc::new(
        CraneliftCache::builder(Cranelift::new()?)
            .in_memory()
            .open()?,
    );
    let definition = Definition {
        name: "answer",
        text: "42",
        context: "",
    };
    // Two sessions stand for two processes: the second one compiles nothing.
    for expected in ["miss", "hit"] {
        let session = cache.session();
        let evaluated = session.eval_def(&definition, &Plain, |_| compile(definition.text))?;
        // SAFETY: `compile` makes factories of this type, which return and touch nothing.
        let factory: extern "C" fn() -> i64 = unsafe { std::mem::transmute(evaluated.factory()) };
        assert_eq!(factory(), 42);
        assert_eq!(evaluated.finish(Ran::Pure).name(), expected);
    }
    Ok(())
}
