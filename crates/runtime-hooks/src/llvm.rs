//! The LLVM backend with Rekindle's own loader.

use crate::cache::{Backend, Cache, Session};
use crate::modules::{module_of, modules};
use crate::native::native_loader;
use crate::object_jit::ObjectJit;
use rekindle_backend_llvm::ir::inkwell::llvm_sys::core::LLVMContextCreate;
use rekindle_backend_llvm::ir::{Error, LlvmCompiler, Options, Unit};
use rekindle_loader::NativeLoader;

pub use rekindle_backend_llvm::ir as backend;

/// A cache whose definitions LLVM compiles.
pub type LlvmCache = Cache<Llvm>;

/// A session of a [`LlvmCache`].
pub type LlvmSession = Session<Llvm>;

/// LLVM for objects, and the loader of this project.
pub struct Llvm {
    jit: ObjectJit<LlvmCompiler, NativeLoader>,
}

impl Llvm {
    /// Compiles for this machine's CPU, at `-O2`.
    ///
    /// # Errors
    /// A machine that LLVM does not compile for.
    pub fn new() -> Result<Self, Error> {
        Self::with(Options::default())
    }

    /// Compiles as `options` say. The build of the LLVM library counts as one of them.
    ///
    /// # Errors
    /// A target or passes that LLVM does not know.
    pub fn with(mut options: Options) -> Result<Self, Error> {
        let modules = modules();
        let library = module_of(&modules, LLVMContextCreate as *const () as u64);
        if let Some(identity) = library.and_then(|library| library.identity().ok()) {
            options = options.input("LLVM", identity);
        }
        let compiler = LlvmCompiler::new(&options)?;
        let loader = native_loader();
        Ok(Self {
            jit: ObjectJit::new(compiler, loader),
        })
    }
}

// SAFETY: LLVM compiles for the target and the features that its options name, and its build, version and options
// are its fingerprint; the loader is told to bind code to nothing but what it is given.
unsafe impl Backend for Llvm {
    type Unit = Unit;
    type Compiler = LlvmCompiler;
    type Jit = ObjectJit<LlvmCompiler, NativeLoader>;
    type Loader = NativeLoader;

    fn compiler(&self) -> &LlvmCompiler {
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
