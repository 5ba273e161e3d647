//! The unit: one module, verified, apart from any context.

use crate::ir::diagnostics::Listening;
use crate::ir::error::Error;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::Module;
use rekindle_cache_core::Digest;
use std::fmt;

/// The name that every module gets: it is part of the object.
const NAME: &str = "rekindle";

/// A valid module as bitcode, without its name and the path of its source, which do not reach the code.
///
/// It belongs to no LLVM context, so that any thread may compile it. Names of local values and debug
/// information are part of it: a front end that wants equal code to have equal digests leaves them out.
#[derive(Clone, PartialEq, Eq)]
pub struct Unit {
    bitcode: Vec<u8>,
    digest: Digest,
}

impl Unit {
    /// The unit of a module, which is left as it is.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all that LLVM's verifier finds.
    pub fn from_module(module: &Module<'_>) -> Result<Self, Error> {
        module.verify().map_err(|error| Error::Invalid {
            reason: error.to_string().trim_end().to_owned(),
        })?;
        let name = module.get_name().to_string_lossy().into_owned();
        let source = module.get_source_file_name().to_string_lossy().into_owned();
        module.set_name(NAME);
        module.set_source_file_name(NAME);
        let bitcode = module.write_bitcode_to_memory().as_slice().to_vec();
        module.set_name(&name);
        module.set_source_file_name(&source);
        let digest = Digest::of("rekindle llvm unit", &bitcode);
        Ok(Self { bitcode, digest })
    }

    /// The unit of a module as text.
    ///
    /// # Errors
    /// [`Error::Parse`] with line and column, or [`Error::Invalid`].
    pub fn from_ir(text: &str) -> Result<Self, Error> {
        Self::read(text.as_bytes())
    }

    /// The unit of a module as bitcode, of this LLVM or an older one.
    ///
    /// # Errors
    /// [`Error::Parse`] or [`Error::Invalid`].
    pub fn from_bitcode(bitcode: &[u8]) -> Result<Self, Error> {
        Self::read(bitcode)
    }

    fn read(source: &[u8]) -> Result<Self, Error> {
        let listening = Listening::new();
        Self::from_module(&parse(&listening, source)?)
    }

    /// The digest of the module.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The module, in a context of the caller's.
    pub(crate) fn module<'l>(&self, listening: &'l Listening) -> Result<Module<'l>, Error> {
        parse(listening, &self.bitcode)
    }
}

fn parse<'l>(listening: &'l Listening, source: &[u8]) -> Result<Module<'l>, Error> {
    let buffer = MemoryBuffer::create_from_memory_range_copy(source, NAME);
    let module = listening.context().create_module_from_ir(buffer);
    module.map_err(|error| Error::Parse {
        reason: match listening.errors() {
            Some(errors) => errors,
            None => error.to_string().trim_end().to_owned(),
        },
    })
}

/// The module as text.
impl fmt::Display for Unit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listening = Listening::new();
        match self.module(&listening) {
            Ok(module) => write!(out, "{}", module.print_to_string().to_string()),
            Err(error) => write!(out, "; {error}"),
        }
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("Unit");
        out.field("digest", &self.digest).finish_non_exhaustive()
    }
}
