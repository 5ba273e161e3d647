//! The small language that the benchmarks of hooks and of whole processes evaluate: thousands of distinct
//! functions over a library.
//!
//! A definition has some 300 bytes of text and an image of some 2 KB, which is bound to twelve words of the
//! host's. It depends on a macro that ran, on the meaning of two symbols, and on the interface of a third
//! definition; on a hit an effect is repeated. The library is evaluated by each process before
//! anything is measured, as a runtime's own would be.

use rekindle_cache_core::artifact::{Compiler as _, Symbols};
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::types::I64;
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::ir::{
    AbiParam, FuncRef, Function, InstBuilder, Signature, Value,
};
use rekindle_runtime_hooks::cranelift::backend::cranelift_codegen::isa::TargetFrontendConfig;
use rekindle_runtime_hooks::cranelift::backend::cranelift_frontend::{
    FunctionBuilder, FunctionBuilderContext,
};
use rekindle_runtime_hooks::cranelift::backend::{CraneliftCompiler, Linkage, Options, Unit};
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
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) number: usize,
}

/// A word of the host's, by the name that code has for it.
pub(crate) struct Word {
    pub(crate) name: String,
    pub(crate) value: u64,
}

impl Source {
    /// The library, to be evaluated first.
    pub(crate) fn library() -> Vec<Self> {
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
    pub(crate) fn new(number: usize) -> Self {
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
    pub(crate) fn with_comment(mut self) -> Self {
        self.text.push_str(" ; revised");
        self
    }

    /// Goes over its bytes, as a host does that delimits a definition.
    pub(crate) fn read(&self) {
        let bytes = self.name.bytes().chain(self.text.bytes());
        std::hint::black_box(bytes.fold(0, |all: u8, byte| all ^ byte));
    }

    /// The words that definition `number` is bound to, in the order of their first use.
    pub(crate) fn words(number: usize) -> [Word; WORDS] {
        let [first, second, third] = library(number);
        let constant = |n| Word {
            name: format!("const:{}", (number + n) % KEYWORDS),
            value: word_value(FUNCTIONS + MACROS + (number + n) % KEYWORDS),
        };
        let variable = |index| Word {
            name: format!("var:{NAMESPACE}/library-{index}"),
            value: word_value(index),
        };
        [
            variable(first),
            variable(second),
            variable(third),
            constant(0),
            constant(11),
            constant(23),
            constant(37),
            constant(51),
        ]
    }

    /// What function `number` gives for `left` and `right`, so that nobody can be quick by doing something else.
    pub(crate) fn answer(number: usize, left: u64, right: u64) -> u64 {
        let words = Self::words(number);
        let start = left.wrapping_add(number as u64);
        calls(number).fold(start, |sum, call| {
            let (_, function) = RUNTIME[call.runtime];
            (function(sum, words[call.word].value) ^ right).wrapping_add(call.addend)
        })
    }

    pub(crate) fn definition(&self) -> Definition<'_> {
        Definition {
            name: &self.name,
            text: &self.text,
            context: NAMESPACE,
        }
    }
}

/// Words that a definition is bound to.
pub(crate) const WORDS: usize = 8;

/// The word of the host's with number `index`.
const fn word_value(index: usize) -> u64 {
    0x1000 + index as u64 * 16
}

/// One of the calls in a definition's body: `sum = (runtime(sum, word) ^ right) + addend`.
pub(crate) struct Call {
    pub(crate) runtime: usize,
    pub(crate) word: usize,
    pub(crate) addend: u64,
}

/// The calls in the body of definition `number`, which begins with `sum = left + number`.
pub(crate) fn calls(number: usize) -> impl Iterator<Item = Call> {
    let steps = (0..STEPS).flat_map(|step| (0..RUNTIME.len()).map(move |runtime| (step, runtime)));
    steps.map(move |(step, runtime)| Call {
        runtime,
        word: (step * 3 + runtime) % WORDS,
        addend: (number * 31 + step) as u64,
    })
}

/// The three definitions of the library that a definition refers to.
fn library(number: usize) -> [usize; 3] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [7, 23, 41].map(|shift| (mixed >> shift) % FUNCTIONS)
}

/// The host: what its names mean, and the words of its variables and constants.
pub(crate) struct Language {
    compiler: Arc<CraneliftCompiler>,
    meanings: FxHashMap<Box<str>, Digest>,
    interfaces: FxHashMap<Box<str>, Digest>,
    words: FxHashMap<u64, (Box<str>, u64)>,
    interned: RefCell<FxHashSet<Box<[u8]>>>,
    /// Says that its names mean the same for ever, as they do, so that code may be shared.
    vouches: bool,
}

impl Language {
    pub(crate) fn new(vouches: bool) -> anyhow::Result<Self> {
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

    /// One whose objects have no unwind tables, for linkers that do not take Cranelift's.
    pub(crate) fn without_unwind_tables() -> anyhow::Result<Self> {
        let compiler = CraneliftCompiler::new(&Options::default().unwind_tables(false))?;
        Ok(Self {
            compiler: Arc::new(compiler),
            ..Self::new(true)?
        })
    }

    fn word(&mut self, name: &str) {
        let word = word_value(self.words.len());
        self.words.insert(symbol_hash(name), (name.into(), word));
    }

    /// What the host's front end gives for `source`.
    pub(crate) fn compile(
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
                    Box::new(move || unit(&compiler, number, "factory"))
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
    pub(crate) fn unit(&self, source: &Source) -> Unit {
        unit(&self.compiler, source.number, "factory")
    }

    /// The object of definition `number`, with its factory under the name `factory`.
    pub(crate) fn object(&self, number: usize, factory: &str) -> anyhow::Result<Vec<u8>> {
        let unit = unit(&self.compiler, number, factory);
        Ok(self.compiler.compile(&unit)?.object.bytes)
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
pub(crate) type RuntimeFunction = extern "C" fn(u64, u64) -> u64;

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

/// By their names.
pub(crate) const RUNTIME: [(&str, RuntimeFunction); 4] = [
    ("bench_call", call),
    ("bench_add", add),
    ("bench_multiply", multiply),
    ("bench_less", less),
];

/// The functions of the runtime, as a host registers them.
pub(crate) fn symbols() -> SymbolTable {
    let mut table = SymbolTable::new();
    for (name, function) in RUNTIME {
        table.insert(name, function as usize as u64);
    }
    table
}

/// A function of two arguments and a factory that gives its address.
fn unit(compiler: &CraneliftCompiler, number: usize, factory: &str) -> Unit {
    let mut nullary = Signature::new(compiler.call_conv());
    nullary.returns.push(AbiParam::new(I64));
    let mut binary = nullary.clone();
    binary.params.extend([AbiParam::new(I64); 2]);
    let mut unit = Unit::new();
    let factory = unit.declare_function(factory, Linkage::Export, &nullary);
    let function = unit.declare_function("function", Linkage::Local, &binary);
    let runtime = RUNTIME.map(|(name, _)| unit.import_function(name, &binary));
    let words = Source::words(number).map(|word| unit.import_word(&word.name));

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
    let config = compiler.frontend_config();
    define(&mut body, number, config, |builder, call| {
        let word = unit.global_value(words[call.word], builder.func);
        let word = builder.ins().symbol_value(I64, word);
        (unit.func_ref(runtime[call.runtime], builder.func), word)
    });
    unit.define_function(function, body);
    unit
}

/// Builds the body of function `number`; `refer` gives what a call refers to.
pub(crate) fn define(
    body: &mut Function,
    number: usize,
    config: TargetFrontendConfig,
    mut refer: impl FnMut(&mut FunctionBuilder<'_>, &Call) -> (FuncRef, Value),
) {
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(body, &mut context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.seal_all_blocks();
    let (left, right) = match *builder.block_params(block) {
        [left, right, ..] => (left, right),
        _ => unreachable!("the signature has two parameters"),
    };
    let mut sum = builder.ins().iadd_imm_s(left, number as i64);
    for call in calls(number) {
        let (callee, word) = refer(&mut builder, &call);
        let result = builder.ins().call(callee, &[sum, word]);
        let result = builder.inst_results(result)[0];
        let mixed = builder.ins().bxor(result, right);
        sum = builder.ins().iadd_imm_s(mixed, call.addend as i64);
    }
    builder.ins().return_(&[sum]);
    builder.finalize(config);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_gives_the_answers_and_words_that_peers_are_told() -> anyhow::Result<()> {
        use rekindle_cache_core::artifact::{Code as _, Loader as _};
        let language = Language::new(true)?;
        let loader = rekindle_loader::NativeLoader::new();
        for number in [0, 1, 77, 4_711] {
            for word in Source::words(number) {
                let known = language.symbol(symbol_hash(&word.name), &word.name);
                assert_eq!(known, Some(word.value), "{}", word.name);
            }
            let object = language
                .compiler
                .compile(&language.unit(&Source::new(number)))?
                .object;
            let image = loader.prepare(&object.bytes, &["factory"])?;
            // SAFETY: the image was made just now and is bound to the words that it was made for.
            let code = unsafe { loader.load(image.as_ref(), &language) }?;
            let factory = code.symbol("factory").expect("it is a root");
            // SAFETY: a factory gives the address of a function of two words.
            let answer = unsafe {
                let factory: extern "C" fn() -> RuntimeFunction = std::mem::transmute(factory);
                factory()(3, 5)
            };
            assert_eq!(answer, Source::answer(number, 3, 5));
        }
        Ok(())
    }
}
