//! SVG plots: logarithmic axes, a light grid, a mark at each measured point.

use std::error::Error;
use std::path::Path;

use plotters::chart::{ChartBuilder, LabelAreaPosition};
use plotters::prelude::*;

use crate::report::{Line, Plot};

const SIZE: (u32, u32) = (960, 540);
const INK: RGBColor = RGBColor(51, 51, 51);
const GRID: RGBColor = RGBColor(225, 228, 232);
/// Okabe and Ito's colours, which colour-blind readers can tell apart, by the start of a name. The
/// same peer has the same colour in all plots.
const COLOURS: [(&str, RGBColor); 9] = [
    ("treelock, leaf", RGBColor(0, 114, 178)),
    ("treelock, unrelated", RGBColor(0, 114, 178)),
    ("treelock, ", RGBColor(86, 180, 233)),
    ("treelock", RGBColor(0, 114, 178)),
    ("node map (M", RGBColor(213, 94, 0)),
    ("node map (D", RGBColor(230, 159, 0)),
    ("bolt", RGBColor(0, 158, 115)),
    ("lock-db", RGBColor(204, 121, 167)),
    ("dav-server", RGBColor(117, 112, 179)),
];
/// Keeps the topmost mark away from the title.
const HEADROOM: f64 = 1.1;
const OTHER: RGBColor = RGBColor(120, 120, 120);
/// The floor below the hand-off.
const NOTIFY: RGBColor = RGBColor(60, 60, 60);

pub(crate) fn draw(plot: &Plot, file: &Path) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let x = plot.ticks.iter().map(|(place, _)| *place);
    let y = plot.lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y));
    let (x, y) = (bounds(x), bounds(y));
    let marks = marks(y.0, y.1);
    // The labels are to the right of their lines, since a legend would have to be looked up.
    let (chart_area, names) = area.split_horizontally(SIZE.0 - 240);
    let mut chart = ChartBuilder::on(&chart_area)
        .caption(plot.title, ("sans-serif", 22).into_font().color(&INK))
        .margin(16)
        .set_label_area_size(LabelAreaPosition::Left, 76)
        .set_label_area_size(LabelAreaPosition::Bottom, 52)
        .build_cartesian_2d(
            (x.0..x.1).log_scale().with_key_points(plot.ticks.iter().map(|tick| tick.0).collect()),
            (marks[0]..*marks.last().unwrap_or(&y.1) * HEADROOM).log_scale().with_key_points(marks),
        )?;
    let text = ("sans-serif", 15).into_font().color(&INK);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(text.clone())
        .axis_desc_style(text)
        .x_desc(plot.x_label)
        .y_desc(plot.y_label)
        .x_label_formatter(&|place| label(plot, *place))
        .y_label_formatter(&|time| duration(*time))
        .draw()?;
    for (index, line) in plot.lines.iter().enumerate() {
        let (style, radius) = (style(index, line), if index == 0 { 4 } else { 3 });
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        let mark = |&place| Circle::new(place, radius, style.color.filled());
        chart.draw_series(line.points.iter().map(mark))?;
    }
    legend(&names, &plot.lines)?;
    area.present()?;
    Ok(())
}

/// Readers look for treelock's own line.
fn style(index: usize, line: &Line) -> ShapeStyle {
    let known = COLOURS.iter().find(|(start, _)| line.name.starts_with(start));
    let other = if line.name.starts_with("Notify") { NOTIFY } else { OTHER };
    let colour = known.map_or(other, |(_, colour)| *colour);
    colour.stroke_width(if index == 0 { 3 } else { 2 })
}

/// Draws the names, in the order in which the lines end on the right.
fn legend<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    lines: &[Line],
) -> Result<(), Box<dyn Error>>
where
    DB::ErrorType: 'static,
{
    let last = |line: &Line| line.points.last().map_or(0.0, |point| point.1);
    let mut order: Vec<_> = (0..lines.len()).collect();
    order.sort_by(|&one, &other| last(&lines[other]).total_cmp(&last(&lines[one])));
    for (row, index) in order.into_iter().enumerate() {
        let y = 70 + 26 * row as i32;
        let style = style(index, &lines[index]);
        area.draw(&PathElement::new([(4, y), (32, y)], style))?;
        area.draw(&Circle::new((18, y), 4, style.color.filled()))?;
        let text = ("sans-serif", 15).into_font().color(&INK);
        area.draw(&Text::new(lines[index].name.clone(), (40, y - 9), text))?;
    }
    Ok(())
}

fn label(plot: &Plot, place: f64) -> String {
    let tick = plot.ticks.iter().find(|tick| (tick.0 / place - 1.0).abs() < 1e-6);
    tick.map_or_else(String::new, |tick| tick.1.clone())
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(low, high), value| (low.min(value), high.max(value)))
}

/// Returns round numbers from the last at or below `low` to the first at or above `high`: 1, 2 and
/// 5 of each decade or, where these are too few, every digit.
fn marks(low: f64, high: f64) -> Vec<f64> {
    let coarse = marks_of(&[1.0, 2.0, 5.0], low, high);
    if coarse.len() > 3 {
        return coarse;
    }
    marks_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], low, high)
}

fn marks_of(digits: &[f64], low: f64, high: f64) -> Vec<f64> {
    let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let decade = |exponent| digits.iter().map(move |digit| digit * 10_f64.powi(exponent));
    let all: Vec<f64> = exponents.flat_map(decade).collect();
    let first = all.iter().rposition(|&mark| mark <= low).unwrap_or(0);
    let last = all.iter().position(|&mark| mark >= high).unwrap_or(all.len() - 1);
    all[first..=last.max(first)].to_vec()
}

/// Prints a round number of ns in the unit that makes it short.
fn duration(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        short if short < 999.0 => (short, "ns"),
        middle if middle < 999_000.0 => (middle / 1e3, "µs"),
        long => (long / 1e6, "ms"),
    };
    format!("{} {unit}", value.round())
}
