//! The sections of the page, each from what was gathered to its markup.

use super::charts::{self, bar, share, stacked};
use super::course::course;
use super::gather::Gathered;
use super::words::{date, name, reason};
use crate::units::{ago, bytes, count, counted, duration};
use maud::{Markup, html};
use rekindle_cache_core::history::Sample;
use rekindle_cache_core::store::Verdict;
use std::cmp::Reverse;

/// Samples in the table beside the curve.
const TABLED: usize = 10;

/// Text in which what stands between backquotes is code.
fn with_code(text: &str) -> Markup {
    html! {
        @for (place, piece) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (piece) } } @else { (piece) }
        }
    }
}

/// How much time evaluating took, and how much more it would have taken.
pub(super) fn with_and_without(spent: u64, saved: u64) -> Markup {
    let whole = spent.saturating_add(saved);
    let label = format!("{} spent, {} saved", duration(spent), duration(saved));
    html! {
        div.versus {
            (stacked(&[("miss", spent, "spent".to_owned()), ("hit", saved, "saved".to_owned())], &label))
            p { span { span.key.miss {} (duration(spent)) " spent evaluating" } span { span.key.hit {} (duration(saved)) " saved, " (share(saved, whole)) } }
        }
    }
}

/// How full the cache is.
pub(super) fn fullness(gathered: &Gathered) -> Markup {
    let total = gathered.usage.total();
    html! {
        div {
            dt { "on disk" }
            dd { (bytes(total)) }
            @match gathered.limit {
                Some(limit) => { dd.more { (share(total, limit)) " of " (bytes(limit)) (bar("hit", total, limit)) } }
                None => { dd.more { "without a limit" } }
            }
        }
    }
}

/// What came of definitions, and why.
pub(super) fn outcomes(gathered: &Gathered) -> Markup {
    let life = &gathered.life;
    let of = |name: &str| life.count(name);
    let whole = of("definitions");
    if whole == 0 {
        return html! {};
    }
    let by_text = of("hits").saturating_sub(of("second_hits"));
    let kinds = [
        ("hit", "found by their text", by_text),
        ("second", "found by their analysed form", of("second_hits")),
        ("miss", "compiled and kept", of("misses")),
        ("bypass", "compiled, not to be kept", of("bypasses")),
        ("rejected", "refused and compiled", of("rejected")),
    ];
    let parts =
        kinds.map(|(class, text, times)| (class, times, format!("{text}: {}", count(times))));
    let label = parts.clone().map(|(_, _, text)| text).join(", ");
    let mut reasons: Vec<(&String, u64)> = (life.counts.iter())
        .filter(|(reason, _)| reason.contains(' '))
        .map(|(reason, times)| (reason, *times))
        .collect();
    reasons.sort_by_key(|(reason, times)| (Reverse(*times), *reason));
    let most = reasons.first().map_or(0, |(_, times)| *times);
    html! {
        section {
            h2 { "What came of them" }
            (stacked(&parts, &label))
            ul.legend {
                @for (class, text, times) in kinds.iter().filter(|(_, _, times)| *times > 0) {
                    li { span.key.(class) {} strong { (count(*times)) } " " (text) }
                }
            }
            @if !reasons.is_empty() {
                div.scroll { table.reasons {
                    caption { "Why not every one was found by its text" }
                    thead { tr { th scope="col" { "reason" } th.number scope="col" { "times" } th.wide aria-hidden="true" {} } }
                    tbody {
                        @for (key, times) in reasons {
                            @let class = if key.starts_with("second") { "second" } else if key.starts_with("bypass") { "bypass" } else if key.starts_with("rejected") { "rejected" } else { "miss" };
                            tr {
                                th scope="row" {
                                    span.key.(class) {}
                                    @match reason(key) {
                                        Some((text, remedy)) => { (text) @if !remedy.is_empty() { span.remedy { (with_code(remedy)) } } }
                                        None => { (key) }
                                    }
                                }
                                td.number { (count(times)) }
                                td.wide { (bar(class, times, most)) }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// How long hits and compilations took.
pub(super) fn times(gathered: &Gathered) -> Markup {
    let kinds = [
        ("hit", "hit", "found by their text"),
        ("second", "second hit", "found by their analysed form"),
        ("miss", "compiled", "compiled"),
    ];
    let latencies = &gathered.life.latencies;
    let series: Vec<_> = kinds
        .iter()
        .filter_map(|(class, name, text)| Some((*class, *text, latencies.get(*name)?)))
        .collect();
    let drawn: Vec<_> = (series.iter())
        .map(|(class, _, histogram)| (*class, *histogram))
        .collect();
    let Some(chart) = charts::spread(
        &drawn,
        "How long evaluations took, on a scale that grows tenfold from line to line",
    ) else {
        return html! {};
    };
    html! {
        section {
            h2 { "How long one took" }
            p { "Each line is ten times the one before. Every sort has a height of its own, and a step of the curve that is twice as high stands for four times as many." }
            (chart)
            div.scroll { table {
                thead { tr { th scope="col" { "" } th.number scope="col" { "times" } th.number scope="col" { "median" } th.number scope="col" { "99 %" } th.number scope="col" { "longest" } } }
                tbody {
                    @for (class, text, histogram) in &series {
                        tr {
                            th scope="row" { span.key.(class) {} (text) }
                            td.number { (count(histogram.count())) }
                            @for share in [0.5, 0.99, 1.0] {
                                td.number { @if let Some(time) = histogram.quantile(share) { (duration(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))) } }
                            }
                        }
                    }
                }
            } }
        }
    }
}

/// What took longest to compile.
pub(super) fn costliest(gathered: &Gathered) -> Markup {
    let rows = &gathered.records.costliest;
    let Some(most) = rows.first().map(|row| row.compile_ns) else {
        return html! {};
    };
    html! {
        section {
            h2 { "The costliest definitions" }
            p {
                "Of " (counted(gathered.records.count, "definition")) " that " @if gathered.records.count == 1 { "is" } @else { "are" }
                " kept. Compiling all of them again would take " (duration(gathered.records.compile_ns)) "."
            }
            div.scroll { table {
                thead { tr {
                    th scope="col" { "definition" } th.number scope="col" { "compiling" } th.wide aria-hidden="true" {}
                    th.number scope="col" { "hits" } th.number.wide scope="col" { "code" } th.number.wide scope="col" { "compiled" }
                } }
                tbody {
                    @for row in rows {
                        tr {
                            th scope="row" { code { (name(&row.name)) } }
                            td.number { (duration(row.compile_ns)) }
                            td.wide { (bar("miss", row.compile_ns, most)) }
                            td.number { (count(row.hits)) }
                            td.number.wide { (bytes(row.image_bytes)) }
                            td.number.wide { @if row.created > 0 { (ago(row.created, gathered.now)) } @else { "unknown" } }
                        }
                    }
                }
            } }
            p.note { "Hits as far as uses were noted. " code { "rekindle list --sort cost" } " has all of them, " code { "rekindle show NAME" } " their code." }
        }
    }
}

/// How the cache grew, and what was evicted.
pub(super) fn growth(gathered: &Gathered) -> Markup {
    let ends = |samples: &[Sample]| {
        let end =
            |sample: Option<&Sample>| sample.map_or_else(String::new, |sample| date(sample.time));
        [end(samples.first()), end(samples.last())]
    };
    let history = &gathered.history;
    let (samples, text) = match history.len() {
        0 | 1 => {
            let mut sum = 0u64;
            let compiled = gathered.records.compiled.iter().map(|(time, bytes)| {
                sum = sum.saturating_add(*bytes);
                Sample {
                    time: *time,
                    bytes: sum,
                    ..Sample::default()
                }
            });
            let text = "What is kept now, by when it was compiled. Processes note the size from now on whenever they change it.";
            (compiled.collect::<Vec<_>>(), text)
        }
        _ => (
            history.clone(),
            "The size of the packs whenever a process had changed them.",
        ),
    };
    let Some(chart) = charts::growth(&samples, gathered.limit, &ends(&samples)) else {
        return html! {};
    };
    let usage = &gathered.usage;
    html! {
        section {
            h2 { "How it grew" }
            p { (text) }
            (chart)
            @if history.len() > 1 {
                details {
                    summary { "The last " (count(history.len().min(TABLED) as u64)) " as a table" }
                    div.scroll { table {
                        thead { tr { th scope="col" { "UTC" } th.number scope="col" { "size" } th.number scope="col" { "records" } th.number scope="col" { "evicted" } } }
                        tbody {
                            @for sample in history.iter().rev().take(TABLED) {
                                tr {
                                    th scope="row" { (date(sample.time)) } td.number { (bytes(sample.bytes)) } td.number { (count(sample.records)) }
                                    td.number { @if sample.evicted > 0 { (count(sample.evicted)) } @else { "-" } }
                                }
                            }
                        }
                    } }
                }
            }
            p.note {
                "Now: " (bytes(usage.packs)) " in " (counted(usage.pack_files, "pack"))
                @if usage.segments > 0 { ", " (bytes(usage.segments)) " being written" }
                @if usage.retired > 0 { ", " (bytes(usage.retired)) " replaced and still in use" }
                @if usage.quarantined > 0 { ", " (bytes(usage.quarantined)) " set aside" }
                ", " (bytes(usage.other)) " of notes"
                @if gathered.records.environments > 1 { "; for " (counted(gathered.records.environments as u64, "environment")) " (compilers, options, CPUs, programs)" }
                "."
            }
        }
    }
}

/// One process's start.
pub(super) fn start(gathered: &Gathered) -> Markup {
    let drawn = gathered.timeline.as_ref().and_then(course);
    html! {
        section {
            h2 { "One process's start" }
            @match drawn {
                Some(drawn) => {
                    (drawn)
                    @if let Some(timeline) = &gathered.timeline {
                        p.note { "The last process that ran with " code { "REKINDLE_TIMELINE=on" } ", " (ago(timeline.time, gathered.now)) "." }
                    }
                }
                None => { p.empty { "No process has noted its start. Run a program once with " code { "REKINDLE_TIMELINE=on" } ", and make this page again." } }
            }
        }
    }
}

/// How what came of an evaluation, in the journal's word, is drawn.
fn class_of(outcome: &str) -> &'static str {
    match outcome {
        "bypass" => "bypass",
        "rejected" => "rejected",
        _ => "miss",
    }
}

/// What was compiled lately.
pub(super) fn misses(gathered: &Gathered) -> Markup {
    if gathered.misses.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Compiled lately" }
            @if !gathered.often.is_empty() {
                p {
                    "More than once, as far as the journal goes back: "
                    @for (place, (often, times)) in gathered.often.iter().enumerate() {
                        @if place > 0 { ", " } code { (name(often)) } " (" (count(*times)) ")"
                    }
                    "."
                }
            }
            div.scroll { table.stack {
                thead { tr { th scope="col" { "definition" } th scope="col" { "why" } th.number.wide scope="col" { "when" } } }
                tbody {
                    @for miss in &gathered.misses {
                        tr {
                            th scope="row" {
                                span.key.(class_of(&miss.outcome)) {}
                                code { (name(&miss.name)) }
                            }
                            td { (super::words::long(&miss.reason)) }
                            td.number.wide { (ago(miss.time, gathered.now)) }
                        }
                    }
                }
            } }
            p.note { code { "rekindle why NAME" } " tells all that is known of one." }
        }
    }
}

/// What went wrong, if anything did.
pub(super) fn health(gathered: &Gathered) -> Markup {
    let (verified, wrong) = (
        gathered.life.count("verified"),
        gathered.life.count("wrong"),
    );
    let is_good = gathered.damage.is_empty()
        && gathered.quarantined == 0
        && wrong == 0
        && gathered.deadly.is_empty()
        && gathered.unread.is_empty();
    html! {
        section {
            h2 { "Health" }
            ul.health {
                @if is_good { li.good { "Nothing is damaged, as far as was looked. " code { "rekindle verify" } " reads every byte." } }
                @match (verified, wrong) {
                    (0, _) => { li { "No hit was verified. With " code { "REKINDLE_VERIFY=0.01" } " one in a hundred is compiled again and compared." } }
                    (_, 0) => { li.good { (counted(verified, "hit")) " verified: compiled again, and the code was the same." } }
                    _ => { li.bad { strong { (count(wrong)) " of " (counted(verified, "verified hit")) " wrong." } " The program does not tell the cache of all that its definitions depend on; " code { "rekindle why NAME" } " names which." } }
                }
                @for (deadly, known) in gathered.deadly.iter().take(TABLED) {
                    li.bad[deadly.verdict == Verdict::SetAside] {
                        (counted(u64::from(deadly.deaths), "process")) " died of " (deadly.signal) " in "
                        @match known {
                            Some(known) => { code { (name(known)) } }
                            None => { "the code of the key " code { (crate::records::short(&deadly.key.to_string())) } }
                        }
                        ": "
                        @match deadly.verdict {
                            Verdict::SetAside => { "set aside, to be compiled again." }
                            Verdict::Cleared => { "compiled again to the same code, so it stays." }
                            _ => { "one death can be chance, so it stays." }
                        }
                    }
                }
                @for damage in gathered.damage.iter().take(TABLED) { li.bad { "Damaged: " (super::words::long(damage)) } }
                @if gathered.quarantined > 0 { li.bad { (counted(gathered.quarantined, "damaged pack")) " set aside." } }
                @for text in gathered.unread.iter().take(TABLED) { li { "Not read: " (super::words::long(text)) } }
                @if !gathered.damage.is_empty() || gathered.quarantined > 0 { li { code { "rekindle doctor" } " says what to do." } }
            }
        }
    }
}
