//! LLVM IR and C++ for the Rekindle code cache: planned, and empty in this version.
//!
//! Nothing here compiles anything yet, and no other crate depends on this one. It is the place for two
//! backends, each behind a feature, so that nobody who does without LLVM has to install it:
//!
//! - `ir`: an LLVM module to an object, through inkwell. Its fingerprint will cover the LLVM version,
//!   the pass pipeline, the target machine and its features.
//! - `clang`: a C++ translation unit to an object, by running clang with a precompiled header. It will
//!   report the headers that were read as dependencies, by digest, and return clang's diagnostics in its
//!   error.
//!
//! Both will implement `rekindle_cache_core::artifact::Compiler`, as `rekindle-backend-cranelift` does,
//! and know nothing of stores and loaders. The loader already links what LLVM writes: it takes object
//! files, whoever made them.
