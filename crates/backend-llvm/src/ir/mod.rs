//! LLVM modules to objects, through inkwell.
//!
//! A front end builds a module, or has its text or bitcode; a [`Unit`] is made of it, which is verified
//! and belongs to no context, so that any thread can compile it. [`LlvmCompiler`] makes an object of it.
//!
//! ```
//! use rekindle_backend_llvm::ir::{LlvmCompiler, Unit};
//! use rekindle_cache_core::artifact::Compiler;
//!
//! let unit = Unit::from_ir(
//!     "define i64 @twice(i64 %x) {
//!        %sum = add i64 %x, %x
//!        ret i64 %sum
//!      }",
//! )?;
//! let object = LlvmCompiler::native()?.compile(&unit)?.object;
//! assert!(object.bytes.starts_with(b"\x7fELF"));
//! # Ok::<(), rekindle_backend_llvm::ir::Error>(())
//! ```
//!
//! # What is LLVM's
//!
//! Errors that LLVM reports are returned: of the parser, the verifier, the passes, the code generator and
//! its assembler. For a few things that it cannot do, such as an intrinsic that the target has no
//! instructions for, LLVM ends the process and leaves no choice. Bitcode is trusted as code is: its reader
//! is not made for hostile bytes.

mod compiler;
mod diagnostics;
mod error;
mod fingerprint;
mod options;
mod target;
mod unit;

pub use compiler::LlvmCompiler;
pub use error::Error;
pub use fingerprint::llvm_version;
pub use options::{CodeModel, Cpu, OptLevel, Options};
pub use unit::Unit;

/// The inkwell that modules are made with: a front end has to use the same version.
pub use inkwell;
