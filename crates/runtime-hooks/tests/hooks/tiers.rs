//! A backend of two compilers, the better of which has habits.

use crate::sums::Sums;
use rekindle_cache_core::artifact::{Compiled, Compiler};
use rekindle_runtime_hooks::cranelift::Cranelift;
use rekindle_runtime_hooks::cranelift::backend::{
    CraneliftCompiler, CraneliftJit, OptLevel, Options, Unit,
};
use rekindle_runtime_hooks::{
    Backend, BetterCompiler, Cache, CacheBuilder, Definition, Digest, Improving, Session,
};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Whatever is compiled is made better before the cache is closed.
pub(crate) const ALL: Improving = Improving {
    costly: Duration::ZERO,
    share: 0.0,
    at_close: MINUTE,
};

/// Nothing is made better.
pub(crate) const NONE: Improving = Improving {
    costly: Duration::MAX,
    share: 0.0,
    at_close: Duration::ZERO,
};

/// What the better compiler does beside compiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    Plain,
    Fails,
    Panics,
    /// Takes the process with it.
    Aborts,
    /// Says so and never comes back.
    Hangs,
}

/// Cranelift without optimisation, and with it.
pub(crate) struct Tiered {
    cheap: Cranelift,
    pub(crate) better: Optimising,
}

pub(crate) struct Optimising {
    compiler: CraneliftCompiler,
    habit: Habit,
    compiled: Arc<AtomicU32>,
    /// What happens while it compiles.
    pub(crate) meanwhile: Option<Box<dyn Fn() + Send + Sync>>,
}

impl BetterCompiler<Unit> for Optimising {
    fn better_fingerprint(&self) -> Digest {
        self.compiler.fingerprint()
    }

    fn better_object(&self, unit: &Unit) -> Result<Compiled, Box<dyn Error + Send + Sync>> {
        self.compiled.fetch_add(1, Ordering::Relaxed);
        if let Some(meanwhile) = &self.meanwhile {
            meanwhile();
        }
        match self.habit {
            Habit::Plain => Ok(self.compiler.compile(unit)?),
            Habit::Fails => Err("it is beyond this compiler".into()),
            Habit::Panics => panic!("it is too much for this compiler"),
            Habit::Aborts => std::process::abort(),
            Habit::Hangs => {
                println!("at it: now");
                loop {
                    std::thread::park();
                }
            }
        }
    }
}

// SAFETY: both compilers are Cranelift, which vouches for itself, for the same target and features.
unsafe impl Backend for Tiered {
    type Unit = Unit;
    type Compiler = CraneliftCompiler;
    type Jit = CraneliftJit;
    type Loader = <Cranelift as Backend>::Loader;

    fn compiler(&self) -> &CraneliftCompiler {
        self.cheap.compiler()
    }

    fn jit(&self) -> &CraneliftJit {
        self.cheap.jit()
    }

    fn loader(&self) -> &Self::Loader {
        self.cheap.loader()
    }

    fn better(&self) -> Option<&dyn BetterCompiler<Unit>> {
        Some(&self.better)
    }

    fn target(&self) -> String {
        self.cheap.target()
    }

    fn required_features(&self) -> Vec<String> {
        self.cheap.required_features()
    }

    fn libcall(&self, name: &str) -> Option<u64> {
        self.cheap.libcall(name)
    }
}

/// A cache on two compilers, and how often the better one was asked.
pub(crate) fn describe(
    folder: &Path,
    improving: Improving,
    habit: Habit,
) -> (CacheBuilder<Tiered>, Arc<AtomicU32>) {
    let (backend, compiled) = backend(habit);
    let builder = Cache::builder(backend).folder(folder);
    (builder.improving(improving), compiled)
}

pub(crate) fn backend(habit: Habit) -> (Tiered, Arc<AtomicU32>) {
    let compiled = Arc::<AtomicU32>::default();
    let cheap = Options::default().opt_level(OptLevel::None);
    let backend = Tiered {
        cheap: Cranelift::with(&cheap).expect("Cranelift compiles for this machine"),
        better: Optimising {
            compiler: CraneliftCompiler::native().expect("as above"),
            habit,
            compiled: Arc::clone(&compiled),
            meanwhile: None,
        },
    };
    (backend, compiled)
}

pub(crate) fn open(folder: &Path, improving: Improving) -> Arc<Cache<Tiered>> {
    let (builder, _) = describe(folder, improving, Habit::Plain);
    Arc::new(builder.open().expect("it opens"))
}

/// The sum that is made better in tests of one.
pub(crate) const SUM: Definition<'static> = Definition {
    name: "a",
    text: "1+2",
    context: "sums",
};

/// Has the code of [`SUM`] made better.
pub(crate) fn improve_sum(session: &Session<Tiered>, sums: &Sums) {
    let will = session.improve(&SUM, sums, |recorder| {
        let mut compilation = sums.compile(SUM.text, recorder)?;
        compilation.defines.push(SUM.name.to_owned());
        Ok::<_, String>(compilation)
    });
    assert!(will, "there is a hit to be made better");
}
