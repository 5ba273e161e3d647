//! The options of the code generator.

use rekindle_cache_core::Digest;

/// How much LLVM optimises: which of its pipelines runs, and how hard the code generator works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OptLevel {
    /// `default<O0>`: compile fast.
    None,
    /// `default<O1>`.
    Less,
    /// `default<O2>`.
    Default,
    /// `default<O3>`.
    Aggressive,
    /// `default<Os>`: as `Default`, with an eye on size.
    Size,
    /// `default<Oz>`: small above all.
    MinSize,
}

impl OptLevel {
    /// The name of the pipeline.
    pub(crate) fn pipeline(self) -> &'static str {
        match self {
            Self::None => "default<O0>",
            Self::Less => "default<O1>",
            Self::Default => "default<O2>",
            Self::Aggressive => "default<O3>",
            Self::Size => "default<Os>",
            Self::MinSize => "default<Oz>",
        }
    }
}

/// Which CPU the code may run on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cpu {
    /// This machine's, with every feature that LLVM finds.
    Native,
    /// Any of this architecture: no optional features, so the code moves between machines.
    Baseline,
    /// One of LLVM's names, such as `x86-64-v3`.
    Named(String),
}

/// How far apart code and what it refers to may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeModel {
    /// Within 2 GiB: what every loader takes.
    Small,
    /// Code within 2 GiB, large data anywhere.
    Medium,
    /// Anything anywhere.
    Large,
}

/// What a compiler is made with: by default, for code at `-O2` for this machine's CPU, with unwind tables.
/// Code is always position-independent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub(crate) opt_level: OptLevel,
    pub(crate) passes: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) cpu: Cpu,
    pub(crate) features: Vec<String>,
    pub(crate) code_model: CodeModel,
    pub(crate) unwind_tables: bool,
    pub(crate) inputs: Vec<(String, Digest)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            opt_level: OptLevel::Default,
            passes: None,
            target: None,
            cpu: Cpu::Native,
            features: Vec::new(),
            code_model: CodeModel::Small,
            unwind_tables: true,
            inputs: Vec::new(),
        }
    }
}

impl Options {
    /// How much to optimise.
    #[must_use]
    pub fn opt_level(mut self, level: OptLevel) -> Self {
        self.opt_level = level;
        self
    }

    /// The passes to run in place of the level's own, as `opt -passes=` takes them:
    /// `function(mem2reg,instcombine)`.
    #[must_use]
    pub fn passes(mut self, passes: &str) -> Self {
        self.passes = Some(passes.to_owned());
        self
    }

    /// The target triple, where it is not this machine's. [`Cpu::Native`] then means [`Cpu::Baseline`].
    #[must_use]
    pub fn target(mut self, triple: &str) -> Self {
        self.target = Some(triple.to_owned());
        self
    }

    /// Which CPU the code may run on.
    #[must_use]
    pub fn cpu(mut self, cpu: Cpu) -> Self {
        self.cpu = cpu;
        self
    }

    /// Switches a feature of the CPU on or off, by LLVM's name: `+avx2`, `-sse4.2`.
    #[must_use]
    pub fn feature(mut self, feature: &str) -> Self {
        self.features.push(feature.to_owned());
        self
    }

    /// How far apart code and what it refers to may lie.
    #[must_use]
    pub fn code_model(mut self, model: CodeModel) -> Self {
        self.code_model = model;
        self
    }

    /// Whether every function gets an unwind table, so that exceptions and panics cross its frame. Without,
    /// those have one that may unwind by LLVM's rules: all that are not `nounwind`.
    #[must_use]
    pub fn unwind_tables(mut self, on: bool) -> Self {
        self.unwind_tables = on;
        self
    }

    /// Something else that reaches the code and that the compiler cannot tell, such as the build id of the
    /// LLVM library: a part of the fingerprint.
    #[must_use]
    pub fn input(mut self, name: &str, digest: Digest) -> Self {
        self.inputs.push((name.to_owned(), digest));
        self
    }

    /// The passes that run.
    pub(crate) fn pipeline(&self) -> &str {
        self.passes
            .as_deref()
            .unwrap_or_else(|| self.opt_level.pipeline())
    }
}
