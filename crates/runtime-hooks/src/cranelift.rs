//! The Cranelift backend with Rekindle's own loader.

use crate::cache::{Backend, Cache, Session};
use crate::native::native_loader;
use rekindle_backend_cranelift::{CraneliftCompiler, CraneliftJit, Error, Options, Unit};
use rekindle_loader::NativeLoader;

pub use rekindle_backend_cranelift as backend;

/// A cache whose definitions Cranelift compiles.
pub type CraneliftCache = Cache<Cranelift>;

/// A session of a [`CraneliftCache`].
pub type CraneliftSession = Session<Cranelift>;

/// Cranelift for objects and at once, and the loader of this project.
pub struct Cranelift {
    compiler: CraneliftCompiler,
    jit: CraneliftJit,
    loader: NativeLoader,
}

impl Cranelift {
    /// Compiles for this machine's CPU, with Cranelift's usual optimisation.
    ///
    /// # Errors
    /// A machine that Cranelift does not compile for.
    pub fn new() -> Result<Self, Error> {
        Self::with(&Options::default())
    }

    /// Compiles as `options` say.
    ///
    /// # Errors
    /// Options that Cranelift does not know, or a machine that it does not compile for.
    pub fn with(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            compiler: CraneliftCompiler::new(options)?,
            jit: CraneliftJit::new(options)?,
            loader: native_loader(),
        })
    }
}

// SAFETY: Cranelift compiles for the target and the features that its options name, and its version and
// settings are its fingerprint; the loader is told to bind code to nothing but what it is given.
unsafe impl Backend for Cranelift {
    type Unit = Unit;
    type Compiler = CraneliftCompiler;
    type Jit = CraneliftJit;
    type Loader = NativeLoader;

    fn compiler(&self) -> &CraneliftCompiler {
        &self.compiler
    }

    fn jit(&self) -> &CraneliftJit {
        &self.jit
    }

    fn loader(&self) -> &NativeLoader {
        &self.loader
    }

    fn target(&self) -> String {
        self.compiler.target()
    }

    fn required_features(&self) -> Vec<String> {
        self.compiler.required_features()
    }

    fn libcall(&self, name: &str) -> Option<u64> {
        rekindle_backend_cranelift::libcall(name)
    }
}
