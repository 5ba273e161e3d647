//! Charts as SVG that stretches to its place; words stand beside it as HTML, so that they keep their size.

use crate::units::{bytes, count, counted};
use maud::{Markup, html};
use rekindle_cache_core::history::Sample;
use rekindle_cache_core::latency::Histogram;
use std::fmt::Write as _;

/// The width and height that charts are drawn in, before they are stretched.
pub(super) const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// Points that a curve has at most.
const POINTS: usize = 400;

/// So much of the whole, in percent, for a style.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    };
    format!("{:.2}%", (share * 100.0).clamp(0.0, 100.0))
}

/// The same for people.
pub(super) fn share(part: u64, whole: u64) -> String {
    let tenths = match whole {
        0 => 0,
        _ => u128::from(part) * 1000 / u128::from(whole),
    };
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A bar of parts beside each other: class, amount, and what it says of itself.
pub(super) fn stacked(parts: &[(&str, u64, String)], label: &str) -> Markup {
    let whole = parts
        .iter()
        .fold(0u64, |sum, (_, amount, _)| sum.saturating_add(*amount));
    html! {
        div.stacked role="img" aria-label=(label) {
            @for (class, amount, title) in parts.iter().filter(|(_, amount, _)| *amount > 0) {
                span class=(class) style={ "width:" (percent(*amount, whole)) } title=(title) {}
            }
        }
    }
}

/// A bar that stands for `part` of `whole`, where the number stands beside it.
pub(super) fn bar(class: &str, part: u64, whole: u64) -> Markup {
    html! {
        div.bar aria-hidden="true" { span class=(class) style={ "width:" (percent(part, whole)) } {} }
    }
}

/// How durations are spread, on a scale that grows tenfold from line to line: class and durations of each series.
pub(super) fn spread(series: &[(&str, &Histogram)], label: &str) -> Option<Markup> {
    // A decade of nanoseconds to the next is cut in eight.
    const PARTS: f64 = 8.0;
    let part_of = |bucket: usize| {
        let nanoseconds = rekindle_cache_core::latency::start(bucket).max(1);
        ((nanoseconds as f64).log10() * PARTS).floor() as i64
    };
    let columns = |histogram: &Histogram| {
        let mut columns = std::collections::BTreeMap::<i64, u64>::new();
        for (bucket, count) in histogram.buckets() {
            let column = columns.entry(part_of(bucket)).or_default();
            *column = column.saturating_add(count);
        }
        columns
    };
    let series: Vec<_> = series
        .iter()
        .map(|(class, histogram)| (*class, columns(histogram)))
        .collect();
    let all = || series.iter().flat_map(|(_, columns)| columns.iter());
    let (first, last) = (
        all().map(|(part, _)| *part).min()?,
        all().map(|(part, _)| *part).max()?,
    );
    // Whole decades.
    let decade = PARTS as i64;
    let from = first.div_euclid(decade);
    let to = last.div_euclid(decade) + 1;
    let columns_in_all = ((to - from) * decade) as f64;
    let width = WIDTH / columns_in_all;
    // Each series has its own height: one is often thousands of times the other.
    let shapes = series.iter().map(|(class, columns)| {
        let most = columns.values().copied().max().unwrap_or(1);
        let mut path = String::new();
        for (part, count) in columns {
            let height = (*count as f64 / most as f64).sqrt() * HEIGHT * 0.94;
            let x = (*part - from * decade) as f64 * width;
            let _ = write!(
                path,
                "M{:.2} {HEIGHT}v-{height:.2}h{:.2}v{height:.2}z",
                x,
                width * 0.92
            );
        }
        (*class, path)
    });
    let decades = (from..to).map(|power| {
        let place = (power - from) as f64 / (to - from) as f64 * 100.0;
        (place, power_of_ten(power))
    });
    Some(html! {
        figure.chart {
            div.plot.low {
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
                    @for power in from..to {
                        path.grid d={ "M" (format!("{:.2}", (power - from) as f64 / (to - from) as f64 * WIDTH)) " 0V" (HEIGHT) } {}
                    }
                    @for (class, path) in shapes { path class={ (class) " spread" } d=(path) {} }
                }
            }
            div.axis aria-hidden="true" {
                @for (place, text) in decades { span style=(format!("left:{place:.2}%")) { (text) } }
            }
        }
    })
}

fn power_of_ten(power: i64) -> String {
    let digits = ["1", "10", "100"][power.rem_euclid(3) as usize];
    let unit = match power.div_euclid(3) {
        0 => "ns",
        1 => "us",
        2 => "ms",
        3 => "s",
        _ => "000 s",
    };
    format!("{digits} {unit}")
}

/// How a cache grew: bytes over time, with what was evicted.
pub(super) fn growth(
    samples: &[Sample],
    limit: Option<u64>,
    dates: &[String; 2],
) -> Option<Markup> {
    let (first, last) = (samples.first()?, samples.last()?);
    let span = last.time.saturating_sub(first.time).max(1);
    let most = samples.iter().map(|sample| sample.bytes).max()?.max(1);
    // The limit is drawn where it is near: far above, it would flatten the curve.
    let near = limit.filter(|limit| *limit <= most.saturating_mul(4));
    let top = near.unwrap_or(most).max(most) as f64 * 1.08;
    let x = |time: u64| time.saturating_sub(first.time).min(span) as f64 / span as f64 * WIDTH;
    let y = |bytes: u64| HEIGHT - bytes as f64 / top * HEIGHT;
    let step = samples.len().div_ceil(POINTS).max(1);
    let mut curve = format!("M0 {:.2}", y(first.bytes));
    for sample in samples.iter().step_by(step).chain([last]) {
        let _ = write!(curve, "H{:.2}V{:.2}", x(sample.time), y(sample.bytes));
    }
    curve.push_str("H1000");
    let area = format!("{curve}V{HEIGHT}H0z");
    let evictions: Vec<&Sample> = samples.iter().filter(|sample| sample.evicted > 0).collect();
    let label = format!(
        "The cache's size over time: {} at first, {} at last, {} at most.",
        bytes(first.bytes),
        bytes(last.bytes),
        bytes(most)
    );
    Some(html! {
        figure.chart {
            div.plot {
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
                    @for quarter in [0.25, 0.5, 0.75] {
                        path.grid d=(format!("M0 {:.1}H{WIDTH}", quarter * HEIGHT)) {}
                    }
                    path.area d=(area) {}
                    path.line d=(curve) {}
                    @if let Some(limit) = near { path.limit d=(format!("M0 {:.2}H{WIDTH}", y(limit))) {} }
                    @for sample in evictions.iter().take(POINTS) {
                        path.evicted d=(format!("M{:.2} {HEIGHT}V{:.2}", x(sample.time), y(sample.bytes.saturating_add(sample.evicted_bytes).min(top as u64)))) {
                            title { (counted(sample.evicted, "record")) " evicted, " (bytes(sample.evicted_bytes)) }
                        }
                    }
                }
                span.top { (bytes(top as u64)) }
                @if let Some(limit) = near {
                    span.limit-label style=(format!("top:{:.1}%", y(limit))) { "limit " (bytes(limit)) }
                }
            }
            div.axis.ends aria-hidden="true" { span { (dates[0]) } span { (dates[1]) } }
            @if !evictions.is_empty() {
                figcaption {
                    span.key.rejected {} "evicted, "
                    (count(evictions.iter().map(|sample| sample.evicted).fold(0, u64::saturating_add)))
                    " records in all"
                }
            }
        }
    })
}
