//! A small host: a language of sums, compiled by Cranelift, with something of each sort to depend on.

use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::types::I64;
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::{
    AbiParam, InstBuilder, MemFlagsData, Signature,
};
use rekindle_runtime_hooks::cranelift::backend::cranelift_frontend::{
    FunctionBuilder, FunctionBuilderContext,
};
use rekindle_runtime_hooks::cranelift::backend::{CraneliftCompiler, DataContents, Linkage, Unit};
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache};
use rekindle_runtime_hooks::{
    Backend, Compilation, Definition, Digest, Host, MissReason, Outcome, Ran, Recorder, Session,
    SymbolTable,
};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A language of sums: a text such as `1+x+y` adds numbers and words of the host. Other terms are worth
/// what they do:
///
/// | term | does |
/// | --- | --- |
/// | `labs N` | calls the function of the C library |
/// | `call NAME` | calls a function of the host |
/// | `ran NAME` | runs a definition at compile time |
/// | `read NAME` | reads the interface of one |
/// | `file NAME`, `files NAME NAME` | reads files of the host's folder |
/// | `tell NAME` | reads a file of the host's folder, and tells the host its content as a name, as `intern` does |
/// | `env NAME` | looks at a variable |
/// | `state KIND NAME` | looks at something of the host's own |
/// | `peek NAME` | is worth what the host's own state says, and tells nobody that it looked |
/// | `intern NAME` | tells the host a name, which has to be told again on a hit |
/// | `clock` | does what no record can repeat |
/// | `count` | counts how often its code has run, in data of its own |
/// | `site` | a word that is another at each load |
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) words: RefCell<HashMap<String, u64>>,
    pub(crate) meanings: RefCell<HashMap<String, String>>,
    pub(crate) interfaces: RefCell<HashMap<String, String>>,
    pub(crate) states: RefCell<HashMap<String, String>>,
    pub(crate) interned: RefCell<Vec<String>>,
    /// What vouches for the host's answers, if anything does.
    pub(crate) generation: Cell<Option<u64>>,
    /// How many words called `site` were given.
    pub(crate) sites: Cell<u64>,
    /// Whether effects can be repeated.
    pub(crate) forgetful: Cell<bool>,
    pub(crate) folder: PathBuf,
    pub(crate) compiled: Cell<u32>,
}

impl Host for Sums {
    fn resolution(&self, namespace: &str, symbol: &str) -> Option<Digest> {
        let meaning = self.meanings.borrow().get(symbol).cloned();
        let meaning = meaning.unwrap_or_else(|| "nothing".to_owned());
        Some(Digest::of(namespace, meaning.as_bytes()))
    }

    fn interface(&self, name: &str) -> Option<Digest> {
        let interfaces = self.interfaces.borrow();
        Some(Digest::of("interface", interfaces.get(name)?.as_bytes()))
    }

    fn dependency(&self, kind: &str, name: &str) -> Option<Digest> {
        let states = self.states.borrow();
        Some(Digest::of(kind, states.get(name)?.as_bytes()))
    }

    fn locate(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn replay(&self, kind: &str, payload: &[u8]) -> bool {
        assert_eq!(kind, "intern");
        let name = String::from_utf8(payload.to_owned()).expect("it was a name");
        self.interned.borrow_mut().push(name);
        !self.forgetful.get()
    }

    fn generation(&self) -> Option<u64> {
        self.generation.get()
    }

    fn symbol(&self, _hash: u64, name: &str) -> Option<u64> {
        if name == "site" {
            self.sites.set(self.sites.get() + 1);
            self.renew();
            return Some(self.sites.get());
        }
        self.words.borrow().get(name).copied()
    }
}

impl Sums {
    /// Says that answers may be others from now on, if it vouches for any.
    pub(crate) fn renew(&self) {
        self.generation
            .set(self.generation.get().map(|now| now + 1));
    }

    pub(crate) fn compile(
        &self,
        text: &str,
        recorder: &Recorder<'_>,
    ) -> Result<Compilation<Unit>, String> {
        self.compiled.set(self.compiled.get() + 1);
        let compiler = CraneliftCompiler::native().map_err(|error| error.to_string())?;
        let mut signature = Signature::new(compiler.call_conv());
        signature.returns.push(AbiParam::new(I64));
        let mut of_one = signature.clone();
        of_one.params.push(AbiParam::new(I64));
        let mut unit = Unit::new();
        let factory = unit.declare_function("factory", Linkage::Export, &signature);
        let mut body = unit.new_body(factory);
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut body, &mut context);
        let block = builder.create_block();
        builder.switch_to_block(block);
        builder.seal_all_blocks();
        let mut sum = builder.ins().iconst(I64, 0);
        let mut references = Vec::new();
        for term in text.split('+') {
            let term = term.trim();
            let value = if let Ok(number) = term.parse::<i64>() {
                builder.ins().iconst(I64, number)
            } else if let Some(number) = term.strip_prefix("labs ") {
                let number: i64 = number.parse().map_err(|_| "no number".to_owned())?;
                let function = unit.import_function("labs", &of_one);
                let function = unit.func_ref(function, builder.func);
                let number = builder.ins().iconst(I64, number);
                let call = builder.ins().call(function, &[number]);
                builder.inst_results(call)[0]
            } else if let Some(name) = term.strip_prefix("call ") {
                let function = unit.import_function(name, &signature);
                let function = unit.func_ref(function, builder.func);
                let call = builder.ins().call(function, &[]);
                builder.inst_results(call)[0]
            } else if let Some(name) = term.strip_prefix("ran ") {
                recorder.ran(name);
                builder.ins().iconst(I64, 0)
            } else if let Some(name) = term.strip_prefix("read ") {
                recorder.read(name);
                builder.ins().iconst(I64, 0)
            } else if let Some(name) = term.strip_prefix("file ") {
                let content = std::fs::read(self.locate(name)).ok();
                recorder.file(name, content.as_deref());
                let length = content.map_or(-1, |content| content.len() as i64);
                builder.ins().iconst(I64, length)
            } else if let Some(name) = term.strip_prefix("tell ") {
                let content = std::fs::read_to_string(self.locate(name)).unwrap_or_default();
                recorder.file(name, Some(content.as_bytes()));
                recorder.effect("intern", content.as_bytes());
                self.interned.borrow_mut().push(content);
                builder.ins().iconst(I64, 0)
            } else if let Some(names) = term.strip_prefix("files ") {
                recorder.files(&names.split(' ').collect::<Vec<_>>());
                builder.ins().iconst(I64, 0)
            } else if let Some(name) = term.strip_prefix("env ") {
                recorder.variable(name, std::env::var_os(name).as_deref());
                builder.ins().iconst(I64, 0)
            } else if let Some(state) = term.strip_prefix("state ") {
                let (kind, name) = state.split_once(' ').ok_or("no kind")?;
                recorder.host(kind, name);
                builder.ins().iconst(I64, 0)
            } else if let Some(name) = term.strip_prefix("peek ") {
                let state = self.states.borrow().get(name).cloned();
                let state = state.ok_or("no such state")?;
                if state == "clock" {
                    recorder.bypass("the time of day");
                }
                let number = state.parse().or((state == "clock").then_some(0).ok_or(""));
                builder.ins().iconst(I64, number.map_err(|_| "no number")?)
            } else if let Some(name) = term.strip_prefix("intern ") {
                self.interned.borrow_mut().push(name.to_owned());
                recorder.effect("intern", name.as_bytes());
                builder.ins().iconst(I64, 0)
            } else if term == "clock" {
                recorder.bypass("the time of day");
                builder.ins().iconst(I64, 1000)
            } else if term == "count" {
                let counter = unit.declare_data("counter", Linkage::Local);
                unit.define_data(counter, DataContents::variable([0; 8]));
                let counter = unit.global_value(counter, builder.func);
                let counter = builder.ins().symbol_value(I64, counter);
                let count = builder.ins().load(I64, MemFlagsData::trusted(), counter, 0);
                let count = builder.ins().iadd_imm_s(count, 1);
                builder
                    .ins()
                    .store(MemFlagsData::trusted(), count, counter, 0);
                count
            } else if term == "site" {
                let word = unit.import_word(term);
                let word = unit.global_value(word, builder.func);
                builder.ins().symbol_value(I64, word)
            } else if term.is_empty() {
                return Err("nothing between two signs".to_owned());
            } else {
                recorder.resolved("sums", term);
                references.push(term.to_owned());
                let word = unit.import_word(term);
                let word = unit.global_value(word, builder.func);
                builder.ins().symbol_value(I64, word)
            };
            sum = builder.ins().iadd(sum, value);
        }
        builder.ins().return_(&[sum]);
        builder.finalize(compiler.frontend_config());
        unit.define_function(factory, body);
        Ok(Compilation {
            unit: unit.into(),
            factory: "factory".to_owned(),
            defines: Vec::new(),
            defines_later: Vec::new(),
            references,
            side_tables: Vec::new(),
        })
    }

    /// Evaluates `name = text`: the sum, and the outcome.
    pub(crate) fn eval<B: Backend<Unit = Unit>>(
        &self,
        session: &Session<B>,
        name: &str,
        text: &str,
    ) -> (i64, Outcome) {
        self.eval_as(session, name, text, Ran::Pure)
    }

    pub(crate) fn eval_as<B: Backend<Unit = Unit>>(
        &self,
        session: &Session<B>,
        name: &str,
        text: &str,
        ran: Ran,
    ) -> (i64, Outcome) {
        let definition = Definition {
            name,
            text,
            context: "sums",
        };
        let evaluated = session
            .eval_def(&definition, self, |recorder| {
                let mut compilation = self.compile(text, recorder)?;
                compilation.defines.push(name.to_owned());
                Ok::<_, String>(compilation)
            })
            .expect("the sum is well-formed");
        // SAFETY: `compile` makes factories of this type.
        let factory: extern "C" fn() -> i64 = unsafe { std::mem::transmute(evaluated.factory()) };
        (factory(), evaluated.finish(ran))
    }
}

pub(crate) fn in_memory() -> Arc<CraneliftCache> {
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    Arc::new(
        CraneliftCache::builder(backend)
            .in_memory()
            .open()
            .expect("it opens"),
    )
}

pub(crate) fn on_folder(folder: &Path, symbols: SymbolTable) -> Arc<CraneliftCache> {
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let builder = CraneliftCache::builder(backend)
        .folder(folder)
        .symbols(symbols);
    Arc::new(builder.open().expect("it opens"))
}

pub(crate) const NEW: Outcome = Outcome::Miss(MissReason::New);
