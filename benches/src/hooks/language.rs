//! The small language that is evaluated: thousands of distinct functions over a library.
//!
//! A definition has some 300 bytes of text and an image of some 2 KB, which is bound to twelve words of the
//! host's. It depends on a macro that ran, on the meaning of two symbols, and on the interface of a third
//! definition; on a hit an effect is repeated. The library is evaluated by each process before
//! anything is measured, as a runtime's own would be.

use rekindle_cache_core::artifact::Symbols;
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::types::I64;
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::{
    AbiParam, InstBuilder, Signature,
};
use rekindle_runtime_hooks::cranelift::backend::cranelift_frontend::{
    FunctionBuilder, FunctionBuilderContext,
};
use rekindle_runtime_hooks::cranelift::backend::{CraneliftCompiler, Linkage, Unit};
use rekindle_runtime_hooks::{
    Compilation, Definition, Digest, Host, Recorder, SideTable, SymbolTable, UnitSource,
    symbol_hash,
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::RefCell;
use std::fmt::Write;
use std::sync::Arc;

/// The namespace of everything.
const NAMESPACE: &str = "bench.core";
/// Functions that definitions refer to.
const FUNCTIONS: usize = 64;
/// Macros that run while definitions are compiled.
const MACROS: usize = 16;
/// Keywords that compiling makes known.
const KEYWORDS: usize = 64;
/// Lines of a text: make some 300 bytes.
const LINES: usize = 4;
/// How often a body calls each function of the runtime: makes images of some 2 KB.
const STEPS: usize = 11;

/// One definition's source.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    number: usize,
}

impl Source {
    /// The library, to be evaluated first.
    pub(super) fn library() -> Vec<Self> {
        let functions = (0..FUNCTIONS).map(|index| format!("library-{index}"));
        let macros = (0..MACROS).map(|index| format!("macro-{index}"));
        let all = functions.chain(macros).enumerate();
        all.map(|(index, name)| Self {
            name: format!("{NAMESPACE}/{name}"),
            text: format!("(define {name} (fn [form] (rest form)))"),
            number: index,
        })
        .collect()
    }

    /// Definition `number`.
    pub(super) fn new(number: usize) -> Self {
        let [first, second, third] = library(number);
        let mut text = format!("(defn function-{number} [left right]");
        for line in 0..LINES {
            let _ = write!(
                text,
                "\n  (let [sum (library-{first} (* left {number}) (+ right {line}))]"
            );
        }
        let _ = write!(
            text,
            "\n    (library-{second} sum (library-{third} :keyword))"
        );
        text.push_str(&")".repeat(LINES + 1));
        Self {
            name: format!("{NAMESPACE}/function-{number}"),
            text,
            number,
        }
    }

    /// The same with a comment, which is another text with an equal form.
    pub(super) fn with_comment(mut self) -> Self {
        self.text.push_str(" ; revised");
        self
    }

    /// Goes over its bytes, as a host does that delimits a definition.
    pub(super) fn read(&self) {
        let bytes = self.name.bytes().chain(self.text.bytes());
        std::hint::black_box(bytes.fold(0, |all: u8, byte| all ^ byte));
    }

    pub(super) fn definition(&self) -> Definition<'_> {
        Definition {
            name: &self.name,
            text: &self.text,
            context: NAMESPACE,
        }
    }
}

/// The three definitions of the library that a definition refers to.
fn library(number: usize) -> [usize; 3] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [7, 23, 41].map(|shift| (mixed >> shift) % FUNCTIONS)
}

/// The host: what its names mean, and the words of its variables and constants.
pub(super) struct Language {
    compiler: Arc<CraneliftCompiler>,
    meanings: FxHashMap<Box<str>, Digest>,
    interfaces: FxHashMap<Box<str>, Digest>,
    words: FxHashMap<u64, (Box<str>, u64)>,
    interned: RefCell<FxHashSet<Box<[u8]>>>,
    /// Says that its names mean the same for ever, as they do, so that code may be shared.
    vouches: bool,
}

impl Language {
    pub(super) fn new(vouches: bool) -> anyhow::Result<Self> {
        let mut language = Self {
            compiler: Arc::new(CraneliftCompiler::native()?),
            meanings: FxHashMap::default(),
            interfaces: FxHashMap::default(),
            words: FxHashMap::default(),
            interned: RefCell::default(),
            vouches,
        };
        for source in Source::library() {
            let meaning = Digest::of("bench meaning", source.name.as_bytes());
            let interface = Digest::of("bench interface", source.name.as_bytes());
            let symbol = source.name.trim_start_matches("bench.core/");
            language.meanings.insert(symbol.into(), meaning);
            language.word(&format!("var:{}", source.name));
            language.interfaces.insert(source.name.into(), interface);
        }
        for number in 0..KEYWORDS {
            language.word(&format!("const:{number}"));
        }
        Ok(language)
    }

    fn word(&mut self, name: &str) {
        let word = 0x1000 + self.words.len() as u64 * 16;
        self.words.insert(symbol_hash(name), (name.into(), word));
    }

    /// What the host's front end gives for `source`.
    pub(super) fn compile(
        &self,
        source: &Source,
        recorder: &Recorder<'_>,
    ) -> Result<Compilation<Unit>, std::convert::Infallible> {
        let number = source.number;
        let mut compilation = Compilation {
            unit: UnitSource::Analysed {
                canonical: Digest::of("bench form", source.name.as_bytes()),
                generate: {
                    let compiler = Arc::clone(&self.compiler);
                    Box::new(move || unit(&compiler, number))
                },
            },
            factory: "factory".to_owned(),
            defines: vec![source.name.clone()],
            defines_later: Vec::new(),
            references: Vec::new(),
            side_tables: Vec::new(),
        };
        if !source.text.starts_with("(defn") {
            return Ok(compilation);
        }
        let [first, second, third] = library(number);
        recorder.ran(&format!("{NAMESPACE}/macro-{}", number % MACROS));
        recorder.resolved(NAMESPACE, &format!("library-{first}"));
        recorder.resolved(NAMESPACE, &format!("macro-{}", number % MACROS));
        recorder.read(&format!("{NAMESPACE}/library-{third}"));
        recorder.effect(
            "intern",
            format!("keyword-{}", number % KEYWORDS).as_bytes(),
        );
        compilation.references = [first, second, third]
            .map(|index| format!("{NAMESPACE}/library-{index}"))
            .to_vec();
        compilation.references.sort();
        compilation.references.dedup();
        compilation.side_tables = vec![SideTable {
            name: "positions".to_owned(),
            bytes: vec![7; 48],
        }];
        Ok(compilation)
    }

    /// The unit of `source` without any recording.
    pub(super) fn unit(&self, source: &Source) -> Unit {
        unit(&self.compiler, source.number)
    }
}

impl Host for Language {
    fn resolution(&self, namespace: &str, symbol: &str) -> Option<Digest> {
        (namespace == NAMESPACE).then(|| self.meanings.get(symbol).copied())?
    }

    fn interface(&self, name: &str) -> Option<Digest> {
        self.interfaces.get(name).copied()
    }

    fn replay(&self, kind: &str, payload: &[u8]) -> bool {
        let mut interned = self.interned.borrow_mut();
        if !interned.contains(payload) {
            interned.insert(payload.into());
        }
        kind == "intern"
    }

    fn generation(&self) -> Option<u64> {
        self.vouches.then_some(0)
    }

    fn symbol(&self, hash: u64, name: &str) -> Option<u64> {
        let (known, word) = self.words.get(&hash)?;
        (**known == *name).then_some(*word)
    }
}

impl Symbols for Language {
    fn address(&self, hash: u64, name: &str) -> Option<u64> {
        let runtime = RUNTIME.iter().find(|(known, _)| *known == name);
        let runtime = runtime.map(|(_, function)| *function as usize as u64);
        runtime.or_else(|| self.symbol(hash, name))
    }
}

/// A function of the runtime.
type Function = extern "C" fn(u64, u64) -> u64;

extern "C" fn call(one: u64, other: u64) -> u64 {
    one ^ other
}

extern "C" fn add(one: u64, other: u64) -> u64 {
    one.wrapping_add(other)
}

extern "C" fn multiply(one: u64, other: u64) -> u64 {
    one.wrapping_mul(other)
}

extern "C" fn less(one: u64, other: u64) -> u64 {
    u64::from(one < other)
}

const RUNTIME: [(&str, Function); 4] = [
    ("bench_call", call),
    ("bench_add", add),
    ("bench_multiply", multiply),
    ("bench_less", less),
];

/// The functions of the runtime, as a host registers them.
pub(super) fn symbols() -> SymbolTable {
    let mut table = SymbolTable::new();
    for (name, function) in RUNTIME {
        table.insert(name, function as usize as u64);
    }
    table
}

/// A function of two arguments and a factory that gives its address.
fn unit(compiler: &CraneliftCompiler, number: usize) -> Unit {
    let mut nullary = Signature::new(compiler.call_conv());
    nullary.returns.push(AbiParam::new(I64));
    let mut binary = nullary.clone();
    binary.params.extend([AbiParam::new(I64); 2]);
    let mut unit = Unit::new();
    let factory = unit.declare_function("factory", Linkage::Export, &nullary);
    let function = unit.declare_function("function", Linkage::Local, &binary);
    let runtime = RUNTIME.map(|(name, _)| unit.import_function(name, &binary));
    let variables =
        library(number).map(|index| unit.import_word(&format!("var:{NAMESPACE}/library-{index}")));
    let constants = [0, 11, 23, 37, 51]
        .map(|n| unit.import_word(&format!("const:{}", (number + n) % KEYWORDS)));

    let mut context = FunctionBuilderContext::new();
    let mut body = unit.new_body(factory);
    let mut builder = FunctionBuilder::new(&mut body, &mut context);
    let block = builder.create_block();
    builder.switch_to_block(block);
    builder.seal_all_blocks();
    let reference = unit.func_ref(function, builder.func);
    let address = builder.ins().func_addr(I64, reference);
    builder.ins().return_(&[address]);
    builder.finalize(compiler.frontend_config());
    unit.define_function(factory, body);

    let mut body = unit.new_body(function);
    let mut builder = FunctionBuilder::new(&mut body, &mut context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_all_blocks();
    let (left, right) = match *builder.block_params(block) {
        [left, right, ..] => (left, right),
        _ => unreachable!("the signature has two parameters"),
    };
    let mut sum = builder.ins().iadd_imm_s(left, number as i64);
    for step in 0..STEPS {
        for (position, runtime) in runtime.iter().enumerate() {
            let words = variables.iter().chain(&constants);
            let word = words.cycle().nth(step * 3 + position);
            let word = unit.global_value(*word.expect("there are words"), builder.func);
            let word = builder.ins().symbol_value(I64, word);
            let callee = unit.func_ref(*runtime, builder.func);
            let call = builder.ins().call(callee, &[sum, word]);
            let result = builder.inst_results(call)[0];
            let mixed = builder.ins().bxor(result, right);
            sum = builder.ins().iadd_imm_s(mixed, (number * 31 + step) as i64);
        }
    }
    builder.ins().return_(&[sum]);
    builder.finalize(compiler.frontend_config());
    unit.define_function(function, body);
    unit
}
