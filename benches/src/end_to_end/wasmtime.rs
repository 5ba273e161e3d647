//! wasmtime: a module for each definition, compiled beforehand, from a file of its own or by its own cache.
//!
//! All instances share one store, as the values of one runtime have to. The host's functions and words are
//! imports, which a linker gives.

use super::files;
use super::peer::{ARGUMENTS, Peer, Place, most_mappable};
use crate::language::{RUNTIME, Source, calls};
use anyhow::{Result, anyhow};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;
use wasmtime::{
    Cache, CacheConfig, Config, Engine, Global, GlobalType, Linker, Module, Mutability, Store,
    StoreLimits, StoreLimitsBuilder, Val, ValType,
};

/// A module is at least so many mappings.
const MAPPINGS: usize = 2;

#[derive(Clone, Copy)]
enum From {
    /// `Module::deserialize_file`.
    Files,
    /// `Module::new`, with the cache on.
    Cache,
}

struct Wasmtime {
    engine: Engine,
    store: Store<StoreLimits>,
    linker: Linker<StoreLimits>,
    from: From,
    folder: PathBuf,
}

fn engine(cache: Option<Cache>) -> Result<Engine> {
    let mut config = Config::new();
    config.native_unwind_info(false);
    config.generate_address_map(false);
    config.cache(cache);
    Engine::new(&config).map_err(plain)
}

/// wasmtime's errors are no errors of the standard library's kind.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

/// The cache with its settings as they are, in a folder of its own and with room for all.
fn cache(place: &Place) -> Result<Cache> {
    let mut config = CacheConfig::new();
    config.with_directory(std::path::absolute(place.folder("wasmtime-cache"))?);
    config.with_file_count_soft_limit(1 << 20);
    config.with_files_total_size_soft_limit(8 << 30);
    Cache::new(config).map_err(plain)
}

/// Definition `number` as a module.
fn text(number: usize) -> String {
    let mut text = String::from("(module\n");
    for (name, _) in RUNTIME {
        let signature = "(param i64 i64) (result i64)";
        let _ = writeln!(
            text,
            "(import \"host\" \"{name}\" (func ${name} {signature}))"
        );
    }
    for (index, word) in Source::words(number).iter().enumerate() {
        let name = &word.name;
        let _ = writeln!(
            text,
            "(import \"host\" \"{name}\" (global $word-{index} i64))"
        );
    }
    let _ = writeln!(
        text,
        "(func (export \"function\") (param $left i64) (param $right i64) (result i64) (local $sum i64)\n\
         (local.set $sum (i64.add (local.get $left) (i64.const {number})))"
    );
    for call in calls(number) {
        let (name, _) = RUNTIME[call.runtime];
        let (word, addend) = (call.word, call.addend);
        let called = format!("(call ${name} (local.get $sum) (global.get $word-{word}))");
        let _ = writeln!(
            text,
            "(local.set $sum (i64.add (i64.xor {called} (local.get $right)) (i64.const {addend})))"
        );
    }
    text.push_str("(local.get $sum)))\n");
    text
}

/// Modules that are compiled, and as wasm.
fn prepare(
    place: &Place,
    folder: &str,
    budget: Duration,
    engine: &Engine,
    from: From,
) -> Result<usize> {
    let count = place.count.min(most_mappable(MAPPINGS));
    let folder = place.folder(folder);
    let recipe = format!("1 wasmtime 48 {}", wasm_digest()?);
    let there = files::prepare(&folder, &recipe, count, budget, |number| {
        let wasm = wat::parse_str(text(number))?;
        match from {
            From::Files => {
                let compiled = engine.precompile_module(&wasm).map_err(plain)?;
                std::fs::write(files::path(&folder, number, "cwasm"), compiled)?;
            }
            From::Cache => {
                std::fs::write(files::path(&folder, number, "wasm"), &wasm)?;
                Module::new(engine, &wasm).map_err(plain)?;
            }
        }
        Ok(())
    })?;
    // Whoever gets past what can be mapped is told that no more were made.
    let is_all = there == count && count < place.count;
    Ok(if is_all { place.count } else { there })
}

fn wasm_digest() -> Result<String> {
    let wasm = wat::parse_str(text(7))?;
    Ok(format!("{:016x}", rekindle_cache_core::checksum(&wasm)))
}

pub(super) fn prepare_files(place: &Place, budget: Duration) -> Result<usize> {
    prepare(place, "wasmtime", budget, &engine(None)?, From::Files)
}

pub(super) fn prepare_cache(place: &Place, budget: Duration) -> Result<usize> {
    let engine = engine(Some(cache(place)?))?;
    prepare(place, "wasm", budget, &engine, From::Cache)
}

pub(super) fn from_files(place: &Place) -> Result<Box<dyn Peer>> {
    start(From::Files, engine(None)?, place.folder("wasmtime"))
}

pub(super) fn from_cache(place: &Place) -> Result<Box<dyn Peer>> {
    start(
        From::Cache,
        engine(Some(cache(place)?))?,
        place.folder("wasm"),
    )
}

fn start(from: From, engine: Engine, folder: PathBuf) -> Result<Box<dyn Peer>> {
    let limits = StoreLimitsBuilder::new().instances(usize::MAX).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let mut linker = Linker::new(&engine);
    for (name, function) in RUNTIME {
        let wrapped = linker.func_wrap("host", name, move |one: u64, other: u64| {
            function(one, other)
        });
        wrapped.map_err(plain)?;
    }
    let mut known = std::collections::BTreeSet::new();
    for word in (0..2_000).flat_map(Source::words) {
        if known.insert(word.name.clone()) {
            let kind = GlobalType::new(ValType::I64, Mutability::Const);
            let global = Global::new(&mut store, kind, Val::I64(word.value as i64));
            let global = global.map_err(plain)?;
            let defined = linker.define(&store, "host", &word.name, global);
            defined.map_err(plain)?;
        }
    }
    Ok(Box::new(Wasmtime {
        engine,
        store,
        linker,
        from,
        folder,
    }))
}

impl Wasmtime {
    fn call(&mut self, number: usize) -> wasmtime::Result<u64> {
        let module = match self.from {
            From::Files => {
                let path = files::path(&self.folder, number, "cwasm");
                // SAFETY: the file was written by the same wasmtime, and nobody changes it.
                unsafe { Module::deserialize_file(&self.engine, path) }?
            }
            From::Cache => {
                let wasm = std::fs::read(files::path(&self.folder, number, "wasm"))?;
                Module::new(&self.engine, wasm)?
            }
        };
        let instance = self.linker.instantiate(&mut self.store, &module)?;
        let function = instance.get_typed_func::<(u64, u64), u64>(&mut self.store, "function")?;
        function.call(&mut self.store, ARGUMENTS)
    }
}

impl Peer for Wasmtime {
    fn bring_back(&mut self, number: usize) -> Result<u64> {
        self.call(number).map_err(plain)
    }
}
