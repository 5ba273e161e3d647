//! A process that brings back N definitions: Rekindle beside what its users would use instead.
//!
//! The definitions are those of the benchmark of the hooks: a function of some 2 KB of code that makes 44 calls
//! into the host and refers to eight words of it, and a factory that gives its address. Each peer has them in
//! the form that it keeps, prepared beforehand and untimed. A sample is one definition, from nothing of it in
//! the process to the first call of its function, whose answer is checked. They come one after the other, in
//! the order of the program, as a runtime comes upon them; before the first of them a process opens what it has
//! to (`setup_ns`: a cache and the language's library of 80 definitions, a JIT, an engine).
//!
//! | subject | what it does for a definition |
//! | --- | --- |
//! | `rekindle` | form key, look-up, dependencies checked, image copied, checked, bound and registered, effects |
//! | `rekindle-cold` | the same with an empty folder: compiled, loaded and kept |
//! | `orc-jitlink`, `orc-rtdyld` | reads the object from a cache of files and gives it to LLVM 22's ORC, in a JITDylib of its own |
//! | `orc-jitlink-shared` | the same in one JITDylib for all, with the host's words defined once |
//! | `dlopen` | opens the library that lld made of the object beforehand |
//! | `wasmtime` | `Module::deserialize_file` of what it compiled before; instantiated, its export called |
//! | `wasmtime-cache` | reads the wasm and asks wasmtime with its own cache on for a module |
//! | `numba` | the first call of a function with `cache=True`, compiled in an earlier process |
//! | `cranelift-jit` | builds its CLIF and compiles it, in one module for all |
//! | `clang` | writes it as C, runs `clang -O2` to a shared library, and opens that |
//!
//! Each subject is measured in processes of its own, and the subjects take turns, another beginning in each
//! round and every other round going backwards. A first process of each, whose figures are dropped, has the
//! files in the kernel's cache, unless it takes so long that this cannot matter. A subject that has
//! not ended within the limit stops, as does one that fails, and its row says why; it is not asked for more
//! definitions then. `total_ns` is the median of the processes' times of all definitions, `spread_ns` the least
//! and the greatest; `bytes` what a definition adds to the process's proportional share of memory.
//!
//! Peers are given what favours them: ORC and `dlopen` get objects without debug information, `dlopen` even without
//! unwind tables (lld does not take Cranelift's), wasmtime makes no unwind tables for native debuggers and no map of addresses, and has its
//! limit of instances raised; Numba's function has the host's functions inlined; no peer checks what it reads.

mod clang;
#[cfg(feature = "end-to-end")]
mod cranelift;
mod dlopen;
mod files;
mod numba;
mod orc;
mod peer;
pub(crate) mod rekindle;
mod run;
#[cfg(feature = "end-to-end")]
mod wasmtime;

pub(crate) use run::{Options, failure, measure, run_process};
