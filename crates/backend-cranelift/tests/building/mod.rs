//! Builds functions of units in a few lines, and hosts that units call.
#![allow(dead_code, reason = "each test file uses the part that it needs")]

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, Type, Value};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use rekindle_backend_cranelift::{CraneliftCompiler, FunctionId, Linkage, Unit};
use rekindle_cache_core::artifact::{Code, Symbols};
use std::collections::HashMap;

/// A signature of the platform's C.
pub(crate) fn signature(parameters: &[Type], results: &[Type]) -> Signature {
    let compiler = CraneliftCompiler::native().expect("this machine has a code generator");
    let mut signature = Signature::new(compiler.call_conv());
    signature
        .params
        .extend(parameters.iter().map(|t| AbiParam::new(*t)));
    signature
        .returns
        .extend(results.iter().map(|t| AbiParam::new(*t)));
    signature
}

/// Gives `function` a body of one block at first, which `build` fills and returns from.
pub(crate) fn define(
    unit: &mut Unit,
    function: FunctionId,
    build: impl FnOnce(&Unit, &mut FunctionBuilder<'_>, &[Value]),
) {
    let compiler = CraneliftCompiler::native().expect("this machine has a code generator");
    let mut body = unit.new_body(function);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut body, &mut context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    let parameters = builder.block_params(block).to_vec();
    build(unit, &mut builder, &parameters);
    builder.seal_all_blocks();
    builder.finalize(compiler.frontend_config());
    unit.define_function(function, body);
}

/// A unit with the function `answer`, which takes nothing and returns what `build` makes.
pub(crate) fn answering(
    declare: impl FnOnce(&mut Unit),
    build: impl FnOnce(&Unit, &mut FunctionBuilder<'_>) -> Value,
) -> Unit {
    let mut unit = Unit::new();
    declare(&mut unit);
    let answer = unit.declare_function("answer", Linkage::Export, &signature(&[], &[I64]));
    define(&mut unit, answer, |unit, builder, _| {
        let value = build(unit, builder);
        builder.ins().return_(&[value]);
    });
    unit
}

/// The word of an imported or own symbol, by name.
pub(crate) fn word(unit: &Unit, builder: &mut FunctionBuilder<'_>, name: &str) -> Value {
    let symbol = unit.symbol(name).expect("the unit declares it");
    let value = unit.global_value(symbol, builder.func);
    builder.ins().symbol_value(I64, value)
}

/// Calls the function `answer` of [`answering`].
pub(crate) fn answer(code: &impl Code) -> u64 {
    let address = code.symbol("answer").expect("the unit exports it");
    // SAFETY: `answering` gives the symbol this type, and code stays for the life of the process.
    let function: extern "C" fn() -> u64 = unsafe { std::mem::transmute(address) };
    function()
}

/// A host that knows a table of words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words(pub(crate) HashMap<String, u64>);

impl Words {
    pub(crate) fn new<'a>(words: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        Self(
            words
                .into_iter()
                .map(|(name, word)| (name.to_owned(), word))
                .collect(),
        )
    }
}

impl Symbols for Words {
    fn address(&self, _hash: u64, name: &str) -> Option<u64> {
        self.0
            .get(name)
            .copied()
            .or_else(|| rekindle_backend_cranelift::libcall(name))
    }
}
