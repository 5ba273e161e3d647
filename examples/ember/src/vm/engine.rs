//! The backends of ember as one, which takes [programs](Program): which of them it is is chosen when a Vm is
//! made.

use super::Failure;
#[cfg(feature = "clang")]
use super::{CachePlace, cpp};
use crate::compiler::ir::Program;
use crate::compiler::lowered;
use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::{Code, Compiled, Compiler, Jit, Symbols};
#[cfg(feature = "clang")]
use rekindle_runtime_hooks::clang::Clang;
#[cfg(feature = "cranelift")]
use rekindle_runtime_hooks::cranelift::Cranelift;
#[cfg(feature = "llvm")]
use rekindle_runtime_hooks::llvm::Llvm;
use rekindle_runtime_hooks::{Backend, BetterCompiler};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(not(any(feature = "cranelift", feature = "llvm", feature = "clang")))]
compile_error!("ember needs a backend: turn on the feature `cranelift`, `llvm` or `clang`");

/// What compiles programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// Cranelift, from CLIF.
    #[default]
    Cranelift,
    /// LLVM, from its IR.
    Llvm,
    /// clang, from C++.
    Clang,
}

impl Choice {
    /// All that there are, whether this ember was built with them or not.
    pub const ALL: [Self; 3] = [Self::Cranelift, Self::Llvm, Self::Clang];
}

impl fmt::Display for Choice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Cranelift => "cranelift",
            Self::Llvm => "llvm",
            Self::Clang => "clang",
        })
    }
}

/// What compiles programs, and what it is given besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackendOptions {
    /// What compiles.
    pub choice: Choice,
    /// Further flags for clang.
    pub cpp_flags: Vec<String>,
    /// C++ that all code of clang's begins with, compiled once.
    pub cpp_prelude: String,
    /// What makes better code in idle time.
    pub better: Option<Better>,
}

/// What makes better code, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Better {
    /// What compiles.
    pub choice: Choice,
    /// What took longer than this to compile is compiled by it at once.
    pub costly: Duration,
    /// How long the end of the program waits for that.
    pub at_close: Duration,
}

/// The chosen backend.
pub(super) struct Engine {
    compiler: Programs,
    better: Option<Programs>,
    jit: Unkept,
    target: String,
    features: Vec<String>,
}

/// One of the backends, shared by what compiles and what runs at once.
#[derive(Clone)]
enum Chosen {
    #[cfg(feature = "cranelift")]
    Cranelift(Arc<Cranelift>),
    #[cfg(feature = "llvm")]
    Llvm(Arc<Llvm>),
    #[cfg(feature = "clang")]
    Clang(Arc<Clang>),
}

impl Chosen {
    /// Whether it compiles the C++ that a program may have with it.
    fn takes_cpp(&self) -> bool {
        match self {
            #[cfg(feature = "clang")]
            Self::Clang(_) => true,
            #[allow(unreachable_patterns, reason = "with clang alone there are no others")]
            _ => false,
        }
    }
}

/// The same expression of the backend, whichever it is; `lower` makes its unit of a program.
macro_rules! of_backend {
    ($chosen:expr, $backend:ident, $lower:ident => $value:expr) => {
        match $chosen {
            #[cfg(feature = "cranelift")]
            Chosen::Cranelift($backend) => {
                let $lower = lowered::clif;
                $value
            }
            #[cfg(feature = "llvm")]
            Chosen::Llvm($backend) => {
                let $lower = lowered::llvm;
                $value
            }
            #[cfg(feature = "clang")]
            Chosen::Clang($backend) => {
                let $lower = lowered::cpp;
                $value
            }
        }
    };
}

impl Engine {
    /// The backend of `options`. clang keeps what it keeps in a folder of `cache`.
    pub(super) fn new(
        options: &BackendOptions,
        #[cfg(feature = "clang")] cache: &CachePlace,
    ) -> Result<Self, Failure> {
        let make = |choice: Choice| {
            Ok(match choice {
                #[cfg(feature = "cranelift")]
                Choice::Cranelift => {
                    Chosen::Cranelift(Arc::new(Cranelift::new().map_err(failure)?))
                }
                #[cfg(feature = "llvm")]
                Choice::Llvm => Chosen::Llvm(Arc::new(Llvm::new().map_err(failure)?)),
                #[cfg(feature = "clang")]
                Choice::Clang => {
                    cpp::load_library();
                    let clang = Clang::with(&cpp::options(options, cache));
                    Chosen::Clang(Arc::new(clang.map_err(failure)?))
                }
                #[allow(unreachable_patterns, reason = "with all features there are no others")]
                other => {
                    return Err(Failure::Backend(format!(
                        "this ember was built without {other}, which is its feature of that name"
                    )));
                }
            })
        };
        let chosen = make(options.choice)?;
        let mut features = of_backend!(&chosen, backend, _lower => backend.required_features());
        let mut better = None;
        if let Some(wanted) = options.better {
            let chosen = make(wanted.choice)?;
            features.extend(of_backend!(&chosen, backend, _lower => backend.required_features()));
            features.sort();
            features.dedup();
            better = Some(Programs(chosen));
        }
        Ok(Self {
            target: of_backend!(&chosen, backend, _lower => backend.target()),
            features,
            better,
            jit: Unkept(chosen.clone()),
            compiler: Programs(chosen),
        })
    }
}

fn failure(error: impl fmt::Display) -> Failure {
    Failure::Backend(error.to_string())
}

/// Why a backend did not take a program, in its words.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct NotCompiled(Box<dyn Error + Send + Sync>);

/// Makes objects of programs.
pub(super) struct Programs(Chosen);

impl Compiler for Programs {
    type Unit = Program;
    type Error = NotCompiled;

    fn fingerprint(&self) -> Digest {
        of_backend!(&self.0, backend, _lower => backend.compiler().fingerprint())
    }

    /// The lowering is the executable's, whose build is part of every key.
    fn digest(&self, program: &Program) -> Digest {
        program.canonical()
    }

    fn expected_cost(&self) -> Duration {
        of_backend!(&self.0, backend, _lower => backend.compiler().expected_cost())
    }

    fn compile(&self, program: &Program) -> Result<Compiled, NotCompiled> {
        if program.cpp.is_some() && !self.0.takes_cpp() {
            return Err(NotCompiled("only clang compiles C++".into()));
        }
        of_backend!(&self.0, backend, lower => {
            let compiled = backend.compiler().compile(&lower(program));
            compiled.map_err(|error| NotCompiled(Box::new(error)))
        })
    }
}

/// Runs programs at once.
pub(super) struct Unkept(Chosen);

/// Code of one of the backends' JITs.
pub(super) struct UnkeptCode(Box<dyn Code>);

impl Code for UnkeptCode {
    fn symbol(&self, name: &str) -> Option<*const u8> {
        self.0.symbol(name)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

impl Jit for Unkept {
    type Unit = Program;
    type Code = UnkeptCode;
    type Error = NotCompiled;

    unsafe fn run(
        &self,
        program: &Program,
        symbols: &dyn Symbols,
    ) -> Result<UnkeptCode, NotCompiled> {
        of_backend!(&self.0, backend, lower => {
            // SAFETY: the caller vouches for the program, of which the lowering makes a unit that does the
            // same, and for the symbols.
            let code = unsafe { backend.jit().run(&lower(program), symbols) };
            match code {
                Ok(code) => Ok(UnkeptCode(Box::new(code))),
                Err(error) => Err(NotCompiled(Box::new(error))),
            }
        })
    }

    fn goes_by_objects(&self) -> bool {
        of_backend!(&self.0, backend, _lower => backend.jit().goes_by_objects())
    }
}

/// The loader of all backends, which differs in nothing but what it was made with.
type NativeLoader = <AnyBackend as Backend>::Loader;
#[cfg(feature = "cranelift")]
type AnyBackend = Cranelift;
#[cfg(all(feature = "llvm", not(feature = "cranelift")))]
type AnyBackend = Llvm;
#[cfg(all(feature = "clang", not(any(feature = "cranelift", feature = "llvm"))))]
type AnyBackend = Clang;

// SAFETY: each backend vouches for itself, and the lowerings make units that do what the program says. They
// are part of the executable, whose build is part of every key. What is asked of the backend is answered by
// the one that was chosen.
unsafe impl Backend for Engine {
    type Unit = Program;
    type Compiler = Programs;
    type Jit = Unkept;
    type Loader = NativeLoader;

    fn compiler(&self) -> &Programs {
        &self.compiler
    }

    fn jit(&self) -> &Unkept {
        &self.jit
    }

    fn loader(&self) -> &NativeLoader {
        of_backend!(&self.compiler.0, backend, _lower => backend.loader())
    }

    fn better(&self) -> Option<&dyn BetterCompiler<Program>> {
        let better = self.better.as_ref()?;
        Some(better)
    }

    fn target(&self) -> String {
        self.target.clone()
    }

    fn required_features(&self) -> Vec<String> {
        self.features.clone()
    }

    fn libcall(&self, name: &str) -> Option<u64> {
        of_backend!(&self.compiler.0, backend, _lower => backend.libcall(name))
    }
}
