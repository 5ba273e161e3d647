//! What the benchmarks have found: one summary of all, and the tables of the README and of `docs/benchmarks.md`
//! that are made of it.

mod tables;

use crate::bench::{BENCHMARKS, Part, rows_file};
use crate::regress;
use crate::steps::Steps;
use crate::workspace::{root, target_folder};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Where the summary is kept that the pages' tables are made of.
const KEPT: &str = "docs/benchmarks";

/// What makes the tables of a page.
type Tables = fn(&Summary) -> String;

/// The pages in which tables stand between marks.
const PAGES: [(&str, Tables); 2] = [
    ("README.md", tables::readme),
    ("docs/benchmarks.md", tables::page),
];

const BEGIN: &str = "<!-- figures: made by `cargo xtask figures` -->";
const END: &str = "<!-- end of figures -->";

/// A summary of the benchmarks, read again.
struct Summary {
    machine: String,
    date: String,
    parts: Vec<Part>,
    rows: Vec<Value>,
}

impl Summary {
    fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let value: Value = serde_json::from_slice(&text)?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            machine: text("machine"),
            date: text("date"),
            parts: serde_json::from_value(value["parts"].clone()).unwrap_or_default(),
            rows: value["rows"].as_array().cloned().unwrap_or_default(),
        })
    }
}

/// The folder of what was measured.
fn folder(shell: &Shell) -> Result<PathBuf> {
    Ok(target_folder(shell)?.join("bench"))
}

/// Makes the summary of what each benchmark has found when it last ran, as JSON, as a table, and as charts.
pub(crate) fn gather(shell: &Shell) -> Result<()> {
    let (mut rows, mut parts) = (Vec::new(), Vec::new());
    let names = BENCHMARKS.iter().map(|benchmark| benchmark.name);
    for name in names.chain([regress::NAME]) {
        parts.push(Part::of(shell, name)?);
        let Ok(text) = std::fs::read(rows_file(shell, name)?) else {
            eprintln!("   not measured: {name}");
            continue;
        };
        let found: Vec<Value> = serde_json::from_slice(&text)?;
        for mut row in found {
            if let Some(fields) = row.as_object_mut() {
                fields.insert("benchmark".to_owned(), name.into());
            }
            rows.push(row);
        }
    }
    let names = |holds: Option<bool>| -> Vec<String> {
        let bars = rows.iter().filter(|row| row["bar"].is_string());
        let those = bars.filter(|row| row["holds"].as_bool() == holds);
        let name = |row: &Value| {
            let part = |name: &str| row[name].as_str().unwrap_or_default();
            format!("{}: {}", part("benchmark"), part("bar"))
        };
        those.map(name).collect()
    };
    let summary = json!({
        "machine": machine(),
        "date": cmd!(shell, "date --utc +%F").quiet().read()?,
        "commit": cmd!(shell, "git rev-parse --short HEAD").quiet().ignore_stderr().read().unwrap_or_default(),
        "parts": parts,
        "bars": {
            "hold": names(Some(true)),
            "missed": names(Some(false)),
            "not_measured": names(None),
        },
        "rows": rows,
    });
    let folder = folder(shell)?;
    let file = folder.join("summary.json");
    shell.write_file(&file, serde_json::to_string_pretty(&summary)? + "\n")?;
    let table = tables::page(&Summary::read(&file)?);
    shell.write_file(folder.join("summary.md"), table)?;
    let program = target_folder(shell)?.join("release/rekindle-benches");
    let charts = folder.join("charts");
    eprintln!("   {}, summary.md and charts beside it", file.display());
    Ok(cmd!(shell, "{program} charts {file} {charts}").run()?)
}

/// The machine in a line: its processor, memory, system and kernel.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.map(|line| line.trim_matches([' ', '\t', ':', '=', '"']));
        value.unwrap_or("unknown").to_owned()
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory = memory.split(' ').next().and_then(|kb| kb.parse().ok());
    let memory: u64 = memory.unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, {processors} cores, {} GiB, {}, Linux {}",
        field(&read("/proc/cpuinfo"), "model name"),
        memory.div_ceil(1 << 20),
        field(&read("/etc/os-release"), "PRETTY_NAME"),
        kernel.split(['-', '\n']).next().unwrap_or_default(),
    )
}

/// Keeps the last summary with its charts.
pub(crate) fn keep(steps: &mut Steps) -> Result<()> {
    let kept = root().join(KEPT);
    steps.step("summary", gather)?;
    steps.step("keep the last summary", |shell| {
        let folder = folder(shell)?;
        shell.create_dir(&kept)?;
        shell.copy_file(folder.join("summary.json"), kept.join("summary.json"))?;
        for chart in shell.read_dir(folder.join("charts"))? {
            let name = chart.file_name().context("a chart has a name")?;
            shell.copy_file(&chart, kept.join(name))?;
        }
        Ok(())
    })
}

/// Makes the pages' tables of the summary that is kept; with `is_check`, only sees whether they are.
pub(crate) fn tables(steps: &mut Steps, is_check: bool) -> Result<()> {
    steps.step("figures", |shell| {
        let summary = Summary::read(&root().join(KEPT).join("summary.json"))?;
        for (page, table) in PAGES {
            let path = root().join(page);
            let text = shell.read_file(&path)?;
            let made = replaced(&text, &table(&summary))
                .with_context(|| format!("{page} has no place for figures"))?;
            if made == text {
                continue;
            }
            if is_check {
                bail!("the figures of {page} are others: `cargo xtask figures`");
            }
            shell.write_file(&path, made)?;
        }
        Ok(())
    })
}

/// `text` with what stands between the marks replaced.
fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!(
        "{before}{BEGIN}\n\n{}\n\n{END}{after}",
        table.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_replaced_between_their_marks_only() {
        let page = format!("before {BEGIN} old {END} after");
        let made = replaced(&page, "new\n");
        let expected = format!("before {BEGIN}\n\nnew\n\n{END} after");
        assert_eq!(made.as_deref(), Some(&*expected));
        assert_eq!(replaced("no marks", "new"), None);
        assert_eq!(replaced(&expected, "new"), Some(expected.clone()));
    }

    #[test]
    fn tables_have_a_line_for_each_bar_and_subject() -> Result<()> {
        let summary = Summary {
            machine: "a machine".to_owned(),
            date: "today".to_owned(),
            parts: vec![
                serde_json::from_value(json!({"benchmark": "hooks", "failed": "run: it | ended",
                    "measured": {"date": "then", "commit": "abc", "seconds": 61.0, "quick": true}}))?,
                serde_json::from_value(json!({"benchmark": "cpp"}))?,
            ],
            rows: vec![
                json!({"benchmark": "hooks", "bar": "warm, 99%", "figure": 9.0, "unit": "us",
                    "needs": "at-most", "limit": 6.0, "holds": false}),
                json!({"benchmark": "hooks", "bar": "other", "figure": null, "unit": "x",
                    "needs": "at-least", "limit": 1.7, "holds": null}),
                json!({"benchmark": "hooks", "bar": "warm, median", "figure": 2.5, "unit": "us",
                    "needs": "at-most", "limit": 3.0, "holds": true}),
                json!({"benchmark": "end-to-end", "work": "end-to-end-10000", "subject": "rekindle",
                    "median_ns": 3_000, "p95_ns": 4_000, "p99_ns": 9_000, "n": 10_000,
                    "total_ns": 40_000_000, "setup_ns": 900_000, "bytes_per_entry": 4_096}),
                json!({"benchmark": "end-to-end", "work": "end-to-end-10000", "subject": "numba",
                    "median_ns": 0, "p95_ns": 0, "p99_ns": 0, "n": 0, "total_ns": 0,
                    "refused": "no Python"}),
            ],
        };
        let readme = tables::readme(&summary);
        assert!(
            readme.contains("| `rekindle` | 3.0 us | 9.0 us | 40 ms |"),
            "{readme}"
        );
        assert!(readme.contains("no Python"), "{readme}");
        assert!(readme.contains("a machine"), "{readme}");
        let page = tables::page(&summary);
        assert!(
            page.contains("| hooks | warm, median | 2.50 us | at most 3 us | yes |"),
            "{page}"
        );
        for line in [
            "Of 3 bars 1 holds, 1 is **missed**, and 1 was not measured.",
            "| hooks | warm, 99% | 9.00 us | at most 6 us | **missed** |",
            "| hooks | other | not measured | at least 1.7 x | |",
            "| hooks | then | `abc` | 61 s, quick | **run: it / ended** |",
            "| cpp | never | | | |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        Ok(())
    }
}
