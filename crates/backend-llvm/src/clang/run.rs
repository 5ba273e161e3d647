//! One run of clang: its environment, its time limit, and its end.

use crate::clang::error::Error;
use crate::clang::temporary::TemporaryFolder;
use rekindle_cache_core::DigestBuilder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How clang is run.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) program: PathBuf,
    pub(crate) directory: PathBuf,
    /// `PATH` when the compiler was made.
    pub(crate) search_path: OsString,
    /// Variables that the caller passes on, with their values.
    pub(crate) variables: Vec<(String, Option<OsString>)>,
    pub(crate) time_limit: Duration,
}

/// A run that came to its end by itself.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// What it wrote to its standard error.
    pub(crate) said: String,
}

impl Runner {
    /// Adds the variables that clang sees, and their values, to a digest.
    pub(crate) fn digest_variables(&self, builder: &mut DigestBuilder) {
        builder.list(self.variables.len());
        for (name, value) in &self.variables {
            builder.text(name);
            match value {
                Some(value) => builder.list(1).bytes(value.as_encoded_bytes()),
                None => builder.list(0),
            };
        }
    }

    /// Runs clang with `arguments` and `text` as its standard input. Files for and from it are in `folder`.
    pub(crate) fn run(
        &self,
        arguments: &[OsString],
        text: &str,
        folder: &TemporaryFolder,
    ) -> Result<Finished, Error> {
        // Files and not pipes: nobody has to read and write at once, and a process that clang started and
        // left behind cannot keep this one waiting.
        let (source, said) = (folder.file("source"), folder.file("messages"));
        std::fs::write(&source, text).map_err(|error| Error::file(&source, "written", &error))?;
        let source = File::open(&source).map_err(|error| Error::file(&source, "read", &error))?;
        let messages =
            File::create(&said).map_err(|error| Error::file(&said, "written", &error))?;
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("LC_ALL", "C")
            .env("LANG", "C")
            .env("SOURCE_DATE_EPOCH", "0")
            .env("TMPDIR", folder.path())
            .stdin(source)
            .stdout(Stdio::null())
            .stderr(messages)
            .process_group(0);
        if !self.search_path.is_empty() {
            command.env("PATH", &self.search_path);
        }
        for (name, value) in &self.variables {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let mut child = command.spawn().map_err(|error| Error::Start {
            path: self.program.clone(),
            reason: error.to_string(),
        })?;
        let in_time = wait(&mut child, self.time_limit);
        // Before the child is reaped, so that its number cannot be another's: what it left behind goes.
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let status = child.wait().map_err(|error| Error::Start {
            path: self.program.clone(),
            reason: error.to_string(),
        })?;
        let said = read_text(&said)?;
        match in_time {
            true => Ok(Finished { status, said }),
            false => Err(Error::TimedOut {
                limit: self.time_limit,
                output: said,
            }),
        }
    }
}

/// Waits for the end of `child`, without reaping it; `false` if it does not come within `limit`.
fn wait(child: &mut Child, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(end) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return wait_by_asking(child, deadline);
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut ends = [PollFd::new(&end, PollFlags::IN)];
        match poll(&mut ends, Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return wait_by_asking(child, deadline),
        }
    }
}

/// The same where the kernel has no descriptors of processes. This reaps the child.
fn wait_by_asking(child: &mut Child, deadline: Instant) -> bool {
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Ok(Some(_)) | Err(_) => return true,
        }
    }
    false
}

/// The content of a file that clang wrote, as text.
pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::file(path, "read", &error)),
    }
}
