//! The interactive loop: line editing and history from rustyline, forms that may span lines.

use ember::vm::{Completeness, Failure, Vm};
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use std::path::PathBuf;

/// Reads forms until the end of input, printing each value or error.
pub(crate) fn repl(vm: &Vm) -> Result<(), Failure> {
    let config = Config::builder().auto_add_history(false).build();
    let mut editor =
        DefaultEditor::with_config(config).map_err(|error| Failure::io("the terminal", error))?;
    let history = history_file();
    if let Some(history) = &history {
        // There is none the first time.
        let _ = editor.load_history(history);
    }
    let mut pending = String::new();
    loop {
        let prompt = if pending.is_empty() {
            format!("{}=> ", vm.current_namespace())
        } else {
            ".. ".to_owned()
        };
        match editor.readline(&prompt) {
            Ok(line) => {
                pending.push_str(&line);
                pending.push('\n');
                if vm.completeness(&pending) == Completeness::Unfinished {
                    continue;
                }
                let text = std::mem::take(&mut pending);
                if text.trim().is_empty() {
                    continue;
                }
                let _ = editor.add_history_entry(text.trim_end());
                evaluate(vm, &text);
            }
            Err(ReadlineError::Interrupted) => pending.clear(),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(Failure::io("the terminal", error)),
        }
    }
    if let Some(history) = &history
        && let Err(error) = editor.save_history(history)
    {
        eprintln!("the history is lost: {error}");
    }
    Ok(())
}

fn evaluate(vm: &Vm, text: &str) {
    let shown = vm
        .eval_text("repl", text)
        .and_then(|value| vm.print_value(&value));
    vm.flush_output();
    if let Err(failure) = shown {
        eprintln!("{failure}");
    }
    // What was typed should outlive a terminal that is closed in anger.
    vm.keep();
}

/// `.ember_history` in the home folder.
fn history_file() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".ember_history"))
}
