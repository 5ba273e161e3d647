//! Tables in Markdown of what the benchmarks have found.

use super::Summary;
use serde_json::Value;
use std::fmt::Write;

/// So many definitions stand in the README.
const SHOWN: &str = "end-to-end-10000";

/// Rows of the README: benchmark, work, subject, and what they are.
const SHOWN_BESIDES: [(&str, &str, &str, &str); 9] = [
    (
        "first-light",
        "all, no-cache, per definition",
        "rekindle",
        "ember's programs, compiled and run at once",
    ),
    (
        "first-light",
        "all, cold, per definition",
        "rekindle",
        "ember's programs, compiled, run and kept",
    ),
    (
        "first-light",
        "all, warm, per definition",
        "rekindle",
        "ember's programs, taken from the cache",
    ),
    (
        "hooks",
        "direct",
        "rekindle",
        "one small definition, compiled and loaded without a cache",
    ),
    (
        "hooks",
        "cold",
        "rekindle",
        "the same, compiled, loaded and kept",
    ),
    (
        "hooks",
        "warm",
        "rekindle",
        "taken from the cache, in random order, of 10,000",
    ),
    (
        "hooks",
        "warm-100000",
        "rekindle",
        "taken from the cache, in random order, of 100,000",
    ),
    (
        "hooks",
        "second",
        "rekindle",
        "evaluated again in the same process, of 100",
    ),
    (
        "hooks",
        "second-10000",
        "rekindle",
        "evaluated again in the same process, of 10,000",
    ),
];

/// What the README shows: whole processes beside the peers, and where one definition stands.
pub(super) fn readme(summary: &Summary) -> String {
    let mut text = origin(summary);
    text.push_str("\n| bringing back 10,000 definitions, one by one | median | 99% | all | memory of each |\n");
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for row in rows(summary, "end-to-end", SHOWN) {
        whole_process(&mut text, row);
    }
    text.push_str("\n| per definition | median | 99% |\n| --- | --- | --- |\n");
    for (benchmark, work, subject, name) in SHOWN_BESIDES {
        for row in rows(summary, benchmark, work) {
            if row["subject"] == subject {
                let (median, most) = (time(&row["median_ns"]), time(&row["p99_ns"]));
                let _ = writeln!(text, "| {name} | {median} | {most} |");
            }
        }
    }
    text
}

/// What the page of benchmarks shows: every bar, all of the benchmark of whole processes, and then all rows.
pub(super) fn page(summary: &Summary) -> String {
    let mut text = origin(summary);
    bars(&mut text, summary);
    parts(&mut text, summary);
    let mut work = "";
    for row in measured(summary, "end-to-end") {
        let this = row["work"].as_str().unwrap_or_default();
        if this != work {
            work = this;
            let count = work.rsplit('-').next().unwrap_or_default();
            let _ = write!(
                text,
                "\n### {count} definitions in one process\n\n\
                 | subject | median | 99% | all | memory of each | quickest and slowest process | before the first |\n\
                 | --- | --- | --- | --- | --- | --- | --- |\n"
            );
        }
        let mut line = String::new();
        whole_process(&mut line, row);
        let spread = match (&row["spread_ns"][0], &row["spread_ns"][1]) {
            (Value::Null, _) | (_, Value::Null) => String::new(),
            (least, most) => format!("{} to {}", time(least), time(most)),
        };
        let line = line.trim_end();
        let _ = writeln!(text, "{line} {spread} | {} |", time(&row["setup_ns"]));
    }
    for benchmark in crate::bench::BENCHMARKS {
        if benchmark.name == "end-to-end" {
            continue;
        }
        rest(&mut text, summary, benchmark.name);
    }
    text
}

/// Every bar, whether it holds or not.
fn bars(text: &mut String, summary: &Summary) {
    let bars = summary.rows.iter().filter(|row| row["bar"].is_string());
    let bars: Vec<&Value> = bars.collect();
    let count = |holds| {
        let those = bars.iter().filter(|row| row["holds"].as_bool() == holds);
        those.count()
    };
    let (hold, missed, unknown) = (count(Some(true)), count(Some(false)), count(None));
    let verb = |count, one: &'static str, more: &'static str| if count == 1 { one } else { more };
    let _ = write!(
        text,
        "\n### Bars\n\nOf {} bars {hold} {}, {missed} {} **missed**, and {unknown} {} not measured.\n\n\
         | benchmark | bar | found | needed | holds |\n| --- | --- | --- | --- | --- |\n",
        bars.len(),
        verb(hold, "holds", "hold"),
        verb(missed, "is", "are"),
        verb(unknown, "was", "were"),
    );
    for row in bars {
        let part = |name: &str| row[name].as_str().unwrap_or_default();
        let (benchmark, bar, unit) = (part("benchmark"), part("bar"), part("unit"));
        let limit = row["limit"].as_f64().unwrap_or_default();
        let found = match row["figure"].as_f64() {
            // What is about as much as it may be is told to the part that matters.
            Some(figure) if (0.9..1.1).contains(&limit) => format!("{figure:.3} {unit}"),
            Some(figure) => format!("{figure:.2} {unit}"),
            None => "not measured".to_owned(),
        };
        let needs = part("needs").replace('-', " ");
        let holds = match row["holds"].as_bool() {
            Some(true) => " yes",
            Some(false) => " **missed**",
            None => "",
        };
        let _ = writeln!(
            text,
            "| {benchmark} | {bar} | {found} | {needs} {limit} {unit} |{holds} |"
        );
    }
}

/// When each benchmark ran, for how long, and with what outcome.
fn parts(text: &mut String, summary: &Summary) {
    if summary.parts.is_empty() {
        return;
    }
    text.push_str(
        "\n### Runs\n\n| benchmark | measured | commit | took | |\n| --- | --- | --- | --- | --- |\n",
    );
    let mut total = 0.0;
    for part in &summary.parts {
        let measured = match &part.measured {
            Some(run) => {
                total += run.seconds;
                let quick = if run.quick { ", quick" } else { "" };
                let (date, commit, seconds) = (&run.date, &run.commit, run.seconds);
                format!("{date} | `{commit}` | {seconds} s{quick} |")
            }
            None => "never | | |".to_owned(),
        };
        let failed = match &part.failed {
            Some(reason) => format!(" **{}**", reason.replace('|', "/")),
            None => String::new(),
        };
        let _ = writeln!(text, "| {} | {measured}{failed} |", part.benchmark);
    }
    let _ = writeln!(text, "| all | | | {total} s | |");
}

/// Every row of a benchmark.
fn rest(text: &mut String, summary: &Summary, benchmark: &str) {
    let mut is_first = true;
    for row in measured(summary, benchmark) {
        if is_first {
            let _ = write!(
                text,
                "\n### {benchmark}\n\n| work | subject | median | 95% | samples |\n| --- | --- | --- | --- | --- |\n"
            );
            is_first = false;
        }
        let part = |name: &str| row[name].as_str().unwrap_or_default();
        let mut work = part("work").to_owned();
        if let Some(records) = row["records"].as_u64() {
            let _ = write!(work, ", {records} records, {}", part("state"));
        }
        let subject = part("subject");
        match row["refused"].as_str() {
            Some(reason) => {
                let reason = reason.replace('|', "/");
                let _ = writeln!(text, "| {work} | `{subject}` | refused: {reason} | | |");
            }
            None => {
                let (median, most) = (time(&row["median_ns"]), time(&row["p95_ns"]));
                let _ = writeln!(
                    text,
                    "| {work} | `{subject}` | {median} | {most} | {} |",
                    row["n"]
                );
            }
        }
    }
}

fn origin(summary: &Summary) -> String {
    format!("Measured on {}; {}.\n", summary.machine, summary.date)
}

/// The rows of a benchmark that are no bars.
fn measured<'a>(summary: &'a Summary, benchmark: &str) -> impl Iterator<Item = &'a Value> {
    let rows = summary.rows.iter();
    let benchmark = benchmark.to_owned();
    rows.filter(move |row| row["benchmark"] == *benchmark && row["bar"].is_null())
}

fn rows<'a>(summary: &'a Summary, benchmark: &str, work: &str) -> impl Iterator<Item = &'a Value> {
    let work = work.to_owned();
    measured(summary, benchmark).filter(move |row| row["work"] == *work)
}

/// The line of a subject that has brought definitions back, or of why it has not.
fn whole_process(text: &mut String, row: &Value) {
    let subject = row["subject"].as_str().unwrap_or_default();
    let refused = row["refused"]
        .as_str()
        .map(|reason| reason.replace('|', "/"));
    if row["n"] == 0 {
        let reason = refused.unwrap_or_default();
        let _ = writeln!(text, "| `{subject}` | refused: {reason} | | | |");
        return;
    }
    let (median, most) = (time(&row["median_ns"]), time(&row["p99_ns"]));
    let all = match refused {
        Some(reason) => format!("refused {reason}"),
        None => time(&row["total_ns"]),
    };
    let memory = match row["bytes_per_entry"].as_f64() {
        Some(bytes) if bytes > 0.0 => format!("{:.1} KiB", bytes / 1024.0),
        _ => String::new(),
    };
    let _ = writeln!(
        text,
        "| `{subject}` | {median} | {most} | {all} | {memory} |"
    );
}

/// Nanoseconds in the unit that suits them.
fn time(nanos: &Value) -> String {
    let Some(nanos) = nanos.as_f64() else {
        return String::new();
    };
    match nanos {
        n if n < 995.0 => format!("{n:.0} ns"),
        n if n < 9_950.0 => format!("{:.1} us", n / 1e3),
        n if n < 9_950_000.0 => format!("{:.0} us", n / 1e3),
        n if n < 9.95e9 => format!("{:.0} ms", n / 1e6),
        n => format!("{:.1} s", n / 1e9),
    }
}
