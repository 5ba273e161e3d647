//! The four outcomes of a look-up, and their reasons.

use rekindle_cache_core::Digest;
use rekindle_cache_core::artifact::DependencyKind;
use std::fmt;

/// What came of evaluating one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Code that an earlier evaluation kept was loaded; nothing was read or compiled.
    Hit,
    /// The text was not found, for this reason, and was read and analysed; code that was kept for an equal
    /// form was loaded. A hit as well.
    SecondHit(MissReason),
    /// Nothing usable was there; compiled and kept.
    Miss(MissReason),
    /// Compiled and run, but not kept.
    Bypass(BypassReason),
    /// Something was there and failed a check; compiled and kept.
    Rejected(RejectReason),
}

impl Outcome {
    /// The outcome's name, as statistics use it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hit | Self::SecondHit(_) => "hit",
            Self::Miss(_) => "miss",
            Self::Bypass(_) => "bypass",
            Self::Rejected(_) => "rejected",
        }
    }
}

impl Outcome {
    /// A word or two for the reason, as statistics count it; none for a hit by the text.
    pub fn reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::Hit => return None,
            Self::SecondHit(reason) | Self::Miss(reason) => reason.label(),
            Self::Bypass(reason) => match reason {
                BypassReason::Off => "off",
                BypassReason::Unrecordable(_) => "unrecordable",
                BypassReason::Volatile { .. } => "volatile",
                BypassReason::Uncompilable(_) => "uncompilable",
                BypassReason::Unloadable(_) => "unloadable",
            },
            Self::Rejected(reason) => match reason {
                RejectReason::Damaged(_) => "damaged",
                RejectReason::Image(_) => "image",
                RejectReason::Deaths(_) => "deaths",
                RejectReason::Verification(_) => "verification",
            },
        })
    }
}

impl MissReason {
    fn label(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Differs(_) => "other key",
            Self::Stale(change) => change.kind.name(),
            Self::UnknownDependency => "unknown dependency",
            Self::Effect(_) => "effect",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit => write!(out, "hit"),
            Self::SecondHit(reason) => write!(out, "hit by the analysed form: {reason}"),
            Self::Miss(reason) => write!(out, "miss: {reason}"),
            Self::Bypass(reason) => write!(out, "bypass: {reason}"),
            Self::Rejected(reason) => write!(out, "rejected: {reason}"),
        }
    }
}

/// Why a look-up found nothing usable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissReason {
    /// No record has this form key: the definition, its context or the environment is new.
    New,
    /// No record has this form key, but there is one of the same name. Told only to those who
    /// [asked](crate::CacheBuilder::explain) for explanations; to others it is [`New`](Self::New).
    Differs(Box<Difference>),
    /// A record was there, but a dependency is not what it was.
    Stale(Box<Change>),
    /// A record was there that names a sort of dependency this version does not know.
    UnknownDependency,
    /// A record was there, and the host could not repeat what compiling did besides making code.
    Effect(String),
}

impl fmt::Display for MissReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => write!(out, "no record of this text in this environment"),
            Self::Differs(difference) => difference.fmt(out),
            Self::Stale(change) => change.fmt(out),
            Self::Effect(kind) => {
                write!(
                    out,
                    "compiling also did \"{kind}\", which could not be repeated"
                )
            }
            Self::UnknownDependency => write!(out, "recorded by a newer version"),
        }
    }
}

/// Why code was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BypassReason {
    /// The cache is off.
    Off,
    /// Compiling did what cannot be recorded and repeated; in the host's words.
    Unrecordable(String),
    /// Something ran at compile time that reaches a definition whose value nothing determines.
    Volatile {
        /// What ran.
        ran: String,
        /// The volatile definition that it reaches.
        reaches: String,
    },
    /// The compiler makes no object of it.
    Uncompilable(String),
    /// The loader does not link or load what the compiler made.
    Unloadable(String),
}

impl fmt::Display for BypassReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => write!(out, "the cache is off"),
            Self::Unrecordable(what) => {
                write!(out, "compiling cannot be repeated from a record: {what}")
            }
            Self::Uncompilable(why) => write!(out, "the compiler makes no object of it: {why}"),
            Self::Unloadable(why) => write!(out, "the loader cannot take it: {why}"),
            Self::Volatile { ran, reaches } if ran == reaches => {
                write!(
                    out,
                    "{ran} ran at compile time, and its value is not determined by its code"
                )
            }
            Self::Volatile { ran, reaches } => write!(
                out,
                "{ran} ran at compile time and reaches {reaches}, whose value is not determined by its code"
            ),
        }
    }
}

/// Why a record was not used although its key was right.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectReason {
    /// The store found it damaged, or found damage where it may have been.
    Damaged(String),
    /// The loader refused its image.
    Image(String),
    /// It was set aside because processes died while they ran it for the first time.
    Deaths(String),
    /// It was a hit that turned out to be wrong when it was verified. Told to the listener and to the journal,
    /// after the evaluation.
    Verification(String),
}

impl fmt::Display for RejectReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(what) => write!(out, "damaged record: {what}"),
            Self::Image(what) => write!(out, "image refused: {what}"),
            Self::Deaths(what) => write!(out, "set aside: {what}"),
            Self::Verification(what) => write!(out, "the hit was wrong: {what}"),
        }
    }
}

/// What a form key differs in from that of a record of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whether the text is another.
    pub text: bool,
    /// The context of the record, if it is another.
    pub context: Option<String>,
    /// How the environment differs, if it does, part by part in words; empty if what the record's consisted
    /// of is not known.
    pub environment: Option<Vec<String>>,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if self.text {
            write!(out, "its text has changed")?;
            separator = "; ";
        }
        if let Some(context) = &self.context {
            write!(out, "{separator}its context was {context:?}")?;
            separator = "; ";
        }
        match self.environment.as_deref() {
            None => {}
            Some([]) => write!(out, "{separator}it was compiled in another environment")?,
            Some(parts) => write!(out, "{separator}{}", parts.join("; "))?,
        }
        match self {
            Self {
                text: false,
                context: None,
                environment: None,
            } => write!(out, "what was kept of this text is gone"),
            _ => Ok(()),
        }
    }
}

/// A dependency that is not what it was when the code was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The sort of dependency.
    pub kind: DependencyKind,
    /// Its name.
    pub name: String,
    /// What the name needs beside it: see
    /// [`Dependency::scope`](rekindle_cache_core::artifact::Dependency::scope).
    pub scope: String,
    /// Its digest when the record was made.
    pub was: Digest,
    /// Its digest now; `None` if that cannot be told.
    pub is: Option<Digest>,
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, scope, .. } = self;
        match self.kind {
            DependencyKind::Behaviour => write!(out, "what {name} does")?,
            DependencyKind::Interface => write!(out, "the interface of {name}")?,
            DependencyKind::Resolution => write!(out, "what {name} means in {scope}")?,
            DependencyKind::Module => write!(out, "the module {name}")?,
            DependencyKind::File => write!(out, "the file {name}")?,
            DependencyKind::FileSet => {
                let first = name.lines().next().unwrap_or_default();
                write!(out, "{first} or another of {} files", name.lines().count())?;
            }
            DependencyKind::Variable => write!(out, "the variable {name}")?,
            DependencyKind::Host => write!(out, "{scope} {name}")?,
            _ => write!(out, "{name}")?,
        }
        let was = self.was.short();
        match &self.is {
            Some(is) => write!(out, " has changed, from {was} to {}", is.short()),
            None => write!(out, " was {was} and cannot be told now"),
        }
    }
}
