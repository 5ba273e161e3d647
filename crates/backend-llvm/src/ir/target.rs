//! The target that options lead to.

use crate::ir::error::Error;
use crate::ir::options::{CodeModel, Cpu, OptLevel, Options};
use inkwell::OptimizationLevel;
use inkwell::targets::{
    CodeModel as LlvmCodeModel, InitializationConfig, RelocMode, Target, TargetMachine,
    TargetTriple,
};
use std::sync::OnceLock;

/// A target that LLVM can make machines for, on any thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) triple: String,
    pub(crate) cpu: String,
    pub(crate) features: String,
    level: OptimizationLevel,
    code_model: LlvmCodeModel,
}

impl Machine {
    /// The target of `options`; that LLVM knows it has been tried.
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        initialize();
        let host = TargetMachine::get_default_triple();
        let triple = match &options.target {
            Some(triple) => TargetMachine::normalize_triple(&TargetTriple::create(triple)),
            None => TargetMachine::get_default_triple(),
        };
        let is_host = text(&triple) == text(&host);
        let (cpu, mut features) = match &options.cpu {
            Cpu::Native if is_host => (
                TargetMachine::get_host_cpu_name().to_string(),
                vec![TargetMachine::get_host_cpu_features().to_string()],
            ),
            Cpu::Native | Cpu::Baseline => ("generic".to_owned(), Vec::new()),
            Cpu::Named(name) => (name.clone(), Vec::new()),
        };
        features.extend(options.features.iter().cloned());
        let machine = Self {
            triple: text(&triple),
            cpu,
            features: features.join(","),
            level: match options.opt_level {
                OptLevel::None => OptimizationLevel::None,
                OptLevel::Less => OptimizationLevel::Less,
                OptLevel::Default | OptLevel::Size | OptLevel::MinSize => {
                    OptimizationLevel::Default
                }
                OptLevel::Aggressive => OptimizationLevel::Aggressive,
            },
            code_model: match options.code_model {
                CodeModel::Small => LlvmCodeModel::Small,
                CodeModel::Medium => LlvmCodeModel::Medium,
                CodeModel::Large => LlvmCodeModel::Large,
            },
        };
        machine.make()?;
        Ok(machine)
    }

    /// LLVM's machine for one compilation: it is not to be shared by threads.
    pub(crate) fn make(&self) -> Result<TargetMachine, Error> {
        let refused = |reason: String| Error::Target {
            target: self.triple.clone(),
            reason,
        };
        let triple = TargetTriple::create(&self.triple);
        let target = Target::from_triple(&triple).map_err(|error| refused(error.to_string()))?;
        let machine = target.create_target_machine(
            &triple,
            &self.cpu,
            &self.features,
            self.level,
            RelocMode::PIC,
            self.code_model,
        );
        machine.ok_or_else(|| refused("it makes no machine of this CPU and features".to_owned()))
    }

    /// What code for this target needs of the CPU: LLVM's name of it, unless that is the baseline, and the
    /// features that are switched on.
    pub(crate) fn required_features(&self) -> Vec<String> {
        let cpu = (self.cpu != "generic").then(|| format!("cpu:{}", self.cpu));
        let features = self
            .features
            .split(',')
            .filter(|name| name.starts_with('+'));
        let mut features: Vec<_> = features.map(str::to_owned).chain(cpu).collect();
        features.sort_unstable();
        features.dedup();
        features
    }
}

/// Makes LLVM's code generators known, once.
fn initialize() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let all = InitializationConfig::default();
        Target::initialize_x86(&all);
        Target::initialize_aarch64(&all);
    });
}

pub(crate) fn text(triple: &TargetTriple) -> String {
    triple.as_str().to_string_lossy().into_owned()
}
