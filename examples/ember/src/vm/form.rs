//! One top-level form through the cache: its text is delimited, and nothing more on a hit.

use super::preamble::INCLUDED;
use super::{Failure, Source, Vm};
use crate::compiler::ir::Program;
use crate::compiler::{self, CompileHost, CompiledForm, Outline};
use crate::context::{Context, Seen};
use crate::error::{Origin, Raised, Site};
use crate::namespace::Namespaces;
use crate::reader::Form;
use crate::value::{Code, Position, Value};
use rekindle_runtime_hooks::{
    Compilation, Definition, Digest, EvalError, Host, Ordinal, Outcome, Ran, Recorder, SideTable,
    UnitSource,
};
use std::cell::RefCell;
use std::rc::Rc;

/// The dependency on where the program's file lies.
const PROGRAM_FOLDER: &str = "program folder";

/// The effect that makes a name known.
const INTERN: &str = "intern";

impl Vm {
    /// Evaluates a form that is one definition of the cache: from its text to its value.
    pub(super) fn evaluate_definition(
        &self,
        source: &Source<'_>,
        form: &Form<'_>,
    ) -> Result<Value, Failure> {
        if self.context.take_outside_changed() {
            self.session.begin_epoch();
        }
        let text = source.text.get(form.start..form.end).unwrap_or_default();
        let namespace = self.current_namespace();
        let name = match form.name {
            Some(name) => format!("{namespace}/{name}"),
            None => String::new(),
        };
        let origin = Origin::new(source.file.clone(), form.line, form.column);
        let definition = Definition {
            name: &name,
            text,
            context: &namespace,
        };
        if let Some(warming) = &self.warming {
            self.warm_definition(warming, &definition, &origin);
            return Ok(Value::NIL);
        }
        let host = FormHost::new(self, &origin);
        let evaluated = self.session.eval_def(&definition, &host, |recorder| {
            self.compile(&definition, &host, recorder)
        });
        let evaluated = evaluated.map_err(|error| self.not_evaluated(error, &origin))?;
        let result = self.run_factory(evaluated.factory());
        let impure = self.context.reset_impure();
        let outcome: Outcome = evaluated.finish(match (&result, impure) {
            (Err(_), _) => Ran::Failed,
            (Ok(_), Some(_)) => Ran::Impure,
            (Ok(_), None) => Ran::Pure,
        });
        tracing::trace!(name, %outcome);
        result.map_err(|raised| self.failure(raised))
    }

    /// The failure that a form without a factory is.
    pub(super) fn not_evaluated(&self, error: EvalError<Raised>, origin: &Origin) -> Failure {
        let raised = match error {
            EvalError::Host(raised) => raised,
            error => {
                let message = error.to_string();
                self.context.raise_at(message, origin, Position::default())
            }
        };
        self.failure(raised)
    }

    /// Calls a factory, which evaluates its form.
    pub(super) fn run_factory(&self, factory: *const u8) -> Result<Value, Raised> {
        self.context.reset_impure();
        let mark = self.context.scope_mark();
        // SAFETY: the compiler of this crate makes every factory with this signature, and the cache gives
        // back what that compiler made in a process of this very build.
        let factory: Code = unsafe { std::mem::transmute(factory) };
        // SAFETY: a factory takes the context, which outlives the call, no callee and no arguments. Its
        // code is bound to the runtime's functions and to words that this Vm keeps.
        let word = unsafe { factory(&raw const self.context, 0, 0, std::ptr::null()) };
        // SAFETY: the scope keeps what the factory gave until it is truncated.
        let value = unsafe { Value::borrow_word(&word) }.cloned();
        self.context.scope_truncate(mark);
        value.ok_or(Raised(()))
    }

    /// Reads and compiles a form inside the recording context.
    pub(super) fn compile(
        &self,
        definition: &Definition<'_>,
        host: &FormHost<'_>,
        recorder: &Recorder<'_>,
    ) -> Result<Compilation<Program>, Raised> {
        let recording = Recording {
            vm: self,
            namespace: definition.context.into(),
            recorder,
        };
        self.context.begin_gensyms(&gensym_tag(definition));
        self.context.reset_impure();
        self.context.take_seen();
        self.context.take_interned();
        let compiled = compiler::compile(&recording, definition.text, definition.name);
        self.context.end_gensyms();
        for seen in self.context.take_seen() {
            match seen {
                Seen::File(name, content) => recorder.file(&name, content.as_deref()),
                Seen::Variable(name, value) => recorder.variable(&name, value.as_deref()),
                Seen::ProgramFolder => recorder.host(PROGRAM_FOLDER, ""),
            }
        }
        for name in self.context.take_interned() {
            recorder.effect(INTERN, name.as_bytes());
        }
        if let Some(reason) = self.context.reset_impure() {
            recorder.bypass(reason);
        }
        match compiled {
            Ok(mut form) => {
                let side_tables = side_tables(&form);
                host.outline
                    .replace(Some(std::mem::take(&mut form.outline)));
                Ok(Compilation {
                    factory: std::mem::take(&mut form.factory),
                    defines: std::mem::take(&mut form.defines),
                    defines_later: std::mem::take(&mut form.dynamic_defines),
                    references: std::mem::take(&mut form.references),
                    side_tables,
                    unit: UnitSource::Analysed {
                        canonical: form.program.canonical(),
                        generate: Box::new(move || form.program),
                    },
                })
            }
            Err(error) => {
                let raised = self
                    .context
                    .raise_at(error.message, host.origin, error.position);
                Err(raised)
            }
        }
    }
}

/// The table of the positions that the code speaks of, if it speaks of any, and the outline for those who
/// do not run the form, if it is not plain.
fn side_tables(form: &CompiledForm) -> Vec<SideTable> {
    let positions = &form.program.positions;
    let positions = (!positions.is_empty()).then(|| SideTable {
        name: Site::TABLE.to_owned(),
        bytes: Site::table(positions),
    });
    let outline = (!form.outline.is_plain).then(|| SideTable {
        name: Outline::TABLE.to_owned(),
        bytes: form.outline.encode(),
    });
    positions.into_iter().chain(outline).collect()
}

/// Names that a definition generates are its own: they carry eight digits of its digest, so that two
/// macros' names never meet, and are the same in every process.
fn gensym_tag(definition: &Definition<'_>) -> String {
    let mut builder = rekindle_runtime_hooks::DigestBuilder::new("ember generated names");
    builder
        .text(definition.context)
        .text(definition.name)
        .text(definition.text);
    format!("{:08x}", builder.finish().prefix() >> 32)
}

/// What the cache asks while one form is looked up and loaded.
pub(super) struct FormHost<'a> {
    vm: &'a Vm,
    origin: &'a Origin,
    /// The word of `ember:site`, once the form's code has asked for it.
    site: RefCell<Option<Rc<Site>>>,
    /// Of a form that was compiled, or was kept and is not plain.
    pub(super) outline: RefCell<Option<Outline>>,
}

impl<'a> FormHost<'a> {
    pub(super) fn new(vm: &'a Vm, origin: &'a Origin) -> Self {
        Self {
            vm,
            origin,
            site: RefCell::default(),
            outline: RefCell::default(),
        }
    }
}

impl Host for FormHost<'_> {
    fn resolution(&self, namespace: &str, symbol: &str) -> Option<Digest> {
        let namespaces = self.vm.context.namespaces();
        Some(namespaces.resolution_digest(namespace, symbol))
    }

    fn dependency(&self, kind: &str, _name: &str) -> Option<Digest> {
        if kind == INCLUDED {
            return self.vm.included_digest();
        }
        let folder = self.vm.context.program_folder();
        let path = folder.as_os_str().as_encoded_bytes();
        (kind == PROGRAM_FOLDER).then(|| Digest::of("ember program folder", path))
    }

    fn replay(&self, kind: &str, payload: &[u8]) -> bool {
        let name = std::str::from_utf8(payload);
        kind == INTERN && name.is_ok_and(|name| self.vm.context.declare(name))
    }

    fn side_table(&self, name: &str, bytes: &[u8]) {
        if let Some(site) = &*self.site.borrow()
            && name == Site::TABLE
        {
            site.set_table(bytes);
        }
        if self.vm.warming.is_some() && name == Outline::TABLE {
            self.outline.replace(Some(Outline::decode(bytes)));
        }
    }

    fn catch_up(&self, put_off: &[Ordinal]) {
        self.vm.catch_up(put_off);
    }

    fn symbol(&self, hash: u64, name: &str) -> Option<u64> {
        if name == "ember:site" {
            let mut site = self.site.borrow_mut();
            let site = site.get_or_insert_with(|| self.vm.words.site(self.origin));
            return Some(Rc::as_ptr(site) as u64);
        }
        self.vm.words.of(&self.vm.context, hash, name)
    }
}

/// What the compiler asks, with the answers' recording.
struct Recording<'a> {
    vm: &'a Vm,
    namespace: Rc<str>,
    recorder: &'a Recorder<'a>,
}

impl CompileHost for Recording<'_> {
    fn cpp(&self) -> Option<String> {
        let included = self.vm.cpp.as_ref()?.borrow().clone();
        self.recorder.host(INCLUDED, "");
        Some(included)
    }

    fn context(&self) -> &Context {
        &self.vm.context
    }

    fn namespaces(&self) -> &Namespaces {
        self.vm.context.namespaces()
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn resolved(&self, text: &str) {
        self.recorder.resolved(&self.namespace, text);
    }

    fn expands(&self, var: &str) {
        self.recorder.ran(var);
    }
}
