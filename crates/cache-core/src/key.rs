//! The keys: environment, form key and object key.

use crate::artifact::{Dependency, DependencyKind, FormatId, Hasher};
use crate::digest::{Digest, DigestBuilder, keyed};
use std::fmt;

/// The version of what goes into keys: a change of their making changes every key.
const KEY_VERSION: u64 = 2;

/// A definition as the host is about to evaluate it: nothing of it has been read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition<'a> {
    /// Its name, qualified as the host does; empty for a form that defines nothing by itself.
    pub name: &'a str,
    /// Its source text, to the byte.
    pub text: &'a str,
    /// What the text means where it stands and is not a recorded dependency: the namespace, reader
    /// and compiler flags.
    pub context: &'a str,
}

/// Digest of environment, name, source text and context: known before reading or analysing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormKey(pub Digest);

/// Digest of environment, unit and dependencies: names what compiling made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(pub Digest);

impl fmt::Display for FormKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Everything outside a definition that its code depends on, and by which its keys differ.
///
/// ```
/// use rekindle_cache_core::artifact::{FormatId, Hasher};
/// use rekindle_cache_core::key::{Definition, Environment};
/// use rekindle_cache_core::Digest;
///
/// let environment = Environment::new("x86_64-unknown-linux-gnu")
///     .image_format(FormatId { name: "example", version: 1 })
///     .compiler(&Digest::of("example", b"compiler 1.0 -O2"))
///     .abi("host", &Digest::of("example", b"build id"))
///     .finish();
/// let one = Definition { name: "user/one", text: "(def one 1)", context: "user" };
/// let two = Definition { context: "other", ..one };
/// assert_ne!(environment.form_key(&one), environment.form_key(&two));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    digest: Digest,
    /// The key of its form keys.
    forms: Digest,
    parts: Vec<(&'static str, String, Digest)>,
}

impl Environment {
    /// Starts the environment of code for `target`, a target triple.
    #[expect(
        clippy::new_ret_no_self,
        reason = "an environment is complete only when finished"
    )]
    pub fn new(target: &str) -> EnvironmentBuilder {
        EnvironmentBuilder {
            target: target.to_owned(),
            ..EnvironmentBuilder::default()
        }
    }

    /// The digest of all that the environment holds.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What the environment holds, for whoever wants to say how two differ: the sort of each part, such as
    /// `compiler`, its name among those of its sort, and its digest; sorted.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str, Digest)> {
        let parts = self.parts.iter();
        parts.map(|(sort, name, digest)| (*sort, name.as_str(), *digest))
    }
}

/// Gathers an [`Environment`]; the order in which things are added does not matter.
#[derive(Debug, Default)]
pub struct EnvironmentBuilder {
    target: String,
    fields: Vec<(&'static str, String, Digest)>,
}

impl EnvironmentBuilder {
    /// The format of the images.
    #[must_use]
    pub fn image_format(self, format: FormatId) -> Self {
        let version = Digest::of("image format", &format.version.to_le_bytes());
        self.field("image format", format.name, version)
    }

    /// A compiler's fingerprint: its version and every option that reaches the code.
    #[must_use]
    pub fn compiler(self, fingerprint: &Digest) -> Self {
        self.field("compiler", "", *fingerprint)
    }

    /// The fingerprint of a compiler that makes better code of the same units, if there is one.
    #[must_use]
    pub fn better_compiler(self, fingerprint: &Digest) -> Self {
        self.field("better compiler", "", *fingerprint)
    }

    /// A CPU feature that the code requires. Tuning flags are no features.
    #[must_use]
    pub fn cpu_feature(self, feature: &str) -> Self {
        self.field("cpu feature", feature, Digest::of("cpu feature", &[]))
    }

    /// The build id of a module that provides symbols.
    #[must_use]
    pub fn abi(self, module: &str, build_id: &Digest) -> Self {
        self.field("abi", module, *build_id)
    }

    /// Something else of the host's that reaches the code, such as its own language version.
    #[must_use]
    pub fn host(self, name: &str, digest: &Digest) -> Self {
        self.field("host", name, *digest)
    }

    fn field(mut self, sort: &'static str, name: &str, digest: Digest) -> Self {
        self.fields.push((sort, name.to_owned(), digest));
        self
    }

    /// The environment of all that was added.
    pub fn finish(mut self) -> Environment {
        self.fields.sort();
        self.fields.dedup();
        let mut builder = DigestBuilder::new("rekindle environment");
        builder.number(KEY_VERSION).text(&self.target);
        builder.list(self.fields.len());
        for (sort, name, digest) in &self.fields {
            builder.text(sort).text(name).digest(digest);
        }
        let digest = builder.finish();
        let target = Digest::of("target", self.target.as_bytes());
        self.fields.push(("target", self.target, target));
        Environment {
            digest,
            forms: DigestBuilder::new("rekindle form key")
                .digest(&digest)
                .finish(),
            parts: self.fields,
        }
    }
}

impl Hasher for Environment {
    fn form_key(&self, definition: &Definition<'_>) -> FormKey {
        let texts = [definition.name, definition.text, definition.context];
        FormKey(keyed(&self.forms, texts))
    }

    fn canonical_key(&self, canonical: &Digest) -> FormKey {
        let mut builder = DigestBuilder::new("rekindle canonical key");
        FormKey(builder.digest(&self.digest).digest(canonical).finish())
    }

    fn object_key<'d>(
        &self,
        unit: &Digest,
        dependencies: impl IntoIterator<Item = &'d Dependency>,
    ) -> ObjectKey {
        let mut sorted: Vec<_> = dependencies.into_iter().collect();
        sorted.sort();
        sorted.dedup();
        let mut builder = DigestBuilder::new("rekindle object key");
        builder.digest(&self.digest).digest(unit);
        builder.list(sorted.len());
        for dependency in sorted {
            builder
                .number(u64::from(dependency.kind.number()))
                .text(&dependency.name)
                .text(&dependency.scope)
                .digest(&dependency.digest);
        }
        ObjectKey(builder.finish())
    }
}

impl DependencyKind {
    /// The number by which keys and metadata name this kind; never given to another.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Behaviour => 1,
            Self::Resolution => 2,
            Self::Module => 3,
            Self::Interface => 4,
            Self::File => 5,
            Self::FileSet => 6,
            Self::Variable => 7,
            Self::Host => 8,
        }
    }

    /// What a reader calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Behaviour => "behaviour",
            Self::Interface => "interface",
            Self::Resolution => "resolution",
            Self::Module => "module",
            Self::File => "file",
            Self::FileSet => "files",
            Self::Variable => "variable",
            Self::Host => "host",
        }
    }

    /// The kind of a number, if there is one.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        let kinds = [
            Self::Behaviour,
            Self::Resolution,
            Self::Module,
            Self::Interface,
            Self::File,
            Self::FileSet,
            Self::Variable,
            Self::Host,
        ];
        kinds.into_iter().find(|kind| kind.number() == number)
    }
}
