//! The page as a whole: head, summary, sections.

use super::charts::share;
use super::gather::Gathered;
use super::sections;
use super::words::date;
use crate::units::{ago, count, counted, duration};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded and no script runs, even if something of the cache should ever get into the page as more
/// than text.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The page.
pub(super) fn page(gathered: &Gathered) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { "Rekindle: what the cache is worth" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.mark { span.ember aria-hidden="true" {} "Rekindle" }
                    p.place { code { (gathered.folder) } span { (date(gathered.now)) " UTC" } }
                }
                main {
                    (summary(gathered))
                    (sections::outcomes(gathered))
                    (sections::times(gathered))
                    (sections::costliest(gathered))
                    (sections::growth(gathered))
                    (sections::start(gathered))
                    (sections::misses(gathered))
                    (sections::health(gathered))
                }
                footer {
                    p {
                        "Made by " code { "rekindle report" } ", version " (env!("CARGO_PKG_VERSION"))
                        ". What processes did is told as far as they could write it down: one that was killed tells less. "
                        "The same for programs: " code { "rekindle status --json" } ", " code { "rekindle list --json" } "."
                    }
                }
            }
        }
    }
}

fn summary(gathered: &Gathered) -> Markup {
    let life = &gathered.life;
    let (definitions, hits) = (life.count("definitions"), life.count("hits"));
    let (saved, spent) = (life.count("saved_ns"), life.count("eval_ns"));
    if definitions == 0 {
        return html! {
            section.summary {
                h1 { "Nothing has been evaluated yet" }
                p.lead {
                    "No process has left its counts in this cache. Run a program that uses it, with "
                    code { "REKINDLE_DIR" } " set to this folder, and make this page again."
                }
            }
        };
    }
    let without = spent.saturating_add(saved);
    let since = life.since.filter(|since| *since > 0);
    let each = |name: &str, share: f64| {
        let time = life.latencies.get(name)?.quantile(share)?;
        Some(duration(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    };
    html! {
        section.summary {
            h1 { @if saved > 0 { (duration(saved)) " of compiling saved" } @else { "Nothing saved yet" } }
            p.lead {
                "In " (counted(life.processes, "run")) @if let Some(since) = since { ", the first " (ago(since, gathered.now)) "," }
                " " (counted(definitions, "definition")) " were evaluated. "
                (count(hits)) " came from the cache"
                @if hits > 0 && saved > spent { ", and evaluating took " strong { (share(spent, without)) } " of the time that it would have taken" }
                ". "
                @if hits == 0 { "What was compiled is kept: the next run of the same program finds it." }
            }
            (sections::with_and_without(spent, saved))
            dl.tiles {
                div { dt { "hits" } dd { (share(hits, definitions)) } }
                @if let (Some(median), Some(late)) = (each("hit", 0.5), each("hit", 0.99)) {
                    div { dt { "a hit" } dd { (median) } dd.more { "99 % within " (late) } }
                }
                @if let (Some(median), Some(late)) = (each("compiled", 0.5), each("compiled", 0.99)) {
                    div { dt { "compiling one" } dd { (median) } dd.more { "99 % within " (late) } }
                }
                div { dt { "kept" } dd { (count(gathered.records.count)) } dd.more { "definitions, " (crate::units::bytes(gathered.records.image_bytes)) " of code" } }
                (sections::fullness(gathered))
            }
        }
    }
}
