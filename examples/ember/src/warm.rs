//! `ember warm`: compiles programs without running them, with a bar that shows how far it is.

use crate::fail;
use ember::vm::{BackendOptions, Failure, Rehearsal, Step, WarmOptions};
use indicatif::{ProgressBar, ProgressStyle};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// How many forms that could not be compiled are shown.
const SHOWN: usize = 10;

pub(crate) fn warm(
    files: &[PathBuf],
    threads: Option<NonZeroUsize>,
    explain: bool,
    backend: BackendOptions,
) -> ExitCode {
    let began = Instant::now();
    let options = WarmOptions {
        threads,
        explain,
        backend,
        ..WarmOptions::default()
    };
    let bar = bar();
    let shown = bar.clone();
    let rehearsal = Rehearsal::new(&options, move |step| match step {
        Step::Found(forms) => shown.inc_length(forms as u64),
        Step::Done => shown.inc(1),
    });
    let mut rehearsal = match rehearsal {
        Ok(rehearsal) => rehearsal,
        Err(failure) => return fail(&failure),
    };
    let mut code = ExitCode::SUCCESS;
    for file in files {
        if let Err(failure) = rehearsal.warm_file(file) {
            bar.suspend(|| code = fail(&failure));
        }
    }
    let statistics = rehearsal.finish();
    bar.finish_and_clear();
    let failures = rehearsal.failures();
    for failure in failures.iter().take(SHOWN) {
        eprintln!("left to the run: {}", message(failure));
    }
    println!(
        "{} definitions: {} compiled, {} there already, {} not to be kept, {} left to the run, in {:.0} ms",
        statistics.definitions + failures.len() as u64,
        statistics.compiled(),
        statistics.hits,
        statistics.bypasses,
        failures.len(),
        began.elapsed().as_secs_f64() * 1e3,
    );
    code
}

fn message(failure: &Failure) -> String {
    let text = failure.to_string();
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// A bar on standard error, hidden where that is no terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0).with_message("warming");
    let template = "{msg} [{bar:30}] {human_pos} of {human_len}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
