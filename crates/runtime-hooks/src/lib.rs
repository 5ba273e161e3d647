//! The definition-evaluating fast path: what a runtime depends on to get its code back.
//!
//! A runtime opens a [`Cache`], starts a [`Session`] on it, and passes each definition's source text to
//! [`Session::eval_def`]. If an earlier process compiled exactly this definition, and everything that it
//! depended on still is what it was, its code is loaded and nothing of the runtime's front end runs.
//! Otherwise the runtime's closure reads and compiles it, telling a [`Recorder`] what it looks at, and the
//! very object that it makes is both run and kept.
//!
//! The whole of it is `examples/answer.rs`:
#![cfg_attr(feature = "cranelift", doc = "```")]
#![cfg_attr(feature = "cranelift", doc = include_str!("../examples/answer.rs"))]
#![cfg_attr(feature = "cranelift", doc = "```")]
//!
//! What makes a hit right is written down at [`Recorder`] and in the keys of `rekindle-cache-core`.

mod arena;
mod asked;
mod background;
mod better;
mod cache;
mod compilation;
mod compile;
mod crew;
mod definitions;
mod error;
mod evaluate;
mod explain;
mod flights;
mod host;
mod jobs;
mod keep;
mod kept;
mod lanes;
mod look_up;
mod looks;
mod modules;
mod names;
mod native;
mod outcome;
mod outside;
mod process;
mod recorder;
mod report;
pub mod settings;
mod shared;
mod statistics;
mod table;
mod timeline;
mod unkept;
mod unmade;
mod verify;
mod warm;
mod watch;
mod worker;

#[cfg(feature = "clang")]
pub mod clang;
#[cfg(feature = "cranelift")]
pub mod cranelift;
#[cfg(feature = "llvm")]
pub mod llvm;
mod object_jit;

pub use better::{BetterCompiler, BetterListener, Improving};
pub use cache::{Backend, Cache, CacheBuilder, Session};
pub use compilation::{Compilation, UnitSource};
pub use crew::Crew;
pub use definitions::Ordinal;
pub use error::{EvalError, HookError};
pub use evaluate::{Evaluated, Ran, Running};
pub use host::{Host, SymbolTable};
pub use modules::{Module, module_of, modules};
pub use native::native_loader;
pub use object_jit::{ObjectJit, ObjectJitError};
pub use outcome::{BypassReason, Change, Difference, MissReason, Outcome, RejectReason};
pub use recorder::Recorder;
pub use report::{Event, Listener};
pub use statistics::Statistics;
pub use warm::PutOff;

pub use rekindle_cache_core::artifact::SideTable;
pub use rekindle_cache_core::key::Definition;
pub use rekindle_cache_core::{Digest, DigestBuilder, symbol_hash};

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Locks what stays right even if a thread panicked while it held the lock: every change under our
/// locks is made by single calls that leave the data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => wait_for(mutex),
    }
}

/// Waits for a lock that is held for a fraction of a microsecond as a rule. Being woken takes far longer than that,
/// of who waits and of who wakes, so that it is asked again for some ten microseconds first.
#[cold]
fn wait_for<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for round in 0..12 {
        for _ in 0..1 << 5.min(round) {
            std::hint::spin_loop();
        }
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guide, whose program is a test.
#[cfg(all(doctest, feature = "cranelift"))]
#[doc = include_str!("../../../docs/embedding.md")]
struct Guide;
