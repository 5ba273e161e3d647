//! What can go wrong between a module and its object.

/// Why a compiler could not be made, or a module not be compiled. LLVM's own words are kept as text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// LLVM generates no code for the target, or does not know the CPU.
    #[error("LLVM cannot generate code for {target}: {reason}")]
    Target {
        /// The target triple.
        target: String,
        /// LLVM's words.
        reason: String,
    },

    /// A pass pipeline that LLVM does not know.
    #[error("LLVM does not run the passes `{passes}`: {reason}")]
    Passes {
        /// The pipeline.
        passes: String,
        /// LLVM's words.
        reason: String,
    },

    /// Text that is not IR, or bitcode that this LLVM does not read.
    #[error("LLVM does not read the module: {reason}")]
    Parse {
        /// LLVM's words, with line and column.
        reason: String,
    },

    /// A module that breaks the rules of IR.
    #[error("the module is not valid: {reason}")]
    Invalid {
        /// LLVM's words, a line or more for each mistake.
        reason: String,
    },

    /// A module that says that it is for another target.
    #[error(
        "the module is for {module}, and the compiler is for {compiler}; leave its triple empty"
    )]
    OtherTarget {
        /// The module's triple.
        module: String,
        /// The compiler's.
        compiler: String,
    },

    /// A valid module that no code could be generated for, such as one with wrong inline assembly.
    #[error("LLVM does not compile the module: {reason}")]
    Compile {
        /// LLVM's words, a line for each mistake.
        reason: String,
    },
}
