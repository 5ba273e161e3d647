//! The clang backend with Rekindle's own loader.

use crate::cache::{Backend, Cache, Session};
use crate::native::native_loader;
use crate::object_jit::ObjectJit;
use rekindle_backend_llvm::clang::{ClangCompiler, Error, Options, Unit};
use rekindle_loader::NativeLoader;

pub use rekindle_backend_llvm::clang as backend;

/// A cache whose definitions clang compiles.
pub type ClangCache = Cache<Clang>;

/// A session of a [`ClangCache`].
pub type ClangSession = Session<Clang>;

/// clang for objects, and the loader of this project.
pub struct Clang {
    jit: ObjectJit<ClangCompiler, NativeLoader>,
}

impl Clang {
    /// Compiles as `options` say, with their prelude compiled first where nobody has done so.
    ///
    /// # Errors
    /// No clang, or a prelude that does not compile.
    pub fn with(options: &Options) -> Result<Self, Error> {
        let compiler = ClangCompiler::new(options)?;
        let loader = native_loader();
        Ok(Self {
            jit: ObjectJit::new(compiler, loader),
        })
    }
}

// SAFETY: clang compiles for the target and the features that it says, and its build, flags and headers are its
// fingerprint; the loader is told to bind code to nothing but what it is given.
unsafe impl Backend for Clang {
    type Unit = Unit;
    type Compiler = ClangCompiler;
    type Jit = ObjectJit<ClangCompiler, NativeLoader>;
    type Loader = NativeLoader;

    fn compiler(&self) -> &ClangCompiler {
        self.jit.compiler()
    }

    fn jit(&self) -> &Self::Jit {
        &self.jit
    }

    fn loader(&self) -> &NativeLoader {
        self.jit.loader()
    }

    fn target(&self) -> String {
        self.compiler().target()
    }

    fn required_features(&self) -> Vec<String> {
        self.compiler().required_features()
    }

    fn libcall(&self, _name: &str) -> Option<u64> {
        None
    }
}
