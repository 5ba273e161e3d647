//! The backend of C and C++ hosts: it takes objects that a host made, and source text for clang.

use crate::better::{Better, HostBetter, Later};
use crate::clang::{self, ClangCompiler};
use crate::compilation::HostUnit;
use rekindle_cache_core::artifact::{Compiled, Compiler, Jit, Loader, Object, Symbols};
use rekindle_cache_core::{Digest, DigestBuilder};
use rekindle_loader::NativeLoader;
use rekindle_runtime_hooks::{Backend, BetterCompiler, native_loader};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The target where the options name none.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The loader of all caches of this process: what C++ wants once per process is one over all of them,
/// and handles of code outlive the cache that they come from.
pub(crate) fn loader() -> &'static NativeLoader {
    static LOADER: OnceLock<NativeLoader> = OnceLock::new();
    LOADER.get_or_init(native_loader)
}

/// How a host described the compiler that it brings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Description {
    /// What the host says that tells its compiler, version and flags from others.
    pub(crate) fingerprint: Vec<Vec<u8>>,
    pub(crate) target: Option<String>,
    pub(crate) features: Vec<String>,
    pub(crate) expected_cost: Duration,
}

/// The host's compiler, by what the host says of it, and clang if the host wants it.
pub(crate) struct HostBackend {
    compiler: Arc<HostCompiler>,
    jit: HostJit,
    better: Option<HostBetter>,
}

pub(crate) struct HostCompiler {
    description: Description,
    clang: Option<ClangCompiler>,
}

pub(crate) struct HostJit {
    compiler: Arc<HostCompiler>,
}

impl HostBackend {
    pub(crate) fn new(
        description: Description,
        clang: Option<ClangCompiler>,
        better: Option<Better>,
    ) -> Self {
        let compiler = Arc::new(HostCompiler { description, clang });
        let better = better.map(|better| HostBetter::new(better, Arc::clone(&compiler)));
        Self {
            better,
            jit: HostJit {
                compiler: Arc::clone(&compiler),
            },
            compiler,
        }
    }
}

/// Why a unit gives no code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnitError {
    /// The host's callback gave no unit; its own words.
    #[error("{0}")]
    Host(String),
    /// clang does not compile it.
    #[error("{0}")]
    Clang(#[from] clang::Error),
    #[error("the unit is source text, and no compiler was asked for: call rekindle_options_clang")]
    NoCompiler,
    /// The loader does not take the object.
    #[error("{0}")]
    Load(#[from] rekindle_loader::LoadError),
}

impl Compiler for HostCompiler {
    type Unit = Job;
    type Error = UnitError;

    fn fingerprint(&self) -> Digest {
        let mut digest = DigestBuilder::new("rekindle compiler of a host");
        for part in &self.description.fingerprint {
            digest.bytes(part);
        }
        if let Some(clang) = &self.clang {
            digest.digest(&clang.fingerprint());
        }
        digest.finish()
    }

    fn digest(&self, unit: &Job) -> Digest {
        match &unit.unit {
            HostUnit::Object { bytes, digest } => {
                digest.unwrap_or_else(|| Digest::of("rekindle object of a host", bytes))
            }
            HostUnit::Source(text) => Digest::of("rekindle source of a host", text.as_bytes()),
            HostUnit::Failed(why) => Digest::of("rekindle unit that failed", why.as_bytes()),
        }
    }

    fn expected_cost(&self) -> Duration {
        self.description.expected_cost
    }

    fn compile(&self, unit: &Job) -> Result<Compiled, UnitError> {
        unit.unit.compile(self.clang.as_ref())
    }
}

impl HostCompiler {
    pub(crate) fn clang(&self) -> Option<&ClangCompiler> {
        self.clang.as_ref()
    }
}

impl HostUnit {
    /// The object of a unit.
    pub(crate) fn compile(&self, clang: Option<&ClangCompiler>) -> Result<Compiled, UnitError> {
        match (self, clang) {
            (Self::Object { bytes, .. }, _) => Ok(Compiled {
                object: Object {
                    bytes: bytes.clone(),
                    side_tables: Vec::new(),
                },
                dependencies: Vec::new(),
            }),
            (Self::Source(text), Some(compiler)) => Ok(clang::compile(compiler, text)?),
            (Self::Source(_), None) => Err(UnitError::NoCompiler),
            (Self::Failed(why), _) => Err(UnitError::Host(why.clone())),
        }
    }
}

/// A unit with the name of what is to be called of it.
pub(crate) struct Job {
    pub(crate) unit: HostUnit,
    pub(crate) factory: String,
    /// What makes better code of it, until that was asked for.
    pub(crate) later: Mutex<Option<Later>>,
}

impl Jit for HostJit {
    type Unit = Job;
    type Code = rekindle_loader::Code;
    type Error = UnitError;

    unsafe fn run(
        &self,
        unit: &Job,
        symbols: &dyn Symbols,
    ) -> Result<rekindle_loader::Code, UnitError> {
        let loader = loader();
        let compiled = self.compiler.compile(unit)?;
        let image = loader.prepare(&compiled.object.bytes, &[&unit.factory])?;
        // SAFETY: the image was made just now from the unit, for which the caller vouches, as for the symbols.
        Ok(unsafe { loader.load(image.as_ref(), symbols) }?)
    }

    fn goes_by_objects(&self) -> bool {
        true
    }
}

// SAFETY: objects come from the host, which says by `rekindle_options_compiler`, `_target` and `_cpu_feature`
// what they are made by and for, as the header asks it to, or from clang, which says so itself; the loader is told to bind code to nothing but
// what it is given; what linkers provide is the loader's own or the C library's.
unsafe impl Backend for HostBackend {
    type Unit = Job;
    type Compiler = HostCompiler;
    type Jit = HostJit;
    type Loader = NativeLoader;

    fn compiler(&self) -> &HostCompiler {
        &self.compiler
    }

    fn jit(&self) -> &HostJit {
        &self.jit
    }

    fn loader(&self) -> &NativeLoader {
        loader()
    }

    fn better(&self) -> Option<&dyn BetterCompiler<Job>> {
        self.better.as_ref().map(|better| better as _)
    }

    fn target(&self) -> String {
        let HostCompiler { description, clang } = &*self.compiler;
        let of_clang = || clang.as_ref().map(ClangCompiler::target);
        let target = description.target.clone().or_else(of_clang);
        target.unwrap_or_else(|| TARGET.to_owned())
    }

    fn required_features(&self) -> Vec<String> {
        let HostCompiler { description, clang } = &*self.compiler;
        let of_clang = clang.as_ref().map(ClangCompiler::required_features);
        let mut features = description.features.clone();
        features.extend(of_clang.unwrap_or_default());
        features.extend(self.better.iter().flat_map(HostBetter::required_features));
        features.sort();
        features.dedup();
        features
    }

    fn libcall(&self, name: &str) -> Option<u64> {
        rekindle_loader::provided(name)
    }
}
