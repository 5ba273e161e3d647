//! Compiles CLIF, the intermediate representation of Cranelift, for the Rekindle code cache.
//!
//! A front end builds a [`Unit`]. [`CraneliftCompiler`] makes an object of it, which a loader links,
//! keeps and runs; [`CraneliftJit`] runs it at once, for code that must not be kept. This crate knows
//! nothing of stores and loaders.
//!
//! ```
//! use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, types::I64};
//! use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
//! use rekindle_backend_cranelift::{CraneliftCompiler, CraneliftJit, Linkage, Options, Unit};
//! use rekindle_cache_core::artifact::{Code, Compiler, Jit, Symbols};
//!
//! let compiler = CraneliftCompiler::native()?;
//! let mut signature = Signature::new(compiler.call_conv());
//! signature.params.push(AbiParam::new(I64));
//! signature.returns.push(AbiParam::new(I64));
//!
//! let mut unit = Unit::new();
//! let double = unit.import_function("host_double", &signature);
//! let word = unit.import_word("const:\"a b\"");
//! let factory = unit.declare_function("factory", Linkage::Export, &signature);
//!
//! let mut body = unit.new_body(factory);
//! let mut context = FunctionBuilderContext::new();
//! let mut builder = FunctionBuilder::new(&mut body, &mut context);
//! let block = builder.create_block();
//! builder.append_block_params_for_function_params(block);
//! builder.switch_to_block(block);
//! builder.seal_all_blocks();
//! let x = builder.block_params(block)[0];
//! let double = unit.func_ref(double, builder.func);
//! let call = builder.ins().call(double, &[x]);
//! let doubled = builder.inst_results(call)[0];
//! let word = unit.global_value(word, builder.func);
//! let word = builder.ins().symbol_value(I64, word);
//! let sum = builder.ins().iadd(doubled, word);
//! builder.ins().return_(&[sum]);
//! builder.finalize(compiler.frontend_config());
//! unit.define_function(factory, body);
//!
//! let object = compiler.compile(&unit)?.object;
//! assert!(object.bytes.starts_with(b"\x7fELF"));
//!
//! struct Host;
//! impl Symbols for Host {
//!     fn address(&self, _hash: u64, name: &str) -> Option<u64> {
//!         extern "C" fn double(x: u64) -> u64 {
//!             2 * x
//!         }
//!         match name {
//!             "host_double" => Some(double as extern "C" fn(u64) -> u64 as usize as u64),
//!             "const:\"a b\"" => Some(0x15),
//!             _ => None,
//!         }
//!     }
//! }
//! // SAFETY: `host_double` is the function that the unit calls it as, and the word is only added.
//! let code = unsafe { CraneliftJit::new(&Options::default())?.run(&unit, &Host)? };
//! let factory = code.symbol("factory").unwrap();
//! // SAFETY: the unit gives `factory` this type.
//! let factory: extern "C" fn(u64) -> u64 = unsafe { std::mem::transmute(factory) };
//! assert_eq!(factory(4), 8 + 0x15);
//! # Ok::<(), rekindle_backend_cranelift::Error>(())
//! ```

mod check;
mod compiler;
mod error;
mod fingerprint;
mod jit;
mod libcalls;
mod module;
mod options;
mod unit;

pub use compiler::CraneliftCompiler;
pub use error::Error;
pub use jit::{CraneliftJit, JitCode};
pub use libcalls::libcall;
pub use options::{Cpu, OptLevel, Options};
pub use unit::{DataContents, DataId, DataRelocation, FunctionId, Linkage, SymbolId, Unit};

/// The Cranelift that units are made with: a front end has to use the same version.
pub use {cranelift_codegen, cranelift_frontend};
