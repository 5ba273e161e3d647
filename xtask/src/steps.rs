//! Steps: a heading, commands, and the time they took.

use crate::workspace;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use xshell::Shell;

/// Runs steps in the workspace's folder and remembers how long each took.
pub(crate) struct Steps {
    shell: Shell,
    done: Vec<Done>,
}

struct Done {
    name: &'static str,
    took: Duration,
    has_failed: bool,
}

impl Steps {
    /// No steps yet.
    pub(crate) fn new() -> Result<Self> {
        let shell = Shell::new().context("cannot read the current folder")?;
        shell.change_dir(workspace::root());
        Ok(Self {
            shell,
            done: Vec::new(),
        })
    }

    /// Runs `step` under the heading `name`. The shell prints each command before it runs it.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        step: impl FnOnce(&Shell) -> Result<()>,
    ) -> Result<()> {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let outcome = step(&self.shell);
        self.done.push(Done {
            name,
            took: start.elapsed(),
            has_failed: outcome.is_err(),
        });
        outcome.with_context(|| format!("the step `{name}` failed"))
    }

    /// Prints how long each step took, and where it went wrong, unless `all_passed`.
    pub(crate) fn report(&self, all_passed: bool) {
        let total: Duration = self.done.iter().map(|done| done.took).sum();
        let outcome = if all_passed { "passed" } else { "FAILED" };
        eprintln!("\n== {outcome} in {:.1} s", total.as_secs_f64());
        let width = self.done.iter().map(|done| done.name.len()).max();
        let width = width.unwrap_or(0);
        for done in &self.done {
            let mark = if done.has_failed { "  FAILED" } else { "" };
            let (name, took) = (done.name, done.took.as_secs_f64());
            eprintln!("   {name:width$}  {took:>7.1} s{mark}");
        }
    }
}
