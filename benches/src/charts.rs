//! Charts of a summary: cost of a definition, cost and memory as their number grows, cold against warm.
//!
//! They are drawn as SVG, with what fonts the reader has. All axes of cost are logarithmic, as the peers lie
//! five orders of magnitude apart.

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use serde::Deserialize;
use std::path::Path;

/// As far as charts want it.
#[derive(Deserialize)]
struct Summary {
    machine: String,
    date: String,
    rows: Vec<serde_json::Value>,
}

/// A row with figures.
#[derive(Deserialize)]
struct Measured {
    benchmark: String,
    work: String,
    subject: String,
    median_ns: f64,
    n: usize,
    #[serde(default)]
    total_ns: f64,
    bytes_per_entry: Option<f64>,
    refused: Option<String>,
}

/// The benchmark of whole processes, and what its works are called.
const END_TO_END: (&str, &str) = ("end-to-end", "end-to-end-");

/// So many definitions nearly everybody brings back.
const USUAL: usize = 1_000;

const SIZE: (u32, u32) = (900, 520);

/// Room for names beside a chart.
const NAMES: u32 = 190;

/// What stands out, and the others.
const OURS: RGBColor = RGBColor(0xc0, 0x39, 0x2b);
const OTHERS: [RGBColor; 10] = [
    RGBColor(0x1f, 0x4e, 0x79),
    RGBColor(0x2e, 0x86, 0xc1),
    RGBColor(0x76, 0x9f, 0xcd),
    RGBColor(0x1e, 0x84, 0x49),
    RGBColor(0xb7, 0x95, 0x0b),
    RGBColor(0xdc, 0x76, 0x33),
    RGBColor(0x7d, 0x3c, 0x98),
    RGBColor(0x56, 0x65, 0x73),
    RGBColor(0x17, 0xa5, 0x89),
    RGBColor(0x94, 0x31, 0x26),
];

/// Points of one subject.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    /// Whether it got no further than the last of them.
    ends: bool,
}

struct Bar {
    name: String,
    value: f64,
    color: RGBColor,
}

/// Draws what `summary` has into `folder`.
pub(crate) fn draw(summary: &Path, folder: &Path) -> Result<()> {
    let text = std::fs::read(summary);
    let text = text.with_context(|| format!("cannot read {}", summary.display()))?;
    let summary: Summary = serde_json::from_slice(&text).context("that is no summary")?;
    let rows = summary.rows.iter();
    // Bars are rows as well, of other fields.
    let rows: Vec<Measured> = rows
        .filter_map(|row| serde_json::from_value(row.clone()).ok())
        .collect();
    std::fs::create_dir_all(folder)?;
    let origin = format!("{}, {}", summary.machine, summary.date);
    let file = |name: &str| folder.join(name);
    let cost = definitions(&rows, USUAL);
    if !cost.is_empty() {
        let title =
            format!("One definition of {USUAL}, brought back and called: median, microseconds");
        bars(&file("cost-per-definition.svg"), &title, &origin, &cost)?;
    }
    let each = |row: &Measured, count: f64| row.total_ns / count / 1e3;
    let cost = growth(&rows, each);
    if !cost.is_empty() {
        let title =
            "All definitions, time of each as their number grows: microseconds; a cross: the end";
        lines(&file("cost-as-it-grows.svg"), title, &origin, &cost)?;
    }
    let memory = growth(&rows, |row, count| {
        row.bytes_per_entry.unwrap_or_default() * count / f64::from(1 << 20)
    });
    if !memory.is_empty() {
        let title = "Memory of all definitions as their number grows: MiB by proportional share; a cross: the end";
        lines(&file("memory-as-it-grows.svg"), title, &origin, &memory)?;
    }
    let warm = cold_and_warm(&rows);
    if !warm.is_empty() {
        let title = "Ember on each backend, one definition, with the cache off, cold and warm: median, microseconds";
        bars(&file("cold-and-warm.svg"), title, &origin, &warm)?;
    }
    Ok(())
}

fn is_ours(subject: &str) -> bool {
    subject == "rekindle"
}

/// How many definitions a work of the benchmark of whole processes is about.
fn count(row: &Measured) -> Option<usize> {
    let is_it = row.benchmark == END_TO_END.0;
    let number = row.work.strip_prefix(END_TO_END.1)?;
    number.parse().ok().filter(|_| is_it)
}

/// What one of `wanted` definitions costs, the cheapest first. Of who did not get through, what it did.
fn definitions(rows: &[Measured], wanted: usize) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for row in rows.iter().filter(|row| row.n > 0) {
        let Some(count) = count(row).filter(|count| *count <= wanted) else {
            continue;
        };
        let name = match count == wanted && row.refused.is_none() {
            true => row.subject.clone(),
            false => format!("{} (of {count})", row.subject),
        };
        // A larger number comes later and takes its place.
        bars.retain(|bar| bar.name.split(' ').next() != Some(&*row.subject));
        bars.push(Bar {
            name,
            value: row.median_ns / 1e3,
            color: match is_ours(&row.subject) {
                true => OURS,
                false => OTHERS[0],
            },
        });
    }
    bars.sort_by(|one, other| one.value.total_cmp(&other.value));
    bars
}

/// A line for each subject, through the numbers that it got through, and to where it stopped.
fn growth(rows: &[Measured], figure: impl Fn(&Measured, f64) -> f64) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows.iter().filter(|row| row.n > 0) {
        let Some(count) = count(row) else { continue };
        let count = match &row.refused {
            None => Some(count),
            Some(reason) => stopped(reason),
        };
        let Some(count) = count.map(|count| count as f64) else {
            continue;
        };
        let point = (count, figure(row, count));
        // On a logarithmic axis there is no zero: less than a page for all of them.
        if point.1 <= 0.0 {
            continue;
        }
        let known = lines.iter().position(|line| line.name == row.subject);
        let line = match known {
            Some(index) => &mut lines[index],
            None => {
                lines.push(Line {
                    name: row.subject.clone(),
                    points: Vec::new(),
                    ends: false,
                });
                let last = lines.len() - 1;
                &mut lines[last]
            }
        };
        // Who stopped before what it had got through already says nothing new.
        let is_further = line.points.last().is_none_or(|last| point.0 > last.0);
        if is_further {
            line.points.push(point);
            line.ends = row.refused.is_some();
        }
    }
    lines
}

/// How many definitions a subject had brought back when it stopped, as its row says.
fn stopped(reason: &str) -> Option<usize> {
    let (number, _) = reason.strip_prefix("after ")?.split_once(" of ")?;
    number.parse().ok()
}

fn cold_and_warm(rows: &[Measured]) -> Vec<Bar> {
    let mut bars = Vec::new();
    for row in rows
        .iter()
        .filter(|row| row.benchmark == "backends" && row.n > 0)
    {
        let (state, color) = match &*row.work {
            work if work.contains("warm") => ("warm", OURS),
            work if work.contains("cold") => ("cold", OTHERS[0]),
            _ => ("cache off", OTHERS[2]),
        };
        bars.push(Bar {
            name: format!("{}, {state}", row.subject),
            value: row.median_ns / 1e3,
            color,
        });
    }
    bars
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn area<'a>(path: &'a Path, size: (u32, u32), title: &str, origin: &str) -> Result<Area<'a>> {
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    let heading = ("sans-serif", 19).into_font().color(&BLACK);
    let small = ("sans-serif", 12).into_font().color(&RGBColor(90, 90, 90));
    area.draw(&Text::new(title.to_owned(), (20, 14), heading))
        .map_err(failed)?;
    let place = (20, size.1 as i32 - 20);
    area.draw(&Text::new(origin.to_owned(), place, small))
        .map_err(failed)?;
    Ok(area.margin(44, 24, 10, 10))
}

/// The powers of ten around values.
fn decades(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(f64::MIN_POSITIVE, f64::max);
    10f64.powf(least.log10().floor())..10f64.powf(most.log10().ceil())
}

fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.0}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn bars(path: &Path, title: &str, origin: &str, bars: &[Bar]) -> Result<()> {
    let size = (SIZE.0, 110 + 30 * bars.len() as u32);
    let area = area(path, size, title, origin)?;
    let mut range = decades(bars.iter().map(|bar| bar.value));
    range.end *= 3.0;
    let least = range.start;
    let rows = bars.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .set_label_area_size(LabelAreaPosition::Left, NAMES)
        .set_label_area_size(LabelAreaPosition::Bottom, 26)
        .build_cartesian_2d(range.log_scale(), 0.0..rows)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(WHITE)
        .x_label_formatter(&|value| number(*value))
        .label_style(("sans-serif", 13))
        .draw()
        .map_err(failed)?;
    for (index, bar) in bars.iter().enumerate() {
        let top = rows - index as f64;
        let corners = [(least, top - 0.2), (bar.value, top - 0.8)];
        let style = bar.color.filled();
        let black = ("sans-serif", 14).into_font().color(&BLACK);
        let value =
            EmptyElement::at((bar.value, top - 0.3)) + Text::new(number(bar.value), (6, 0), black);
        chart
            .draw_series([Rectangle::new(corners, style)])
            .map_err(failed)?;
        chart.draw_series([value]).map_err(failed)?;
        let (_, y) = chart.backend_coord(&(least, top - 0.3));
        let name = ("sans-serif", 14).into_font().color(&BLACK);
        let (_, top) = area.get_base_pixel();
        area.draw(&Text::new(bar.name.clone(), (14, y - top), name))
            .map_err(failed)?;
    }
    area.present().map_err(failed)
}

fn lines(path: &Path, title: &str, origin: &str, lines: &[Line]) -> Result<()> {
    let area = area(path, SIZE, title, origin)?;
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let (across, up) = (
        decades(points().map(|point| point.0)),
        decades(points().map(|point| point.1)),
    );
    let (chart_area, names) = area.split_horizontally(SIZE.0 - NAMES);
    let mut chart = ChartBuilder::on(&chart_area)
        .set_label_area_size(LabelAreaPosition::Left, 60)
        .set_label_area_size(LabelAreaPosition::Bottom, 40)
        .build_cartesian_2d(across.log_scale(), up.log_scale())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("definitions")
        .x_label_formatter(&|value| number(*value))
        .y_label_formatter(&|value| number(*value))
        .label_style(("sans-serif", 13))
        .draw()
        .map_err(failed)?;
    let mut others = OTHERS.iter().cycle();
    for (index, line) in lines.iter().enumerate() {
        let (color, width) = match is_ours(&line.name) {
            true => (OURS, 4),
            false => (*others.next().context("there are colours")?, 2),
        };
        let style = color.stroke_width(width);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))
            .map_err(failed)?;
        let (dots, cross) = match line.ends {
            true => line.points.split_at(line.points.len().saturating_sub(1)),
            false => (&*line.points, &[][..]),
        };
        let dots = dots.iter();
        let dots = dots.map(|point| Circle::new(*point, 4, color.filled()));
        chart.draw_series(dots).map_err(failed)?;
        let cross = cross.iter();
        let cross = cross.map(|point| Cross::new(*point, 6, color.stroke_width(2)));
        chart.draw_series(cross).map_err(failed)?;
        let top = 20 + 24 * index as i32;
        names
            .draw(&PathElement::new([(14, top), (38, top)], style))
            .map_err(failed)?;
        let text = ("sans-serif", 14).into_font().color(&BLACK);
        names
            .draw(&Text::new(line.name.clone(), (46, top - 7), text))
            .map_err(failed)?;
    }
    area.present().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a chart cannot be drawn: {error}")
}
