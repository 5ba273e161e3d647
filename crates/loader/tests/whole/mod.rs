//! Whole programs, run twice: linked by the system's linker, and through this loader by the example
//! `run_object`.

// Each test program uses a part of this.
#![allow(dead_code)]

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What anything here returns.
pub(crate) type Answer<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What a program left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) stdout: String,
    /// The exit status, or how it died.
    pub(crate) status: String,
    pub(crate) stderr: String,
}

/// Whether the long variants are asked for.
pub(crate) fn soak() -> bool {
    std::env::var_os("REKINDLE_SOAK").is_some_and(|value| value != "0")
}

/// Whether `program` is on the search path.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The first of `programs` that is installed.
pub(crate) fn first_installed(programs: &[&'static str]) -> Option<&'static str> {
    programs
        .iter()
        .copied()
        .find(|program| is_installed(program))
}

/// Says, past the capturing of test output, that `what` is skipped and why.
pub(crate) fn skip(what: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}: {reason}");
}

/// Runs `command` to its end and wants it to succeed.
pub(crate) fn succeed(command: &mut Command) -> Answer<()> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// How long a program may take before it is taken to hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `command` to its end, whatever that is.
pub(crate) fn end_of(command: &mut Command, input: &str) -> Answer<Ended> {
    // Files, not pipes: a program that writes much does not wait for a reader.
    let folder = tempfile::tempdir()?;
    let [stdin, stdout, stderr] =
        ["stdin", "stdout", "stderr"].map(|name| folder.path().join(name));
    std::fs::write(&stdin, input)?;
    let mut child = command
        .stdin(std::fs::File::open(stdin)?)
        .stdout(std::fs::File::create(&stdout)?)
        .stderr(std::fs::File::create(&stderr)?)
        .spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(format!("{command:?} hangs").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let read = |path: &Path| -> std::io::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
    };
    Ok(Ended {
        stdout: read(&stdout)?,
        status: status.to_string(),
        stderr: read(&stderr)?,
    })
}

/// The example `run_object`, up to date.
pub(crate) fn runner() -> Answer<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        example("rekindle-loader", "run_object", &[]).map_err(|error| error.to_string())
    });
    Ok(built.clone()?)
}

/// An example of a package, up to date.
///
/// `cargo xtask` builds it beforehand and names the folder; for a bare `cargo test` it is built here,
/// as running one test program does not build the examples.
pub(crate) fn example(package: &str, name: &str, features: &[&str]) -> Answer<PathBuf> {
    if let Some(folder) = std::env::var_os("REKINDLE_BIN_DIR") {
        let runner = Path::new(&folder).join("examples").join(name);
        if runner.is_file() {
            return Ok(runner);
        }
    }
    // target/PROFILE/deps/this-program
    let profile = std::env::current_exe()?;
    let profile = profile.parent().and_then(Path::parent);
    let profile = profile.ok_or("this program lies in no target folder")?;
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--package", package, "--example", name]);
    for features in features {
        command.args(["--features", features]);
    }
    if profile.ends_with("release") {
        command.arg("--release");
    }
    succeed(command.current_dir(env!("CARGO_MANIFEST_DIR")))?;
    Ok(profile.join("examples").join(name))
}

/// Runs `files` through the loader.
pub(crate) fn run_loaded(
    libraries: &[&str],
    files: &[&Path],
    arguments: &[&str],
    input: &str,
) -> Answer<Ended> {
    run_loaded_with(&[], libraries, files, arguments, input)
}

/// The same with more `options` for the runner.
pub(crate) fn run_loaded_with(
    options: &[&str],
    libraries: &[&str],
    files: &[&Path],
    arguments: &[&str],
    input: &str,
) -> Answer<Ended> {
    let mut command = Command::new(runner()?);
    command.args(options);
    for library in libraries {
        command.args(["-l", library]);
    }
    command.args(files).arg("--").args(arguments);
    end_of(&mut command, input)
}

/// Links `files` by `compiler` and runs the program.
pub(crate) fn run_native(
    compiler: &str,
    files: &[&Path],
    link_flags: &[&str],
    arguments: &[&str],
    input: &str,
) -> Answer<Ended> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("program");
    succeed(
        Command::new(compiler)
            .args(files)
            .args(link_flags)
            .arg("-o")
            .arg(&program),
    )?;
    end_of(
        Command::new(&program).args(arguments).stdin(Stdio::null()),
        input,
    )
}
