//! Exceptions with many images loaded, and what it costs to make an image's frames known.

use super::compile::Tools;
use super::rekindle::NoSymbols;
use super::work::call;
use crate::row::Row;
use anyhow::{Context, Result, ensure};
use rekindle_cache_core::artifact::{Code as _, Image, Loader};
use rekindle_loader::{Code, NativeLoader};
use std::path::Path;
use std::time::{Duration, Instant};

const FEW: usize = 10;
const MANY: usize = 30_000;

/// Throws per row.
const THROWS: usize = 2000;

/// First throws per row, each after a load of its own.
const FIRST_THROWS: usize = 200;

/// Loads of each kind per sample, and samples, of the cost of registering. So many that merging tables
/// is part of each sample.
const GROUP: usize = 1000;
const GROUPS: usize = 40;

/// Before each group: the helper thread makes memory ready for it, as that is not the question.
const PAUSE: Duration = Duration::from_millis(4);

/// Throws through two frames and catches; the constants make it about as large as a definition.
const THROWS_SOURCE: &str = r#"
extern "C" __attribute__((noinline)) long raise(long n) { if (n >= 0) throw n; return 1; }
extern "C" __attribute__((noinline)) long middle(long n) { return raise(n) * 2 + 1; }
extern "C" long factory(long n) { try { return middle(n); } catch (long caught) { return caught + 42; } }
"#;

/// The same text with and without unwind tables.
const PLAIN_SOURCE: &str = r#"
extern "C" __attribute__((noinline)) long raise(long n) { return n * 3 + 1; }
extern "C" __attribute__((noinline)) long middle(long n) { return raise(n) * 2 + 1; }
extern "C" long factory(long n) { return middle(n) + 42; }
"#;

pub(super) fn measure(tools: &Tools, folder: &Path) -> Result<Vec<Row>> {
    eprintln!("measuring throw ...");
    let mut rows = throws(tools, folder)?;
    rows.extend(registering(tools, folder)?);
    Ok(rows)
}

fn image(
    loader: &NativeLoader,
    tools: &Tools,
    folder: &Path,
    source: &str,
    flags: &[&str],
) -> Result<Image> {
    let path = folder.join("throw.cc");
    std::fs::write(&path, source)?;
    let object = folder.join("throw.o");
    let flags = [&["-O1", "-fPIC"], flags].concat();
    tools.compile(&path, &flags, &object)?;
    Ok(loader.prepare(&std::fs::read(object)?, &["factory"])?)
}

fn load(loader: &NativeLoader, image: &Image) -> Result<Code> {
    // SAFETY: the image is of one of the sources above.
    Ok(unsafe { loader.load(image.as_ref(), &NoSymbols) }?)
}

/// Calls the factory of `code`, and returns how long it took.
fn throw(code: &Code) -> Result<u64> {
    let factory = code.symbol("factory").context("it is a root")?;
    let began = Instant::now();
    // SAFETY: it is the factory of the source above.
    let answer = unsafe { call(factory as usize) };
    let took = began.elapsed();
    ensure!(answer == 42, "an exception was lost: {answer}");
    Ok(took.as_nanos() as u64)
}

fn throws(tools: &Tools, folder: &Path) -> Result<Vec<Row>> {
    let loader = NativeLoader::new();
    let image = image(&loader, tools, folder, THROWS_SOURCE, &[])?;
    let mut codes = Vec::with_capacity(MANY + 2 * FIRST_THROWS);
    let mut rows = Vec::new();
    for count in [FEW, MANY] {
        while codes.len() < count {
            codes.push(load(&loader, &image)?);
        }
        let chosen = codes.iter().step_by(count / FEW);
        for code in chosen.clone() {
            throw(code)?;
        }
        let samples: Vec<u64> = chosen
            .cycle()
            .take(THROWS)
            .map(throw)
            .collect::<Result<_>>()?;
        let work = format!("later throw, {count} images");
        rows.extend(Row::new(work, "rekindle-image", samples));
        if count == MANY {
            // Every code's tables are in no cache here, so that this tells the machine's memory, too.
            let anywhere = codes.iter().step_by(17).take(THROWS / 2 * 2);
            let samples = anywhere.map(throw).collect::<Result<_>>()?;
            let work = format!("throw anywhere, {count} images");
            rows.extend(Row::new(work, "rekindle-image", samples));
        }
        let mut samples = Vec::new();
        for _ in 0..FIRST_THROWS {
            let code = load(&loader, &image)?;
            samples.push(throw(&code)?);
            codes.push(code);
        }
        let work = format!("first throw after a load, {count} images");
        rows.extend(Row::new(work, "rekindle-image", samples));
    }
    let found = loader.memory_statistics();
    eprintln!(
        "{} unwind tables of {} images, registered as {}",
        found.unwind_tables, found.loaded, found.unwind_registrations
    );
    // So that all that follows is measured in a process without these.
    for code in codes {
        // SAFETY: nothing of the code is used any more.
        unsafe { loader.unload(code) }?;
    }
    Ok(rows)
}

/// The difference between loading an image with an unwind table, and the same without one.
fn registering(tools: &Tools, folder: &Path) -> Result<Vec<Row>> {
    let loader = NativeLoader::new();
    let with = image(&loader, tools, folder, PLAIN_SOURCE, &[])?;
    let flags = ["-fno-asynchronous-unwind-tables", "-fno-exceptions"];
    let without = image(&loader, tools, folder, PLAIN_SOURCE, &flags)?;
    let time = |image: &Image| {
        std::thread::sleep(PAUSE);
        let began = Instant::now();
        for _ in 0..GROUP {
            load(&loader, image)?;
        }
        anyhow::Ok(began.elapsed().as_nanos() as u64 / GROUP as u64)
    };
    time(&with)?;
    time(&without)?;
    let (mut both, mut bare, mut difference) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..GROUPS {
        let (with, without) = (time(&with)?, time(&without)?);
        difference.push(with.saturating_sub(without));
        both.push(with);
        bare.push(without);
    }
    let row = |work: &str, samples| Row::new(work.to_owned(), "rekindle-image", samples);
    Ok([
        row("load with an unwind table", both),
        row("load without", bare),
        row("registering an unwind table", difference),
    ]
    .into_iter()
    .flatten()
    .collect())
}
