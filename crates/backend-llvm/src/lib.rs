//! LLVM IR and C++ for the Rekindle code cache: two backends, each behind a feature, so that nobody who
//! does without LLVM has to install it.
//!
//! | feature | module | compiles | needs |
//! | --- | --- | --- | --- |
//! | `ir` | `ir` | an LLVM module to an object, through inkwell | LLVM 22 to build, its library to run |
//! | `ir-llvm19`, `-llvm16`, `-llvm15`, `-llvm14` | `ir` | the same with an older LLVM | that LLVM |
//! | `clang` | `clang` | C and C++ to an object, by running clang | clang 15 or newer to run |
//!
//! At most one of the features that begin with `ir` can be on. LLVM is linked dynamically where its
//! package has the library. On Debian and Ubuntu, `ir` is built with the packages `llvm-22-dev`,
//! `libpolly-22-dev`, `libzstd-dev` and `zlib1g-dev`, and with `LLVM_SYS_221_PREFIX` set to what
//! `llvm-config-22 --prefix` prints (`140`, `150`, `160` and `191` for the older ones); `cargo xtask test`
//! does all of that. If building stops at `llvm-sys` with "No suitable version of LLVM was found", one of
//! them is missing. The feature `clang` wants `clang-22` at run time, or another from 15 on.
//!
//! ```
//! # #[cfg(feature = "clang")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rekindle_backend_llvm::clang::{ClangCompiler, Options, Unit};
//! use rekindle_cache_core::artifact::Compiler;
//!
//! let Ok(compiler) = ClangCompiler::new(&Options::default().flag("-std=c++20")) else {
//!     return Ok(()); // There is no clang here.
//! };
//! let unit = Unit::new("extern \"C\" long twice(long x) { return 2 * x; }");
//! let object = compiler.compile(&unit)?.object;
//! assert!(object.bytes.starts_with(b"\x7fELF"));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "clang"))]
//! # fn main() {}
//! ```
//!
//! Both implement [`Compiler`](rekindle_cache_core::artifact::Compiler) and know nothing of stores and
//! loaders.

#[cfg(feature = "clang")]
pub mod clang;
#[cfg(feature = "any-ir")]
pub mod ir;

#[cfg(any(
    all(feature = "ir", feature = "ir-llvm19"),
    all(feature = "ir", feature = "ir-llvm16"),
    all(feature = "ir", feature = "ir-llvm15"),
    all(feature = "ir", feature = "ir-llvm14"),
    all(feature = "ir-llvm19", feature = "ir-llvm16"),
    all(feature = "ir-llvm19", feature = "ir-llvm15"),
    all(feature = "ir-llvm19", feature = "ir-llvm14"),
    all(feature = "ir-llvm16", feature = "ir-llvm15"),
    all(feature = "ir-llvm16", feature = "ir-llvm14"),
    all(feature = "ir-llvm15", feature = "ir-llvm14"),
))]
compile_error!(
    "the features `ir`, `ir-llvm19`, `ir-llvm16`, `ir-llvm15` and `ir-llvm14` each choose a version of \
     LLVM, and one program has one: turn all but one of them off (`--all-features` cannot be built)"
);
