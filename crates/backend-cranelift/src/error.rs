//! What can go wrong between a unit and its code.

use cranelift_codegen::CodegenError;
use cranelift_module::ModuleError;

/// Why a compiler could not be made, or a unit not be compiled or run.
///
/// Cranelift's own words are kept as text, so that an error can be cloned, compared and sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Cranelift has no code generator for this machine.
    #[error("Cranelift cannot generate code for this machine: {reason}")]
    Host {
        /// Cranelift's words.
        reason: String,
    },

    /// An option that Cranelift does not have, or not with this value.
    #[error("the flag `{flag}` cannot be set to `{value}`: {reason}")]
    Flag {
        /// The flag.
        flag: String,
        /// The value it was to have.
        value: String,
        /// Cranelift's words, or why this backend keeps the flag to itself.
        reason: String,
    },

    /// A name that no object file can hold.
    #[error("the symbol name {name:?} is empty or holds a NUL character; choose another name")]
    Name {
        /// The name.
        name: String,
    },

    /// Two symbols of one name, or one name with two signatures.
    #[error(
        "the unit has more than one symbol named {name:?}; declare it once, with one signature"
    )]
    Duplicate {
        /// The name.
        name: String,
    },

    /// An own symbol with the name of a routine that Cranelift's code may call by itself.
    #[error(
        "the unit defines {name:?}, which Cranelift may call for its own ends; choose another name"
    )]
    ReservedName {
        /// The name.
        name: String,
    },

    /// A symbol without the body or contents that its linkage promises.
    #[error("the unit declares {name:?} as its own and does not define it; define or import it")]
    Undefined {
        /// The symbol.
        name: String,
    },

    /// A body or contents for a symbol that is the host's.
    #[error("the unit imports {name:?} and defines it as well; declare it as local or exported")]
    DefinedImport {
        /// The symbol.
        name: String,
    },

    /// A body whose signature is not the declared one.
    #[error("the function {name:?} is declared as {declared} and its body has {defined}")]
    Signature {
        /// The function.
        name: String,
        /// The signature of the declaration.
        declared: String,
        /// The signature of the body.
        defined: String,
    },

    /// A reference in a body that leads nowhere in its unit, or that this backend does not make.
    #[error("the body of {function:?} has the reference {reference}, which {reason}")]
    Reference {
        /// The function.
        function: String,
        /// The reference as CLIF prints it.
        reference: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// Data contents that cannot be laid out.
    #[error("the data object {name:?} {reason}")]
    Data {
        /// The data object.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A body that Cranelift does not compile.
    #[error("Cranelift does not compile the function {function:?}: {message}")]
    Compile {
        /// The function.
        function: String,
        /// Cranelift's words; of a body that it finds invalid, one line per mistake.
        message: String,
    },

    /// Code that Cranelift generated and this backend cannot place in memory.
    #[error("the code of {name:?} needs the relocation {relocation}, which {reason}")]
    Relocation {
        /// The function or data object.
        name: String,
        /// The relocation, with what it refers to.
        relocation: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// An imported symbol that the host does not know.
    #[error("{user:?} refers to {name:?}, which the host does not know")]
    UnknownSymbol {
        /// The imported symbol.
        name: String,
        /// The function or data object that refers to it.
        user: String,
    },

    /// The object could not be written, or no memory was to be had for the code.
    #[error("the unit is compiled and could not be {action}: {message}")]
    Output {
        /// What was being done.
        action: &'static str,
        /// The library's words.
        message: String,
    },
}

impl Error {
    /// The error of Cranelift's on compiling `function`, with every mistake that its verifier found.
    pub(crate) fn compile(function: &str, error: &CodegenError) -> Self {
        let message = match error {
            CodegenError::Verifier(errors) => format!("it is not valid CLIF:\n{errors}"),
            other => other.to_string(),
        };
        Self::Compile {
            function: function.to_owned(),
            message,
        }
    }

    /// The error of a module's on being given the symbol `name`.
    pub(crate) fn module(name: &str, error: &ModuleError) -> Self {
        match error {
            ModuleError::Compilation(error) => Self::compile(name, error),
            ModuleError::Allocation { err } => Self::Output {
                action: "placed in memory",
                message: err.to_string(),
            },
            other => Self::Compile {
                function: name.to_owned(),
                message: other.to_string(),
            },
        }
    }
}
