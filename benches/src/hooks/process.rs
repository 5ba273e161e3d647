//! One process of the benchmark: it does what its plan says and prints what it measured.

use crate::language::{Language, Source, symbols};
use crate::meter::{Memory, keep_heap, process_time, stay_on, thread_time};
use anyhow::{Context, Result, bail, ensure};
use rekindle_cache_core::artifact::{Code, Compiler, Loader};
use rekindle_runtime_hooks::cranelift::{Cranelift, CraneliftCache, CraneliftSession};
use rekindle_runtime_hooks::settings::Mode;
use rekindle_runtime_hooks::{Backend, Ran};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::time::Instant;

/// What a process is to do, as its parent writes it on the command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) work: Work,
    /// The cache folder.
    pub(super) folder: PathBuf,
    /// How many definitions the program has.
    pub(super) definitions: usize,
    /// By which their order is shuffled.
    pub(super) seed: u64,
}

/// What is measured, each time per definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    /// Evaluated in a process that has not met it before.
    Warm,
    /// The same by a host that does not vouch for its answers, so that nothing is got ready to be shared.
    Unshared,
    /// The same where the folder may not have it: then it is compiled and kept.
    Cold,
    /// Evaluated again in the same process.
    Again,
    /// Evaluated with a comment that the folder's text does not have.
    Revised,
    /// Evaluated with the cache switched off: the JIT runs it.
    Off,
    /// Compiled, linked and loaded as on a miss, by compiler and loader alone.
    Direct,
    /// Evaluated by so many threads at once, on one session.
    Threads(usize),
}

/// What a process measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Measured {
    /// Nanoseconds of each definition, factory included.
    pub(super) samples: Vec<u64>,
    /// Nanoseconds of CPU time that the evaluating thread spent on each, where that is long enough to be
    /// measured.
    pub(super) thread_cpu: Vec<u64>,
    /// Nanoseconds from the first definition's beginning to the last one's end.
    pub(super) wall_ns: u64,
    /// Nanoseconds of CPU time of all threads meanwhile.
    pub(super) cpu_ns: u64,
    pub(super) hits: u64,
    pub(super) second_hits: u64,
    /// By which the process's proportional share of memory has grown.
    pub(super) memory: Memory,
    /// The size of all images that were made, where they were.
    pub(super) image_bytes: u64,
}

/// Does what `plan` says and prints what it measured, as JSON.
pub(crate) fn run_process(plan: &str) -> Result<()> {
    let plan: Plan = serde_json::from_str(plan).context("this is called by the benchmark alone")?;
    keep_heap();
    let measured = plan.measure()?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

impl Plan {
    fn measure(&self) -> Result<Measured> {
        let mut sources: Vec<Source> = (0..self.definitions).map(Source::new).collect();
        if self.work == Work::Revised {
            sources = sources.into_iter().map(Source::with_comment).collect();
        }
        shuffle(&mut sources, self.seed);
        match self.work {
            Work::Direct => direct(&sources),
            Work::Warm | Work::Unshared | Work::Cold | Work::Revised | Work::Off => {
                let session = self.open()?.session();
                let language = prelude(&session, self.work != Work::Unshared)?;
                let is_long = matches!(self.work, Work::Cold | Work::Off);
                let measured = evaluate(&session, &language, &sources, is_long)?;
                if self.work == Work::Cold {
                    session.cache().flush()?;
                }
                Ok(measured)
            }
            Work::Again => {
                let session = self.open()?.session();
                let language = prelude(&session, true)?;
                evaluate(&session, &language, &sources, false)?;
                shuffle(&mut sources, self.seed + 1);
                evaluate(&session, &language, &sources, false)
            }
            Work::Threads(count) => {
                let session = self.open()?.session();
                prelude(&session, true)?;
                threads(&session, &sources, count)
            }
        }
    }

    fn open(&self) -> Result<Arc<CraneliftCache>> {
        let mode = match self.work {
            Work::Off => Mode::Off,
            // The folder is for others as well, who find it as it was.
            Work::Revised => Mode::ReadOnly,
            _ => Mode::On,
        };
        let builder = CraneliftCache::builder(Cranelift::new()?);
        let builder = builder.folder(&self.folder).symbols(symbols()).mode(mode);
        Ok(Arc::new(builder.open()?))
    }
}

/// Evaluates the library, as each process does before anything else.
fn prelude(session: &CraneliftSession, vouches: bool) -> Result<Language> {
    let language = Language::new(vouches)?;
    for source in Source::library() {
        one(session, &language, &source)?;
    }
    Ok(language)
}

/// Evaluates a definition, calls its factory, and says that it has run.
fn one(session: &CraneliftSession, language: &Language, source: &Source) -> Result<()> {
    let evaluated = session.eval_def(&source.definition(), language, |recorder| {
        language.compile(source, recorder)
    })?;
    // SAFETY: the language makes factories of this type, which do nothing but give an address.
    let factory: extern "C" fn() -> u64 = unsafe { std::mem::transmute(evaluated.factory()) };
    ensure!(factory() != 0, "a factory gave no function");
    evaluated.finish(Ran::Pure);
    Ok(())
}

/// Evaluates `sources` one after the other. A text is in the processor's cache when its time begins: a host has
/// just read it, to find its end. All that lies between is in the time of all together.
fn evaluate(
    session: &CraneliftSession,
    language: &Language,
    sources: &[Source],
    is_long: bool,
) -> Result<Measured> {
    let mut samples = vec![0; sources.len()];
    let mut thread_cpu = vec![0; if is_long { sources.len() } else { 0 }];
    let (statistics, memory) = (session.statistics(), Memory::now()?);
    let cpu = process_time();
    let began = Instant::now();
    let mut last = began;
    if is_long {
        let mut cpu_before = thread_time();
        for ((source, sample), cpu) in sources.iter().zip(&mut samples).zip(&mut thread_cpu) {
            one(session, language, source)?;
            let now = Instant::now();
            *sample = (now - last).as_nanos() as u64;
            let cpu_now = thread_time();
            *cpu = cpu_now - cpu_before;
            (last, cpu_before) = (Instant::now(), cpu_now);
        }
    } else {
        for (source, sample) in sources.iter().zip(&mut samples) {
            source.read();
            last = Instant::now();
            one(session, language, source)?;
            *sample = last.elapsed().as_nanos() as u64;
        }
    }
    let wall_ns = began.elapsed().as_nanos() as u64;
    let cpu_ns = process_time() - cpu;
    let now = session.statistics();
    Ok(Measured {
        samples,
        thread_cpu,
        wall_ns,
        cpu_ns,
        hits: now.hits - statistics.hits,
        second_hits: now.second_hits - statistics.second_hits,
        memory: Memory::now()?.since(&memory),
        image_bytes: 0,
    })
}

/// Evaluates `sources` by several threads, each a part of them, on a processor of its own: a kernel may leave
/// threads that one thread has started on that one's for longer than all of this takes.
fn threads(session: &CraneliftSession, sources: &[Source], count: usize) -> Result<Measured> {
    let hits = session.statistics().hits;
    let barrier = Barrier::new(count + 1);
    let mut wall_ns = 0;
    std::thread::scope(|scope| -> Result<()> {
        let mut threads = Vec::new();
        for (number, part) in sources.chunks(sources.len().div_ceil(count)).enumerate() {
            let barrier = &barrier;
            threads.push(scope.spawn(move || -> Result<()> {
                let ready = stay_on(number).and_then(|()| Language::new(true));
                barrier.wait();
                let language = ready?;
                part.iter()
                    .try_for_each(|source| one(session, &language, source))
            }));
        }
        barrier.wait();
        let began = Instant::now();
        for thread in threads {
            match thread.join() {
                Ok(done) => done?,
                Err(_) => bail!("a thread panicked"),
            }
        }
        wall_ns = began.elapsed().as_nanos() as u64;
        Ok(())
    })?;
    Ok(Measured {
        wall_ns,
        hits: session.statistics().hits - hits,
        ..Measured::default()
    })
}

/// Does what a miss cannot do without: compiles, links and loads each unit, and calls its factory.
fn direct(sources: &[Source]) -> Result<Measured> {
    let backend = Cranelift::new()?;
    let language = Language::new(true)?;
    let mut measured = Measured::default();
    for source in sources {
        let cpu = thread_time();
        let began = Instant::now();
        let compiled = backend.compiler().compile(&language.unit(source))?;
        let image = backend
            .loader()
            .prepare(&compiled.object.bytes, &["factory"])?;
        // SAFETY: the image is of an object that was compiled just now, and is bound to the words that
        // the language takes its names for.
        let code = unsafe { backend.loader().load(image.as_ref(), &language) }?;
        let factory = code.symbol("factory").context("there is no factory")?;
        // SAFETY: the language makes factories of this type, which do nothing but give an address.
        let factory: extern "C" fn() -> u64 = unsafe { std::mem::transmute(factory) };
        ensure!(factory() != 0, "a factory gave no function");
        measured.image_bytes += image.bytes.len() as u64;
        drop((compiled, image, code));
        measured.samples.push(began.elapsed().as_nanos() as u64);
        measured.thread_cpu.push(thread_time() - cpu);
    }
    measured.wall_ns = measured.samples.iter().sum();
    Ok(measured)
}

/// The order of a seed: Fisher and Yates's, by a linear congruential generator.
fn shuffle(sources: &mut [Source], seed: u64) {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    for last in (1..sources.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        sources.swap(last, (state >> 33) as usize % (last + 1));
    }
}
