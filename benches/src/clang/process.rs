//! One process of the benchmark: ember on clang, with a cache that others have opened before.

use anyhow::{Context as _, Result, anyhow};
use ember::compiler::{self, CompileHost, lowered};
use ember::context::Context;
use ember::namespace::Namespaces;
use ember::reader::Scanner;
use ember::vm::{BackendOptions, CachePlace, Choice, Vm, VmOptions};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Instant;

/// What a process is to do, as its parent writes it on the command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The cache's folder.
    pub(super) folder: PathBuf,
    pub(super) task: Task,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    /// Nothing beyond ember's own prelude.
    Open,
    /// Evaluates the program.
    Evaluate,
    /// The same, and says what C++ it becomes.
    Translate,
}

/// What a process says.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) definitions: Vec<Measured>,
    /// Flags for clang, which the units rely on.
    pub(super) flags: Vec<String>,
    /// What the units begin with.
    pub(super) prelude: String,
}

/// One definition.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) name: String,
    /// From its text to the end of its factory.
    pub(super) nanoseconds: u64,
    pub(super) is_hit: bool,
    /// The C++ that it becomes, if that was asked for.
    pub(super) unit: Option<String>,
}

const PROGRAM: &str = include_str!("program.em");
const PRELUDE: &str = include_str!("prelude.hpp");

/// Does what `plan` says and prints what it measured, as JSON.
pub(crate) fn run(plan: &str) -> Result<()> {
    let plan: Plan = serde_json::from_str(plan).context("this is called by the benchmark alone")?;
    println!("{}", serde_json::to_string(&plan.measure()?)?);
    Ok(())
}

impl Plan {
    fn measure(&self) -> Result<Said> {
        let failure = |failure: ember::vm::Failure| anyhow!("{failure}");
        let vm = Vm::new(&VmOptions {
            cache: CachePlace::Folder(self.folder.clone()),
            backend: BackendOptions {
                choice: Choice::Clang,
                cpp_prelude: PRELUDE.to_owned(),
                ..BackendOptions::default()
            },
            ..VmOptions::default()
        });
        let vm = vm.map_err(failure)?;
        let mut said = Said {
            flags: compiler::cpp::FLAGS.map(str::to_owned).to_vec(),
            prelude: format!("{}\n{PRELUDE}", compiler::cpp::PRELUDE),
            definitions: Vec::new(),
        };
        let mut scanner = Scanner::new(match self.task {
            Task::Open => "",
            Task::Evaluate | Task::Translate => PROGRAM,
        });
        while let Some(form) = scanner.next_form()? {
            let text = PROGRAM.get(form.start..form.end).unwrap_or_default();
            let name = form.name.unwrap_or_default();
            let hits = vm.statistics().hits;
            let began = Instant::now();
            let evaluated = vm.eval_text("program.em", text);
            let nanoseconds = u64::try_from(began.elapsed().as_nanos())?;
            evaluated.map_err(failure)?;
            if form.name.is_none() {
                continue;
            }
            let unit = (self.task == Task::Translate).then(|| unit(&vm, text, name));
            said.definitions.push(Measured {
                name: name.to_owned(),
                nanoseconds,
                is_hit: vm.statistics().hits > hits,
                unit: unit.transpose()?,
            });
        }
        vm.keep();
        Ok(said)
    }
}

/// What clang is given of a form that was evaluated just now.
fn unit(vm: &Vm, text: &str, name: &str) -> Result<String> {
    let form = compiler::compile(&Compiling { vm }, text, name);
    // An error of ember's belongs to its thread.
    let form = form.map_err(|error| anyhow!("{error}"))?;
    Ok(lowered::cpp(&form.program).text().to_owned())
}

/// Compiles for nobody who records.
struct Compiling<'v> {
    vm: &'v Vm,
}

impl CompileHost for Compiling<'_> {
    fn context(&self) -> &Context {
        self.vm.context()
    }

    fn namespaces(&self) -> &Namespaces {
        self.vm.context().namespaces()
    }

    fn namespace(&self) -> &str {
        "experiment"
    }

    fn resolved(&self, _text: &str) {}

    fn expands(&self, _var: &str) {}
}
