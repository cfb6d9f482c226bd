//! The output: tables in Markdown, the goals, the lines of the plots, and everything as JSON.

use std::fmt::{Display, Formatter, Result};

use serde_json::{Value, json};

/// Everything that the workloads found.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) tables: Vec<Table>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) plots: Vec<Plot>,
}

impl Report {
    pub(crate) fn goal(&mut self, name: impl Into<String>, measured: f64, bound: Bound) {
        self.goals.push(Goal { name: name.into(), measured, bound });
    }

    /// Returns the table at the end.
    pub(crate) fn goal_table(&self) -> Table {
        let mut table = Table::new("Goals", ["goal", "measured", "must", "stretch", "reached"]);
        for goal in &self.goals {
            table.row(goal.cells());
        }
        table
    }

    pub(crate) fn json(&self) -> Value {
        let tables: Vec<_> = self
            .tables
            .iter()
            .map(|table| json!({"title": table.title, "header": table.header, "rows": table.rows}))
            .collect();
        let goals: Vec<_> = self
            .goals
            .iter()
            .map(|goal| {
                let [must, stretch] = [goal.bound.must, goal.bound.stretch];
                json!({"goal": goal.name, "measured": goal.measured, "must": must,
                       "stretch": stretch, "reached": goal.reached()})
            })
            .collect();
        json!({"tables": tables, "goals": goals})
    }
}

/// A Markdown table under a heading.
pub(crate) struct Table {
    pub(crate) title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new<T: Into<String>>(
        title: impl Into<String>,
        header: impl IntoIterator<Item = T>,
    ) -> Self {
        let header = header.into_iter().map(Into::into).collect();
        Table { title: title.into(), header, rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Adds a sentence below the table.
    pub(crate) fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }
}

impl Display for Table {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        writeln!(out, "### {}\n", self.title)?;
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.header]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.header.len()).map(width).collect();
        // Names are aligned left and numbers right, as in print.
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
        };
        writeln!(out, "{}", line(&self.header))?;
        let rules = widths.iter().enumerate().map(|(column, &width)| {
            if column == 0 { "-".repeat(width) } else { format!("{}:", "-".repeat(width - 1)) }
        });
        writeln!(out, "| {} |", rules.collect::<Vec<_>>().join(" | "))?;
        for row in &self.rows {
            writeln!(out, "{}", line(row))?;
        }
        for note in &self.notes {
            writeln!(out, "\n{note}")?;
        }
        Ok(())
    }
}

/// One row of the table of goals.
pub(crate) struct Goal {
    name: String,
    measured: f64,
    bound: Bound,
}

/// What a measured ratio must reach, and what it should reach.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    less_is_better: bool,
    /// If there is none, the stretch is only a wish.
    must: Option<f64>,
    stretch: Option<f64>,
}

impl Bound {
    pub(crate) fn at_most(must: impl Into<Option<f64>>, stretch: impl Into<Option<f64>>) -> Self {
        Bound { less_is_better: true, must: must.into(), stretch: stretch.into() }
    }

    pub(crate) fn at_least(must: impl Into<Option<f64>>, stretch: impl Into<Option<f64>>) -> Self {
        Bound { less_is_better: false, must: must.into(), stretch: stretch.into() }
    }

    fn text(&self, bound: Option<f64>) -> String {
        let sign = if self.less_is_better { "≤" } else { "≥" };
        bound.map_or_else(|| "–".into(), |bound| format!("{sign} {}", ratio(bound)))
    }

    fn holds(&self, measured: f64, bound: f64) -> bool {
        if self.less_is_better { measured <= bound } else { measured >= bound }
    }
}

impl Goal {
    fn reached(&self) -> &'static str {
        let holds = |bound| self.bound.holds(self.measured, bound);
        match (self.bound.must.map(holds), self.bound.stretch.map(holds)) {
            (_, Some(true)) => "stretch",
            (Some(true), _) => "must",
            (Some(false), _) => "**no**",
            (None, _) => "–",
        }
    }

    fn cells(&self) -> [String; 5] {
        let [must, stretch] = [self.bound.must, self.bound.stretch].map(|it| self.bound.text(it));
        [self.name.clone(), ratio(self.measured), must, stretch, self.reached().into()]
    }
}

/// Prints a ratio with three digits, as far as they are meaningful.
pub(crate) fn ratio(value: f64) -> String {
    match value.abs() {
        small if small < 0.1 => format!("{value:.3}x"),
        middle if middle < 10.0 => format!("{value:.2}x"),
        _ => format!("{value:.1}x"),
    }
}

/// Prints a duration in the unit that reads best.
pub(crate) fn nanoseconds(value: f64) -> String {
    match value.abs() {
        small if small < 100.0 => format!("{value:.1} ns"),
        middle if middle < 10_000.0 => format!("{value:.0} ns"),
        large if large < 10_000_000.0 => format!("{:.1} µs", value / 1e3),
        _ => format!("{:.1} ms", value / 1e6),
    }
}

/// Prints a count with thousands separators.
pub(crate) fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left.is_multiple_of(3) && digit != '-' {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Lines in a coordinate system with logarithmic axes.
pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) x_label: &'static str,
    pub(crate) y_label: &'static str,
    /// The marks of the x axis: position and label; a position of 0 cannot be on it.
    pub(crate) ticks: Vec<(f64, String)>,
    pub(crate) lines: Vec<Line>,
}

/// One line of a plot.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}
