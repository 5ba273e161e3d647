//! Real processes for the cross-crate tests: the built `ember` on a cache folder of its own.

pub mod program;

use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The folder of ember's programs.
pub fn programs() -> PathBuf {
    repository().join("examples/ember/programs")
}

/// The backends that the `ember` under test was built with, as `REKINDLE_BACKENDS` lists them.
pub fn backends() -> Vec<String> {
    let listed = std::env::var("REKINDLE_BACKENDS").unwrap_or_else(|_| "cranelift".to_owned());
    listed.split(',').map(str::to_owned).collect()
}

/// Whether a program runs on `backend`: a file `NAME.backends` beside it lists those that it needs, one a
/// line; without one it runs on any.
pub fn runs_on(program: &Path, backend: &str) -> bool {
    match std::fs::read_to_string(program.with_extension("backends")) {
        Ok(listed) => listed.lines().any(|line| line == backend),
        Err(_) => true,
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the repository")
        .to_owned()
}

/// The `ember` binary: in `REKINDLE_BIN_DIR` if whoever runs the tests has built it there, or else that
/// of the profile under test, brought up to date first: cargo builds the libraries that tests depend
/// on, but no other package's binaries.
pub fn ember_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(folder) = std::env::var_os("REKINDLE_BIN_DIR") {
            return PathBuf::from(folder).join("ember");
        }
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(repository());
        build.args(["build", "--quiet", "--bin", "ember", "--bin", "rekindle"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let built = build.status().expect("cargo runs");
        assert!(built.success(), "ember does not build");
        // target/PROFILE/deps/THIS_TEST
        let this = std::env::current_exe().expect("a test has a file");
        let profile = this.ancestors().nth(2).expect("tests lie two folders deep");
        profile.join("ember")
    })
}

/// Ends a process that loops, so that a test which waits for it fails instead of hanging.
fn limit_time(command: &mut Command) {
    const SECONDS: u64 = 300;
    let limit = Rlimit {
        current: Some(SECONDS),
        maximum: Some(SECONDS),
    };
    // SAFETY: between fork and exec only a system call is made, which allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::Cpu, limit)?));
    }
}

/// A folder for one test: a cache, programs and what they write. It goes away with the test.
pub struct Workplace {
    folder: tempfile::TempDir,
}

impl Workplace {
    /// An empty workplace.
    #[expect(
        clippy::new_without_default,
        reason = "making a folder is no default value"
    )]
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// A path in the workplace.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The cache folder that runs use.
    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it is in the workplace"))
            .expect("folders can be made");
        std::fs::write(&path, text).expect("files can be written");
        path
    }

    /// `ember ARGS` on this workplace's cache, ready to be changed and run.
    pub fn ember<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(ember_binary());
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("REKINDLE_DIR", self.cache())
            .env_remove("REKINDLE_LOG")
            .stdin(Stdio::null());
        limit_time(&mut command);
        command
    }

    /// `rekindle ARGS` on this workplace's cache: what it prints.
    pub fn rekindle(&self, args: &[&str]) -> String {
        let mut command = Command::new(ember_binary().with_file_name("rekindle"));
        command.args(args).env("REKINDLE_DIR", self.cache());
        let output = command.output().expect("rekindle starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a program with statistics.
    pub fn run(&self, program: &Path) -> Run {
        self.run_with(program, &[])
    }

    /// Runs a program with statistics and further options.
    pub fn run_with(&self, program: &Path, options: &[&str]) -> Run {
        self.run_in("cache", program, |command| {
            command.args(options);
        })
    }

    /// Runs a program with statistics on the cache of this name, after `change` has seen the command.
    pub fn run_in(&self, cache: &str, program: &Path, change: impl FnOnce(&mut Command)) -> Run {
        let statistics = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut command = self.ember([OsStr::new("run"), program.as_os_str()]);
        command.env("REKINDLE_DIR", self.path(cache));
        change(&mut command);
        command.arg("--stats-json").arg(statistics.path());
        let output = command.output().expect("ember starts");
        Run::new(&output, statistics.path())
    }

    /// The files of the cache that end in `.EXTENSION`, sorted.
    pub fn cache_files(&self, extension: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.cache()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("the cache is there") {
                let path = entry.expect("it can be read").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension() == Some(OsStr::new(extension)) {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

/// What a process printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code, if it ended by itself.
    pub code: Option<i32>,
    /// What `--stats-json` wrote.
    pub statistics: Counts,
}

/// The numbers of `--stats-json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub definitions: u64,
    /// From the cache.
    pub hits: u64,
    /// Those of them that were found by their analysed form.
    pub second_hits: u64,
    /// Those of them whose code was the better one.
    pub better_hits: u64,
    /// Not there.
    pub misses: u64,
    /// Not to be kept.
    pub bypasses: u64,
    /// There, and refused.
    pub rejected: u64,
    /// Misses and rejected.
    pub compiled: u64,
    /// Nanoseconds of evaluation.
    pub eval_ns: u64,
}

impl Run {
    fn new(output: &Output, statistics: &Path) -> Self {
        let json = std::fs::read_to_string(statistics).unwrap_or_default();
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
            statistics: Counts::parse(&json).unwrap_or_default(),
        }
    }

    /// Fails the test unless the program ended well.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless every definition came from the cache.
    #[track_caller]
    pub fn all_hits(self) -> Self {
        let counts = self.statistics;
        assert!(counts.definitions > 0, "no statistics: {self:?}");
        assert_eq!(
            counts.hits, counts.definitions,
            "{counts:?}\n{}",
            self.stderr
        );
        assert_eq!((counts.misses, counts.compiled), (0, 0));
        self
    }

    /// How many definitions were found by their analysed form, of a run with `--stats`.
    pub fn second_hits(&self) -> u64 {
        let line = self.stderr.lines().last().unwrap_or_default();
        assert!(line.contains(" definitions: "), "no statistics: {self:?}");
        let Some((before, _)) = line.split_once(" of the hits by their analysed form") else {
            return 0;
        };
        let number = before.rsplit(' ').next().expect("split gives one at least");
        number.parse().expect("it is a number")
    }
}

impl Counts {
    /// The numbers in `json`, if it has the keys that it should.
    pub fn parse(json: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        let object = value.as_object()?;
        let number = |name: &str| object.get(name)?.as_u64();
        Some(Self {
            definitions: number("definitions")?,
            hits: number("hits")?,
            second_hits: number("second_hits")?,
            better_hits: number("better_hits")?,
            misses: number("misses")?,
            bypasses: number("bypasses")?,
            rejected: number("rejected")?,
            compiled: number("compiled")?,
            eval_ns: number("eval_ns")?,
        })
    }
}
