//! What a host's front end hands back for a definition that is compiled.

use rekindle_cache_core::artifact::{Compiler, SideTable};
use rekindle_cache_core::{Digest, DigestBuilder};
use std::fmt;

/// What a host's compile closure hands back.
#[derive(Debug)]
pub struct Compilation<U> {
    /// What the backend compiles.
    pub unit: UnitSource<U>,
    /// The exported symbol that returns the definition's value.
    pub factory: String,
    /// Names that running the factory defines.
    pub defines: Vec<String>,
    /// Names that the code may define later, when it is called, with values that follow from no code.
    pub defines_later: Vec<String>,
    /// Names of definitions that the code refers to, and so can reach when it runs.
    pub references: Vec<String>,
    /// Tables that belong to this text and not to its code, such as the positions that the code speaks of
    /// by number. They are kept with it and given to [`Host::side_table`](crate::Host::side_table) each
    /// time it is loaded.
    pub side_tables: Vec<SideTable>,
}

/// A unit, or what it is made of.
pub enum UnitSource<U> {
    /// The unit itself.
    Ready(U),
    /// The definition's analysed form. Where code for an equal form is kept, it is loaded, and no unit is
    /// made.
    Analysed {
        /// A digest of the form: all that the unit is made of, with names resolved and macros expanded.
        /// What does not reach the code, such as positions and the names of locals, is better left out.
        canonical: Digest,
        /// Makes the unit: a function of the form alone. [`eval_def`](crate::Session::eval_def) calls it on
        /// its own thread, before it returns; a [`Crew`](crate::Crew) on another one, and later.
        generate: Box<dyn FnOnce() -> U + Send>,
    },
}

impl<U> UnitSource<U> {
    /// The digest of the analysed form, if there is one.
    pub(crate) fn canonical(&self) -> Option<Digest> {
        match self {
            Self::Ready(_) => None,
            Self::Analysed { canonical, .. } => Some(*canonical),
        }
    }

    /// What tells the unit from others: the form that it is made of where there is one, as digesting a unit
    /// takes a good part of what compiling it does, and else the `compiler`'s digest.
    pub(crate) fn into_unit_and_digest<C: Compiler<Unit = U>>(self, compiler: &C) -> (U, Digest) {
        match self {
            Self::Ready(unit) => {
                let digest = compiler.digest(&unit);
                (unit, digest)
            }
            Self::Analysed {
                canonical,
                generate,
            } => {
                let mut builder = DigestBuilder::new("rekindle unit of a form");
                let digest = builder.digest(&canonical).finish();
                (generate(), digest)
            }
        }
    }

    /// The unit.
    pub(crate) fn into_unit(self) -> U {
        match self {
            Self::Ready(unit) => unit,
            Self::Analysed { generate, .. } => generate(),
        }
    }
}

impl<U> From<U> for UnitSource<U> {
    fn from(unit: U) -> Self {
        Self::Ready(unit)
    }
}

impl<U: fmt::Debug> fmt::Debug for UnitSource<U> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(unit) => out.debug_tuple("Ready").field(unit).finish(),
            Self::Analysed { canonical, .. } => {
                let mut out = out.debug_struct("Analysed");
                out.field("canonical", canonical).finish_non_exhaustive()
            }
        }
    }
}
