//! Numba: functions with `cache=True` in modules of a hundred, imported and called.

use super::peer::Place;
use crate::language::{Source, calls};
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What its processes run.
pub(super) const SCRIPT: &str = include_str!("numba.py");

/// Functions of a module.
const PER_MODULE: usize = 100;

/// The interpreter that has Numba: one that `cargo xtask bench` has made, else the user's.
pub(super) fn interpreter(folder: &Path) -> PathBuf {
    let own = folder
        .parent()
        .map(|target| target.join("numba/bin/python"));
    own.filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("python3"))
}

/// Writes the modules and compiles them, until the time is up.
pub(super) fn prepare(place: &Place, budget: Duration) -> Result<usize> {
    let folder = place.folder("numba");
    std::fs::create_dir_all(&folder)?;
    for first in (0..place.count).step_by(PER_MODULE) {
        let path = folder.join(format!("part_{}.py", first / PER_MODULE));
        let text: String = (first..first + PER_MODULE).map(function).collect();
        let text = format!("from numba import njit\n{text}");
        // A file that is written anew is another one to Numba.
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            std::fs::write(&path, text)?;
        }
    }
    let mut command = Command::new(interpreter(&place.folder));
    command.args(["-c", SCRIPT, "prepare"]).arg(&folder);
    command.arg(place.count.to_string());
    let output = command.arg(budget.as_secs().to_string()).output();
    let output = output.context("there is no Python")?;
    let words = String::from_utf8_lossy(&output.stderr);
    let reason = words.lines().last().unwrap_or_default();
    ensure!(output.status.success(), "Python with Numba: {reason}");
    let number = String::from_utf8_lossy(&output.stdout);
    number.trim().parse().context("Python printed no number")
}

/// Definition `number` in Python, with the host's functions inlined.
fn function(number: usize) -> String {
    let mut text = format!(
        "\n@njit(cache=True)\ndef function_{number}(left, right):\n    total = left + {number}\n"
    );
    let words = Source::words(number);
    for call in calls(number) {
        let word = words[call.word].value;
        let expression = match call.runtime {
            0 => format!("(total ^ {word})"),
            1 => format!("(total + {word})"),
            2 => format!("(total * {word})"),
            // Of numbers without a sign.
            _ => format!("(1 if 0 <= total < {word} else 0)"),
        };
        let addend = call.addend;
        let _ = writeln!(text, "    total = ({expression} ^ right) + {addend}");
    }
    text.push_str("    return total\n");
    text
}
