//! `ember`: runs programs and expressions of the ember language through the Rekindle code cache.

use clap::{Args, Parser, Subcommand};
use ember::report::Report;
use ember::vm::{BackendOptions, Better, CachePlace, Choice, Failure, Vm, VmOptions};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

mod repl;
mod warm;

/// A small Clojure-like language whose compiled definitions outlive the process.
#[derive(Parser)]
#[command(name = "ember", version)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Runs a program.
    Run {
        /// The program's file; what it requires is looked for beside it.
        file: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// Evaluates expressions and prints the value of the last.
    Eval {
        /// One or more expressions.
        text: String,
        #[command(flatten)]
        options: Options,
    },
    /// Compiles what is missing of programs and keeps it, on all cores. The programs do not run: of their
    /// code only macros and what those call are evaluated, nothing is printed and no file written.
    Warm {
        /// The programs' files; what they require is warmed with them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// How many threads compile; otherwise one for each core.
        #[arg(long, value_name = "NUMBER")]
        threads: Option<NonZeroUsize>,
        /// Says on stderr why each definition that was not found was compiled.
        #[arg(long)]
        explain: bool,
        #[command(flatten)]
        compiling: Compiling,
    },
    /// Reads expressions from a terminal and prints their values.
    Repl {
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Args)]
struct Options {
    /// Prints one line of statistics on stderr at the end.
    #[arg(long)]
    stats: bool,
    /// Writes the statistics as JSON to PATH.
    #[arg(long, value_name = "PATH")]
    stats_json: Option<PathBuf>,
    /// Keeps nothing and uses nothing that was kept.
    #[arg(long)]
    no_cache: bool,
    /// Says on stderr why each definition that was not found was compiled.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    compiling: Compiling,
}

#[derive(Args)]
struct Compiling {
    /// What compiles: `cranelift`, or `llvm` or `clang` where this ember was built with them.
    #[arg(long, value_name = "NAME", default_value = "cranelift", value_parser = backend)]
    backend: Choice,
    /// Gives clang a flag, such as `-I/usr/include/example`. May be repeated.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    cpp_flag: Vec<String>,
    /// A file of C++ that all code of clang's begins with, compiled once.
    #[arg(long, value_name = "PATH")]
    cpp_prelude: Option<PathBuf>,
    /// What compiles again, in idle time, what took long to compile or is often used: the next process has its
    /// code.
    #[arg(long, value_name = "NAME", value_parser = backend)]
    better: Option<Choice>,
    /// What took so many milliseconds to compile is compiled again at once.
    #[arg(
        long,
        value_name = "MILLISECONDS",
        default_value_t = 2,
        requires = "better"
    )]
    better_from: u64,
    /// Goes on with that for so many seconds when the program has ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "better")]
    better_at_end: u64,
}

fn backend(name: &str) -> Result<Choice, String> {
    let found = Choice::ALL
        .into_iter()
        .find(|choice| choice.to_string() == name);
    found.ok_or_else(|| "it is `cranelift`, `llvm` or `clang`".to_owned())
}

impl Compiling {
    fn options(&self) -> Result<BackendOptions, Failure> {
        let cpp_prelude = match &self.cpp_prelude {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| Failure::io(&path.to_string_lossy(), error))?,
        };
        Ok(BackendOptions {
            choice: self.backend,
            cpp_flags: self.cpp_flag.clone(),
            cpp_prelude,
            better: self.better.map(|choice| Better {
                choice,
                costly: Duration::from_millis(self.better_from),
                at_close: Duration::from_secs(self.better_at_end),
            }),
        })
    }
}

/// The native stack that a program may use. Only what is touched takes memory.
const STACK_BYTES: usize = 128 << 20;

/// Has all threads allocate from one heap that grows by large steps. The evaluating thread is not the main
/// one, and glibc lets the heap of such a thread grow by a page and a system call at a time.
fn grow_heap_in_large_steps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets parameters of the allocator, before there are other threads.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, 1 << 20);
    }
}

fn main() -> ExitCode {
    let command = Command::parse();
    // Threads that compile beside each other would wait for each other's memory.
    if !matches!(command.action, Action::Warm { .. }) {
        grow_heap_in_large_steps();
    }
    warn_on_stderr();
    let evaluating = std::thread::Builder::new()
        .name("ember".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || match command.action {
            Action::Warm {
                files,
                threads,
                explain,
                compiling,
            } => match compiling.options() {
                Ok(backend) => warm::warm(&files, threads, explain, backend),
                Err(failure) => fail(&failure),
            },
            Action::Run { options, file } => perform(Task::Run(file), options),
            Action::Eval { options, text } => perform(Task::Eval(text), options),
            Action::Repl { options } => perform(Task::Repl, options),
        });
    match evaluating.map(std::thread::JoinHandle::join) {
        Ok(Ok(code)) => code,
        // The thread's own message has been printed.
        Ok(Err(_panic)) => ExitCode::from(101),
        Err(error) => {
            eprintln!("error: no thread to evaluate on: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Shows the libraries' warnings, or what `REKINDLE_LOG` asks for.
fn warn_on_stderr() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("REKINDLE_LOG")
        .with_default_directive(tracing_subscriber::filter::LevelFilter::WARN.into())
        .from_env_lossy();
    // These come only if somebody asked for them.
    let filter = match "rekindle::explain=info".parse() {
        Ok(explanations) => filter.add_directive(explanations),
        Err(_) => filter,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .init();
}

/// What a Vm is made for.
enum Task {
    Run(PathBuf),
    Eval(String),
    Repl,
}

fn perform(task: Task, options: Options) -> ExitCode {
    let main_file = match &task {
        Task::Run(file) => Some(file.clone()),
        Task::Eval(_) | Task::Repl => None,
    };
    let backend = match options.compiling.options() {
        Ok(backend) => backend,
        Err(failure) => return fail(&failure),
    };
    let vm = Vm::new(&VmOptions {
        backend,
        cache: if options.no_cache {
            CachePlace::Off
        } else {
            CachePlace::Default
        },
        main_file,
        explain: options.explain,
    });
    let vm = match vm {
        Ok(vm) => vm,
        Err(failure) => return fail(&failure),
    };
    let result = match task {
        Task::Run(file) => vm.run_file(&file).map(drop),
        Task::Eval(text) => vm
            .eval_text("expression", &text)
            .and_then(|value| vm.print_value(&value)),
        Task::Repl => repl::repl(&vm),
    };
    vm.flush_output();
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    };
    if options.stats || options.stats_json.is_some() {
        vm.finish_verifying();
    }
    let report = Report::new(&vm.statistics());
    // Closes the cache, which makes what was compiled last.
    drop(vm);
    if options.stats {
        eprintln!("{report}");
    }
    match options
        .stats_json
        .map(|path| (report.write_json(&path), path))
    {
        Some((Err(error), path)) => {
            eprintln!("error: cannot write {}: {error}", path.display());
            ExitCode::FAILURE
        }
        _ => code,
    }
}

fn fail(failure: &Failure) -> ExitCode {
    eprintln!("{failure}");
    ExitCode::FAILURE
}
