//! A JIT made of a compiler of objects and a loader: code that must not be kept goes the way of code that is,
//! and is not kept.
//!
//! That is one way through a backend in place of two, which cannot differ. It is no loss where compiling
//! takes a hundred times what linking takes.

use object::{Object as _, ObjectSymbol as _};
use rekindle_cache_core::artifact::{Compiler, Jit, Loader, Symbols};
use std::error::Error;

/// Compiles to an object and loads it at once, with every symbol that the object exports.
#[derive(Debug)]
pub struct ObjectJit<C, L> {
    compiler: C,
    loader: L,
}

impl<C, L> ObjectJit<C, L> {
    /// A JIT of the two.
    pub fn new(compiler: C, loader: L) -> Self {
        Self { compiler, loader }
    }

    /// The compiler.
    pub fn compiler(&self) -> &C {
        &self.compiler
    }

    /// The loader.
    pub fn loader(&self) -> &L {
        &self.loader
    }
}

/// Why a unit could not be run at once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectJitError<C: Error + 'static, L: Error + 'static> {
    /// It could not be compiled.
    #[error(transparent)]
    Compile(C),
    /// The compiler's object could not be read.
    #[error("the object cannot be read: {0}")]
    Object(object::Error),
    /// Its object could not be linked or loaded.
    #[error(transparent)]
    Load(L),
}

impl<C: Compiler, L: Loader> Jit for ObjectJit<C, L> {
    type Unit = C::Unit;
    type Code = L::Code;
    type Error = ObjectJitError<C::Error, L::Error>;

    unsafe fn run(&self, unit: &C::Unit, symbols: &dyn Symbols) -> Result<L::Code, Self::Error> {
        let compiled = self.compiler.compile(unit);
        let bytes = compiled.map_err(ObjectJitError::Compile)?.object.bytes;
        let file = object::File::parse(&*bytes).map_err(ObjectJitError::Object)?;
        // Weak ones are copies of what other units have as well: what is called of them is reached.
        let exported = file
            .symbols()
            .filter(|symbol| symbol.is_definition() && symbol.is_global() && !symbol.is_weak());
        let roots: Vec<_> = exported.filter_map(|symbol| symbol.name().ok()).collect();
        let image = self.loader.prepare(&bytes, &roots);
        let image = image.map_err(ObjectJitError::Load)?;
        // SAFETY: the image is of an object that the compiler made just now of a unit that the caller
        // vouches for, as for the words that `symbols` gives.
        let code = unsafe { self.loader.load(image.as_ref(), symbols) };
        code.map_err(ObjectJitError::Load)
    }

    fn goes_by_objects(&self) -> bool {
        true
    }
}
