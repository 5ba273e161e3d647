//! `eval_def` with the real compiler, loader and store: what is compiled, when, and what is recorded.

#![cfg(feature = "cranelift")]

use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::types::I64;
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::{
    AbiParam, InstBuilder, Signature,
};
use rekindle_runtime_hooks::cranelift::backend::cranelift_frontend::{
    FunctionBuilder, FunctionBuilderContext,
};
use rekindle_runtime_hooks::cranelift::backend::{CraneliftCompiler, Linkage, Unit};
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache, CraneliftSession};
use rekindle_runtime_hooks::{
    Compilation, Definition, Digest, EvalError, Host, MissReason, Outcome, Ran, Recorder,
    SymbolTable,
};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

/// A language of sums: a text such as `1+x+y` adds numbers, words of the host, and `abs` of libc.
#[derive(Default)]
struct Sums {
    words: RefCell<HashMap<String, u64>>,
    meanings: RefCell<HashMap<String, String>>,
    compiled: Cell<u32>,
}

impl Host for Sums {
    fn resolution(&self, namespace: &str, symbol: &str) -> Option<Digest> {
        let meaning = self.meanings.borrow().get(symbol).cloned();
        let meaning = meaning.unwrap_or_else(|| "nothing".to_owned());
        Some(Digest::of(namespace, meaning.as_bytes()))
    }

    fn symbol(&self, _hash: u64, name: &str) -> Option<u64> {
        self.words.borrow().get(name).copied()
    }
}

impl Sums {
    fn compile(&self, text: &str, recorder: &Recorder<'_>) -> Result<Compilation<Unit>, String> {
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
            } else if let Some(name) = term.strip_prefix("ran ") {
                recorder.ran(name);
                builder.ins().iconst(I64, 0)
            } else if term == "clock" {
                recorder.bypass("the time of day");
                builder.ins().iconst(I64, 1000)
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
            unit,
            factory: "factory".to_owned(),
            defines: Vec::new(),
            defines_later: Vec::new(),
            references,
        })
    }

    /// Evaluates `name = text`: the sum, and the outcome.
    fn eval(&self, session: &CraneliftSession, name: &str, text: &str) -> (i64, Outcome) {
        self.eval_as(session, name, text, Ran::Pure)
    }

    fn eval_as(
        &self,
        session: &CraneliftSession,
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

fn in_memory() -> Arc<CraneliftCache> {
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    Arc::new(
        CraneliftCache::builder(backend)
            .in_memory()
            .open()
            .expect("it opens"),
    )
}

fn on_folder(folder: &std::path::Path, symbols: SymbolTable) -> Arc<CraneliftCache> {
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let builder = CraneliftCache::builder(backend)
        .folder(folder)
        .symbols(symbols);
    Arc::new(builder.open().expect("it opens"))
}

const NEW: Outcome = Outcome::Miss(MissReason::New);

#[test]
fn a_hit_calls_no_closure_and_runs_the_same_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let sums = Sums::default();
    sums.words.borrow_mut().insert("x".to_owned(), 40);
    let path = folder.path().join("cache");
    let cold = on_folder(&path, SymbolTable::new());
    assert_eq!(sums.eval(&cold.session(), "a", "2+x"), (42, NEW));
    drop(cold);
    assert_eq!(sums.compiled.get(), 1);
    let warm = on_folder(&path, SymbolTable::new());
    let session = warm.session();
    assert_eq!(sums.eval(&session, "a", "2+x"), (42, Outcome::Hit));
    // The word is bound when the code is loaded, not when it was compiled.
    sums.words.borrow_mut().insert("x".to_owned(), 1);
    assert_eq!(sums.eval(&session, "a", "2+x"), (3, Outcome::Hit));
    assert_eq!(sums.compiled.get(), 1);
    let statistics = session.statistics();
    assert_eq!((statistics.definitions, statistics.hits), (2, 2));
    assert!(!statistics.saved.is_zero());
}

#[test]
fn name_text_context_and_host_input_are_each_in_the_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cache");
    let sums = Sums::default();
    let open = |input: &str| {
        let backend = Cranelift::new().expect("Cranelift compiles for this machine");
        let builder = CraneliftCache::builder(backend).folder(&path);
        let input = Digest::of("test", input.as_bytes());
        Arc::new(builder.input("mode", input).open().expect("it opens"))
    };
    let cache = open("fast");
    assert_eq!(sums.eval(&cache.session(), "a", "1").1, NEW);
    assert_eq!(sums.eval(&cache.session(), "a", "1").1, Outcome::Hit);
    assert_eq!(sums.eval(&cache.session(), "b", "1").1, NEW);
    assert_eq!(sums.eval(&cache.session(), "a", "1 ").1, NEW);
    cache.flush().expect("it can be written");
    assert_eq!(sums.eval(&open("fast").session(), "a", "1").1, Outcome::Hit);
    assert_eq!(sums.eval(&open("slow").session(), "a", "1").1, NEW);
}

#[test]
fn a_symbol_that_means_something_else_is_a_miss_with_its_name() {
    let cache = in_memory();
    let sums = Sums::default();
    sums.words.borrow_mut().insert("x".to_owned(), 1);
    assert_eq!(sums.eval(&cache.session(), "a", "x").1, NEW);
    assert_eq!(sums.eval(&cache.session(), "a", "x").1, Outcome::Hit);
    let meaning = |text: &str| {
        let mut meanings = sums.meanings.borrow_mut();
        meanings.insert("x".to_owned(), text.to_owned());
    };
    meaning("another");
    let (_, outcome) = sums.eval(&cache.session(), "a", "x");
    assert_eq!(outcome.to_string(), "miss: what x means has changed");
    assert_eq!(sums.eval(&cache.session(), "a", "x").1, Outcome::Hit);
    // The variant for the first meaning is still there.
    meaning("nothing");
    assert_eq!(sums.eval(&cache.session(), "a", "x").1, Outcome::Hit);
    assert_eq!(sums.compiled.get(), 2);
}

#[test]
fn what_ran_at_compile_time_counts_with_all_that_it_reaches() {
    let cache = in_memory();
    let sums = Sums::default();
    for name in ["helper", "macro", "later"] {
        sums.words.borrow_mut().insert(name.to_owned(), 0);
    }
    let process = |helper: &str| {
        let session = cache.session();
        sums.eval(&session, "helper", helper);
        sums.eval(&session, "macro", "1+helper");
        sums.eval(&session, "user", "5+ran macro").1
    };
    assert_eq!(process("1"), NEW);
    assert_eq!(process("1"), Outcome::Hit);
    assert_eq!(
        process("2").to_string(),
        "miss: what macro does has changed"
    );
    assert_eq!(process("1"), Outcome::Hit);
    assert_eq!(process("2"), Outcome::Hit);
}

#[test]
fn what_cannot_be_recorded_is_never_kept() {
    let cache = in_memory();
    let sums = Sums::default();
    for _ in 0..2 {
        let (sum, outcome) = sums.eval(&cache.session(), "a", "clock+2");
        assert_eq!(sum, 1002);
        assert!(matches!(outcome, Outcome::Bypass(_)), "{outcome}");
    }
    for ran in [Ran::Impure, Ran::Failed] {
        let session = cache.session();
        sums.eval_as(&session, "now", "5", ran);
        let (_, outcome) = sums.eval(&session, "user", "ran now");
        assert!(
            outcome.to_string().contains("now ran at compile time"),
            "{outcome}"
        );
        // Defined again with a value that follows from its code, it can be recorded.
        sums.eval(&session, "now", "5");
        assert!(!matches!(
            sums.eval(&session, "user", "ran now").1,
            Outcome::Bypass(_)
        ));
    }
}

#[test]
fn errors_of_the_closure_come_back_and_are_counted_as_misses() {
    let cache = in_memory();
    let sums = Sums::default();
    let session = cache.session();
    let definition = Definition {
        name: "a",
        text: "1++2",
        context: "",
    };
    let result = session.eval_def(&definition, &sums, |recorder| {
        sums.compile("1++2", recorder)
    });
    match result {
        Err(EvalError::Host(message)) => assert_eq!(message, "nothing between two signs"),
        _ => panic!("the closure failed"),
    }
    let unknown = Definition {
        text: "unknown",
        ..definition
    };
    let result = session.eval_def(&unknown, &sums, |recorder| {
        sums.compile("unknown", recorder)
    });
    let Err(error) = result else {
        panic!("nobody knows the symbol");
    };
    assert!(error.to_string().contains("unknown"), "{error}");
    assert_eq!(session.statistics().definitions, 2);
}

/// A library's symbol makes the library's build a dependency; the executable's is in the environment.
#[test]
fn symbols_of_the_process_are_bound_last_and_hit_again() {
    let cache = in_memory();
    let sums = Sums::default();
    assert_eq!(sums.eval(&cache.session(), "a", "labs -7"), (7, NEW));
    assert_eq!(
        sums.eval(&cache.session(), "a", "labs -7"),
        (7, Outcome::Hit)
    );
    extern "C" fn other(_: i64) -> i64 {
        99
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut symbols = SymbolTable::new();
    assert!(symbols.insert("labs", other as *const () as u64));
    let registered = on_folder(&folder.path().join("cache"), symbols);
    assert_eq!(sums.eval(&registered.session(), "a", "labs -7"), (99, NEW));
}

#[test]
fn a_cache_that_is_off_runs_everything_and_keeps_nothing() {
    let backend = Cranelift::new().expect("Cranelift compiles for this machine");
    let cache = Arc::new(
        CraneliftCache::builder(backend)
            .off()
            .open()
            .expect("it opens"),
    );
    let sums = Sums::default();
    sums.words.borrow_mut().insert("x".to_owned(), 0x15);
    for _ in 0..2 {
        let (sum, outcome) = sums.eval(&cache.session(), "a", "1+x+labs -3");
        assert_eq!((sum, outcome.name()), (25, "bypass"));
    }
}

/// A factory may evaluate other definitions before it ends, and they may run what it is about to set.
#[test]
fn what_a_running_factory_defines_is_not_recorded_as_it_was() {
    let cache = in_memory();
    let sums = Sums::default();
    let process = |outer: &str| {
        let session = cache.session();
        let definition = Definition {
            name: "macro",
            text: outer,
            context: "sums",
        };
        let evaluated = session
            .eval_def(&definition, &sums, |recorder| {
                let mut compilation = sums.compile(outer, recorder)?;
                compilation.defines.push("macro".to_owned());
                Ok::<_, String>(compilation)
            })
            .expect("it compiles");
        let (_, inner) = sums.eval(&session, "user", "5+ran macro");
        evaluated.finish(Ran::Pure);
        inner
    };
    for text in ["1", "2", "1"] {
        assert!(matches!(process(text), Outcome::Bypass(_)));
    }
}

#[test]
fn what_the_host_changes_by_itself_is_not_recorded() {
    let cache = in_memory();
    let sums = Sums::default();
    let session = cache.session();
    let (_, before) = sums.eval(&session, "user", "5+ran setting");
    assert_eq!(before, Outcome::Miss(MissReason::New));
    session.changed("setting");
    let (_, after) = sums.eval(&session, "user", "5+ran setting");
    assert!(matches!(after, Outcome::Bypass(_)), "{after:?}");
}
