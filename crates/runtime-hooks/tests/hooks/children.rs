//! This test binary, run again as another process.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Nobody waits for a process for longer than this.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A process that runs one of the tests that are ignored, and is killed if nobody waits for it.
pub(crate) struct Process {
    child: Child,
    output: tempfile::NamedTempFile,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
}

impl Process {
    /// Runs the test `name` on the cache in `folder`, with these variables.
    pub(crate) fn start(name: &str, folder: &Path, variables: &[(&str, &str)]) -> Self {
        let output = tempfile::NamedTempFile::new().expect("a file");
        // One open file, so that one thing said does not overwrite another.
        let file = || Stdio::from(output.as_file().try_clone().expect("it is open"));
        let this = std::env::current_exe().expect("a test has a file");
        let mut command = Command::new(this);
        command.args(["--ignored", "--exact", name, "--nocapture"]);
        command.env("REKINDLE_TEST_FOLDER", folder);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(file()).stderr(file());
        let child = command.spawn().expect("it starts");
        Self { child, output }
    }

    /// Its number.
    pub(crate) fn id(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.output.path()).expect("it is text")
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let mut status = None;
        until(|| {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        Ended {
            status: status.expect("it has ended"),
            output: self.said(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    /// The rest of each line after `word: `.
    pub(crate) fn told(&self, word: &str) -> Vec<String> {
        let lines = self.output.lines();
        let told = lines.filter_map(|line| line.split_once(&format!("{word}: ")));
        told.map(|(_, rest)| rest.to_owned()).collect()
    }

    /// Fails the test unless it ended well.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert!(self.status.success(), "{}: {}", self.status, self.output);
        self
    }
}

/// Looks until it is so; fails the test when that takes too long.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "it takes too long");
        std::thread::sleep(Duration::from_millis(1));
    }
}
