//! The course of one process's start: a lane for each thread, and what each part of the time went into.

use super::charts::{WIDTH, share};
use super::words::name;
use crate::units::{count, counted, duration};
use maud::{Markup, html};
use rekindle_cache_core::timeline::{Kind, Span, Timeline};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Who evaluates nothing for so long, and for longer than all before took several times over, has started.
const IDLE: u64 = 100_000_000;
const TIMES: u64 = 3;

/// Lanes that are drawn.
const LANES: usize = 6;

/// Steps that are named as the longest.
const LONGEST: usize = 8;

/// Spans nested deeper are drawn as deep as this.
const DEEPEST: usize = 2;

/// What is drawn at one place: one span, or several of a sort with nothing to be seen between them.
struct Block<'t> {
    kind: Kind,
    start: u64,
    end: u64,
    depth: usize,
    spans: u64,
    /// Of all its spans.
    time: u64,
    first: &'t Span,
}

/// How a kind is drawn and called.
pub(super) fn look(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Open => ("open", "opening the store"),
        Kind::Hit => ("hit", "hits"),
        Kind::SecondHit => ("second", "hits by the analysed form"),
        Kind::Miss => ("miss", "compiled and kept"),
        Kind::Bypass => ("bypass", "compiled, not kept"),
        Kind::Rejected => ("rejected", "refused and compiled"),
        _ => ("failed", "errors"),
    }
}

/// The spans of the start: up to where nothing was evaluated for long.
fn start_of(timeline: &Timeline) -> (Vec<&Span>, u64) {
    let mut spans: Vec<&Span> = timeline.spans.iter().collect();
    spans.sort_by_key(|span| (span.start, Reverse(span.length)));
    let mut end = 0u64;
    let mut taken = 0;
    let mut has_begun = false;
    for span in &spans {
        let idle = span.start.saturating_sub(end);
        if has_begun && idle > IDLE && idle > end.saturating_mul(TIMES) {
            break;
        }
        end = end.max(span.start.saturating_add(span.length));
        taken += 1;
        // What a host does before the first definition is a part of its start.
        has_begun |= span.kind != Kind::Open;
    }
    spans.truncate(taken);
    (spans, end)
}

/// The blocks of one lane, whose spans are given in the order of their starts.
fn blocks<'t>(spans: &[&'t Span], whole: u64) -> Vec<Block<'t>> {
    // Less than can be seen.
    let nothing = whole / 800;
    let mut blocks: Vec<Block<'t>> = Vec::new();
    let mut open: Vec<u64> = Vec::new();
    let mut latest: BTreeMap<(usize, Kind), usize> = BTreeMap::new();
    for span in spans {
        open.retain(|end| *end > span.start);
        let depth = open.len().min(DEEPEST);
        let end = span.start.saturating_add(span.length);
        open.push(end);
        let neighbour = latest.get(&(depth, span.kind)).copied();
        let is_last_of_depth = |place: usize| {
            let later = blocks.iter().skip(place + 1);
            later.clone().all(|block| block.depth != depth)
        };
        let joined = neighbour.filter(|place| {
            let fits = |block: &Block<'_>| {
                let is_small = span.length <= nothing && block.time <= nothing.saturating_mul(40);
                is_small && span.start <= block.end.saturating_add(nothing)
            };
            blocks.get(*place).is_some_and(fits) && is_last_of_depth(*place)
        });
        if let Some(block) = joined.and_then(|place| blocks.get_mut(place)) {
            block.end = block.end.max(end);
            block.spans += 1;
            block.time = block.time.saturating_add(span.length);
            continue;
        }
        latest.insert((depth, span.kind), blocks.len());
        blocks.push(Block {
            kind: span.kind,
            start: span.start,
            end,
            depth,
            spans: 1,
            time: span.length,
            first: span,
        });
    }
    blocks
}

impl Block<'_> {
    fn title(&self) -> String {
        let (_, kind) = look(self.kind);
        let at = duration(self.start);
        match self.spans {
            1 => format!(
                "{}: {kind}, {} at {at}",
                name(&self.first.name),
                duration(self.time)
            ),
            spans => format!(
                "{} {kind} from {} on, {} together, at {at}",
                count(spans),
                name(&self.first.name),
                duration(self.time)
            ),
        }
    }
}

/// The time of the first thread by what it went into, the time of nested spans being theirs alone.
fn shares(spans: &[&Span]) -> BTreeMap<Kind, (u64, u64)> {
    let mut shares: BTreeMap<Kind, (u64, u64)> = BTreeMap::new();
    let mut open: Vec<(u64, Kind)> = Vec::new();
    for span in spans {
        open.retain(|(end, _)| *end > span.start);
        if let Some((_, outer)) = open.last()
            && let Some((time, _)) = shares.get_mut(outer)
        {
            *time = time.saturating_sub(span.length);
        }
        let (time, times) = shares.entry(span.kind).or_default();
        *time = time.saturating_add(span.length);
        *times += 1;
        open.push((span.start.saturating_add(span.length), span.kind));
    }
    shares
}

/// The whole of it.
pub(super) fn course(timeline: &Timeline) -> Option<Markup> {
    let (spans, end) = start_of(timeline);
    let whole = end.max(1);
    let first = spans.first()?;
    let mut lanes: BTreeMap<u32, Vec<&Span>> = BTreeMap::new();
    for span in &spans {
        lanes.entry(span.thread).or_default().push(span);
    }
    let main = lanes.get(&first.thread)?;
    let shares = shares(main);
    let evaluating = shares
        .values()
        .fold(0u64, |sum, (time, _)| sum.saturating_add(*time));
    let mut longest: Vec<&&Span> = spans.iter().collect();
    longest.sort_by_key(|span| Reverse(span.length));
    let definitions = spans.iter().filter(|span| span.kind != Kind::Open).count();
    let later = timeline.spans.len() - spans.len();
    let label = format!(
        "{} in {}, {} of it evaluating definitions.",
        counted(definitions as u64, "definition"),
        duration(whole),
        duration(evaluating)
    );
    Some(html! {
        p {
            strong { (name(&timeline.program)) } ", process " (timeline.process) ", brought in "
            (counted(definitions as u64, "definition")) " in the first " (duration(whole))
            " after it had opened the cache; it was watched for " (duration(timeline.length)) "."
        }
        figure.chart {
            @for (thread, spans) in lanes.iter().take(LANES) {
                div.lane {
                    @if lanes.len() > 1 { span.lane-name { "thread " (thread + 1) } }
                    svg viewBox={ "0 0 " (WIDTH) " 30" } preserveAspectRatio="none" role="img" aria-label=(label) {
                        rect.ground x="0" y="0" width=(WIDTH) height="30" {}
                        @for block in blocks(spans, whole) {
                            @let x = block.start as f64 / whole as f64 * WIDTH;
                            @let width = (block.end.saturating_sub(block.start)) as f64 / whole as f64 * WIDTH;
                            @let inset = block.depth as f64 * 7.0;
                            rect class=(look(block.kind).0) x=(format!("{x:.2}")) y=(inset) width=(format!("{:.2}", width.max(1.2)))
                                height=(30.0 - inset) { title { (block.title()) } }
                        }
                    }
                }
            }
            div.axis aria-hidden="true" {
                @for quarter in 0..4u64 {
                    span style=(format!("left:{}%", quarter * 25)) { (duration(whole / 4 * quarter)) }
                }
            }
            figcaption {
                @for kind in shares.keys() { @let (class, text) = look(*kind); span.item { span.key.(class) {} (text) } " " }
                span.item { span.key.ground {} "the program itself" }
            }
        }
        @if lanes.len() > LANES { p.note { "and " (counted((lanes.len() - LANES) as u64, "more thread")) } }
        div.columns {
            div.scroll { table {
                caption { "Where the first thread's time went" }
                thead { tr { th scope="col" { "what" } th.number scope="col" { "times" } th.number scope="col" { "time" } th.number scope="col" { "share" } } }
                tbody {
                    @for (kind, (time, times)) in &shares {
                        @let (class, text) = look(*kind);
                        tr { th scope="row" { span.key.(class) {} (text) } td.number { (count(*times)) } td.number { (duration(*time)) } td.number { (share(*time, whole)) } }
                    }
                    @let rest = whole.saturating_sub(evaluating);
                    tr { th scope="row" { span.key.ground {} "the program itself" } td {} td.number { (duration(rest)) } td.number { (share(rest, whole)) } }
                }
            } }
            div.scroll { table {
                caption { "The longest steps" }
                thead { tr { th scope="col" { "definition" } th.number scope="col" { "time" } th.number scope="col" { "at" } } }
                tbody {
                    @for span in longest.iter().take(LONGEST) {
                        tr { th scope="row" { span.key.(look(span.kind).0) {} code { (name(&span.name)) } } td.number { (duration(span.length)) } td.number { (duration(span.start)) } }
                    }
                }
            } }
        }
        @if timeline.left_out > 0 || later > 0 {
            p.note {
                (count(timeline.left_out.saturating_add(later as u64)))
                " later evaluations are not shown: this is the start, up to where none followed for long."
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, length: u64, kind: Kind) -> Span {
        Span {
            thread: 0,
            start,
            length,
            kind,
            name: "a".to_owned(),
        }
    }

    #[test]
    fn small_neighbours_are_one_block() {
        let spans = [
            span(0, 10, Kind::Hit),
            span(11, 10, Kind::Hit),
            span(50_000, 30_000, Kind::Miss),
            span(60_000, 10, Kind::Hit),
            span(90_000, 10, Kind::Hit),
        ];
        let spans: Vec<&Span> = spans.iter().collect();
        let blocks = blocks(&spans, 100_000);
        let seen: Vec<_> = blocks
            .iter()
            .map(|block| (block.kind, block.spans, block.depth))
            .collect();
        let expected = [
            (Kind::Hit, 2, 0),
            (Kind::Miss, 1, 0),
            (Kind::Hit, 1, 1),
            (Kind::Hit, 1, 0),
        ];
        assert_eq!(seen, expected);
        let shares = shares(&spans);
        assert_eq!(shares[&Kind::Miss], (29_990, 1));
        assert_eq!(shares[&Kind::Hit], (40, 4));
    }

    #[test]
    fn the_start_ends_where_nothing_happens_for_long() {
        let timeline = Timeline {
            spans: vec![
                span(5, 10, Kind::Open),
                span(IDLE, 10, Kind::Hit),
                span(IDLE * 3, 10, Kind::Hit),
                span(IDLE * 99, 10, Kind::Hit),
            ],
            ..Timeline::default()
        };
        let (spans, end) = start_of(&timeline);
        assert_eq!((spans.len(), end), (3, IDLE * 3 + 10));
        let absurd = Timeline {
            spans: vec![
                span(u64::MAX, u64::MAX, Kind::Hit),
                span(0, u64::MAX, Kind::Miss),
            ],
            length: u64::MAX,
            left_out: u64::MAX,
            ..Timeline::default()
        };
        assert!(course(&absurd).is_some());
        assert!(course(&Timeline::default()).is_none());
    }
}
