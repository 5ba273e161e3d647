//! The code cache for C and C++ hosts: `rekindle-runtime-hooks` behind functions of the C ABI.
//!
//! Hosts read `include/rekindle.h`, which `cargo xtask header` makes of this crate, so what is public here
//! is documented for them. `include/rekindle.hpp` is a layer over it for C++20. From Rust nobody has to call it:
//!
//! ```
//! // What a host in C compares with `REKINDLE_ABI_VERSION`, which it was compiled with.
//! assert_eq!(rekindle::rekindle_abi_version(), rekindle::REKINDLE_ABI_VERSION);
//! ```
//!
//! | file | subject |
//! | --- | --- |
//! | `boundary.rs` | texts, pointers and panics at the boundary |
//! | `error.rs`, `digest.rs` | errors and digests as hosts see them |
//! | `options.rs`, `cache.rs` | opening caches, sessions |
//! | `host.rs` | what is asked of a host: its callbacks |
//! | `evaluate.rs`, `compilation.rs`, `recorder.rs` | evaluating a definition |
//! | `backend.rs`, `clang.rs` | the backend: objects that hosts bring, and source text for clang |
//! | `better.rs` | better code in idle time |
//! | `lent.rs` | data of a host's that is given back when nobody needs it |
//! | `warm.rs`, `import.rs` | compiling a program without running it, taking over a bundle |
//! | `code.rs` | code that is in the process |
//! | `statistics.rs`, `log.rs` | what is told |
#![expect(
    clippy::missing_safety_doc,
    reason = "what callers must see to is said once, at the top of the header, and beside it for each \
              pointer in words that C has too"
)]

mod backend;
mod better;
mod boundary;
mod cache;
mod clang;
mod code;
mod compilation;
mod digest;
mod error;
mod evaluate;
mod host;
mod import;
mod lent;
mod log;
mod options;
mod recorder;
mod statistics;
mod warm;

pub use better::{
    BetterCallback, rekindle_improve, rekindle_options_better, rekindle_options_better_flag,
    rekindle_options_improving, rekindle_options_on_better,
};
pub use boundary::{Bytes, Range, Text, rekindle_text_of};
pub use cache::{
    Cache, Session, rekindle_cache_environment, rekindle_cache_flush, rekindle_cache_free,
    rekindle_session_begin_epoch, rekindle_session_changed, rekindle_session_free,
    rekindle_session_new, rekindle_session_statistics,
};
pub use clang::{
    rekindle_options_clang, rekindle_options_clang_directory, rekindle_options_clang_flag,
    rekindle_options_clang_folder, rekindle_options_clang_is_c, rekindle_options_clang_prelude,
    rekindle_options_clang_program, rekindle_options_clang_time_limit,
    rekindle_options_clang_variable,
};
pub use code::{
    Code, rekindle_code_constants, rekindle_code_data, rekindle_code_free, rekindle_code_payload,
    rekindle_code_side_table, rekindle_code_side_table_count, rekindle_code_symbol,
    rekindle_code_text, rekindle_code_thread_data, rekindle_code_unload,
};
pub use compilation::{
    Compilation, GenerateCallback, Unit, rekindle_compilation_analysed,
    rekindle_compilation_defines, rekindle_compilation_defines_later, rekindle_compilation_factory,
    rekindle_compilation_fail, rekindle_compilation_references, rekindle_compilation_side_table,
    rekindle_compilation_unit, rekindle_unit_better, rekindle_unit_fail, rekindle_unit_object,
    rekindle_unit_source,
};
pub use digest::{Digest, rekindle_digest_of};
pub use error::{
    Error, ErrorCode, rekindle_error_code_of, rekindle_error_free, rekindle_error_text,
};
pub use evaluate::{
    CompileCallback, Definition, Evaluation, OutcomeCode, Ran, rekindle_eval,
    rekindle_evaluation_code, rekindle_evaluation_factory, rekindle_evaluation_finish,
    rekindle_evaluation_free, rekindle_evaluation_outcome, rekindle_evaluation_reason,
};
pub use host::{Host, Path, Word, WordKind, rekindle_path_set};
pub use import::{Imported, rekindle_import};
pub use lent::ReleaseCallback;
pub use log::{LogCallback, LogLevel, rekindle_set_log};
pub use options::{
    Event, ListenerCallback, Mode, Options, SymbolWord, rekindle_open, rekindle_options_compiler,
    rekindle_options_cpu_feature, rekindle_options_deadline, rekindle_options_expected_cost,
    rekindle_options_explain, rekindle_options_folder, rekindle_options_free,
    rekindle_options_in_memory, rekindle_options_input, rekindle_options_limits,
    rekindle_options_listener, rekindle_options_mode, rekindle_options_new,
    rekindle_options_on_event, rekindle_options_symbols, rekindle_options_target,
};
pub use recorder::{
    Recorder, rekindle_recorder_bypass, rekindle_recorder_effect, rekindle_recorder_file,
    rekindle_recorder_files, rekindle_recorder_host, rekindle_recorder_ran, rekindle_recorder_read,
    rekindle_recorder_resolved, rekindle_recorder_variable,
};
pub use statistics::{
    CountCallback, MemoryStatistics, Statistics, rekindle_cache_lifetime,
    rekindle_memory_statistics, rekindle_session_reasons,
};

pub use warm::{
    FailedCallback, ProgressCallback, RunCallback, Warmed, Warmer, Warming, rekindle_warm,
    rekindle_warming_catch_up, rekindle_warming_expect, rekindle_warming_finish,
    rekindle_warming_free, rekindle_warming_new,
};

/// The version of this interface. `rekindle_open` gets it from the header that a host was compiled with and
/// refuses another than that of the library.
pub const REKINDLE_ABI_VERSION: u32 = 1;

/// The version of the interface that this library has. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn rekindle_abi_version() -> u32 {
    REKINDLE_ABI_VERSION
}
