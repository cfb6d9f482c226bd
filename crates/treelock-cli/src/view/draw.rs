//! Draws the view. Nothing depends on colour: what is selected has a mark, too.

use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};
use treelock::State;
use unicode_width::UnicodeWidthStr as _;

use super::{
    cut::in_the_middle,
    requests::Live,
    state::{Mode, View},
};

/// How far those who wait for one another are indented.
const INDENTS_MAX: usize = 8;
/// From this width on, details are beside the rows instead of below them.
const WIDE: u16 = 130;
/// From this width on, rows have processes, which details always have.
const WITH_PROCESSES: u16 = 110;
const HELP: [&str; 13] = [
    "Up Down PgUp PgDn   move; Home and End go to the first and the last",
    "s                   sort by ticket, age, node, or what is waited for",
    "r                   reverse the order",
    "/                   filter by words in tickets, states, nodes and labels",
    "Enter               details: who waits for whom",
    "b                   break the selected request, after a question",
    "Ctrl-L              draw everything again",
    "Ctrl-Z              stop, until fg",
    "q Esc Ctrl-C        leave; Esc closes details and filter first",
    "",
    "A request waits for all earlier ones that conflict with it. Only the",
    "first of them is shown behind `waits for`.",
    "Any key closes this.",
];

/// The styles, which are empty without colour.
#[derive(Clone, Copy)]
pub(super) struct Palette {
    held: Style,
    waiting: Style,
    bad: Style,
}

impl Palette {
    pub(super) fn new(is_coloured: bool) -> Palette {
        let colour = |colour| match is_coloured {
            true => Style::new().fg(colour),
            false => Style::new(),
        };
        let [held, waiting, bad] = [Color::Green, Color::Yellow, Color::Red].map(colour);
        Palette { held, waiting, bad }
    }

    fn of(self, state: State) -> Style {
        if state == State::Held { self.held } else { self.waiting }
    }
}

/// Draws the view as it is `now`. Notes how many rows fit.
pub(super) fn draw(view: &mut View, palette: Palette, frame: &mut Frame, now: Instant) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(header(view, head.width), head);
    let (rows, details) = split(view, body);
    view.set_page(usize::from(rows.height.saturating_sub(1)));
    draw_rows(view, palette, frame, rows, now);
    if let Some(area) = details {
        draw_details(view, palette, frame, area, now);
    }
    frame.render_widget(footer(view, palette, now, foot.width), foot);
    match &view.mode {
        Mode::Help => popup(frame, "keys", &HELP.map(str::to_owned)),
        Mode::Confirm { ticket, lines, question } => {
            let lines = question_lines(lines, question, frame.area());
            popup(frame, &format!("break #{ticket}"), &lines);
        }
        Mode::Browse | Mode::Filter => {}
    }
}

/// Returns the area of the rows, and that of the details, if they are shown.
fn split(view: &View, body: Rect) -> (Rect, Option<Rect>) {
    if !view.shows_details {
        return (body, None);
    }
    let parts = match body.width >= WIDE {
        true => Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]),
        false => Layout::vertical([Constraint::Percentage(55), Constraint::Percentage(45)]),
    };
    let [rows, details] = parts.areas(body);
    (rows, Some(details))
}

/// Returns the first line: what is looked at on the left, how on the right.
fn header(view: &View, width: u16) -> Paragraph<'static> {
    let (held, waiting) = view.requests.counts();
    let shown = match view.rows.len() {
        rows if rows == held + waiting => String::new(),
        rows => format!("{rows} of {} shown  ", held + waiting),
    };
    let order = if view.is_reversed { ", reversed" } else { "" };
    let missed = match view.requests.missed {
        0 => String::new(),
        missed => format!("  {missed} unseen"),
    };
    let right = format!("{shown}by {}{order}", view.sort.name());
    let counts = format!("{held} held  {waiting} waiting{missed}");
    let node = if view.node.is_root() { String::new() } else { format!(" {}", view.node) };
    let place = format!("treelock {}{node}", view.place);
    let left = usize::from(width).saturating_sub(counts.width() + right.width() + 4);
    let place = in_the_middle(&place, left);
    let text = format!("{place}  {counts}");
    let gap = usize::from(width).saturating_sub(text.width() + right.width());
    let text = format!("{text}{}{right}", " ".repeat(gap));
    Paragraph::new(text).style(Style::new().add_modifier(Modifier::BOLD))
}

/// The widths of the columns of a table.
struct Columns {
    ticket: usize,
    node: usize,
    who: usize,
    has_processes: bool,
}

const STATE_WIDTH: usize = 7;
const AGE_WIDTH: usize = 7;
const MARK_WIDTH: usize = 2;
/// Between two columns.
const GAP: usize = 2;

impl Columns {
    fn new(view: &View, width: u16) -> Columns {
        let ticket = view.rows.iter().max().map_or(0, |ticket| ticket.to_string().len() + 1);
        let ticket = ticket.max("ticket".len());
        let fixed = MARK_WIDTH + ticket + STATE_WIDTH + AGE_WIDTH + ticket.max("after".len());
        let rest = usize::from(width).saturating_sub(fixed + 5 * GAP);
        let longest = |of: &dyn Fn(&Live) -> usize| {
            let rows = view.rows.iter().skip(view.top).take(view.page);
            rows.filter_map(|ticket| view.requests.get(*ticket)).map(of).max().unwrap_or(0)
        };
        // Each gets half of what is left, and what the other does not need.
        let has_processes = width >= WITH_PROCESSES;
        let who = longest(&|live| who(live, has_processes, usize::MAX).width()).max("who".len());
        let node = longest(&|live| root_text(live, &view.filter).width()).max("node".len());
        let node = node.min((rest / 2).max(rest.saturating_sub(who)));
        Columns { ticket, node, who: rest.saturating_sub(node), has_processes }
    }

    fn line(
        &self,
        mark: &str,
        ticket: &str,
        state: Span<'static>,
        rest: [&str; 4],
    ) -> Line<'static> {
        let [age, after, node, who] = rest;
        let (wide, gap) = (self.ticket, " ".repeat(GAP));
        let after_width = wide.max("after".len());
        let node_text = in_the_middle(node, self.node);
        let padding = " ".repeat(self.node.saturating_sub(node_text.width()));
        let state_gap = " ".repeat(STATE_WIDTH.saturating_sub(state.width()));
        Line::from(vec![
            Span::raw(format!("{mark:MARK_WIDTH$}{ticket:>wide$}{gap}")),
            state,
            Span::raw(format!(
                "{state_gap}{gap}{age:>AGE_WIDTH$}{gap}{after:>after_width$}{gap}{node_text}\
                 {padding}{gap}{who}"
            )),
        ])
    }
}

/// Returns the root that a filter is about, or the first, and how many others there are.
fn root_text(live: &Live, filter: &str) -> String {
    match (live.root(filter), live.roots.len()) {
        (None, _) => "nothing".into(),
        (Some(root), 1) => root.clone(),
        (Some(root), count) => format!("{root} +{}", count - 1),
    }
}

/// Returns the label and the process in these columns. The process is short, so the label is cut.
/// Without processes, only a request without a label has one.
fn who(live: &Live, has_processes: bool, columns: usize) -> String {
    let (label, process) = (&live.label, &live.process);
    if !has_processes && !label.is_empty() {
        return in_the_middle(label, columns);
    }
    let space = if label.is_empty() || process.is_empty() { "" } else { " " };
    let left = columns.saturating_sub(process.width() + space.len());
    match left > 3 {
        true => format!("{}{space}{process}", in_the_middle(label, left)),
        false => in_the_middle(&format!("{label}{space}{process}"), columns),
    }
}

fn draw_rows(view: &View, palette: Palette, frame: &mut Frame, area: Rect, now: Instant) {
    let columns = Columns::new(view, area.width);
    let title = columns.line("", "ticket", Span::raw("state"), ["age", "after", "node", "who"]);
    let mut lines = vec![title.style(Style::new().add_modifier(Modifier::UNDERLINED))];
    let rows = view.rows.iter().enumerate().skip(view.top).take(view.page);
    for (row, ticket) in rows {
        let Some(live) = view.requests.get(*ticket) else { continue };
        let is_selected = row == view.selected;
        let after = live.waits_for.map(|ticket| format!("#{ticket}")).unwrap_or_default();
        let state = Span::styled(live.state.to_string(), palette.of(live.state));
        let line = columns.line(
            if is_selected { ">" } else { "" },
            &format!("#{ticket}"),
            state,
            [
                &live.age(now).to_string(),
                &after,
                &root_text(live, &view.filter),
                &who(live, columns.has_processes, columns.who),
            ],
        );
        let style = Style::new().add_modifier(Modifier::REVERSED);
        lines.push(if is_selected { line.style(style) } else { line });
    }
    if view.rows.is_empty() {
        let text = match view.filter.is_empty() {
            true => "  nobody holds or waits for anything here",
            false => "  nothing has these words; Esc removes the filter",
        };
        lines.push(Line::raw(text));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_details(view: &View, palette: Palette, frame: &mut Frame, area: Rect, now: Instant) {
    let Some((ticket, live)) = view.selected() else {
        return frame.render_widget(Block::bordered().title(" details "), area);
    };
    let width = usize::from(area.width.saturating_sub(2));
    let mut lines = vec![sentence(ticket, live, palette, now, width, "")];
    lines.extend(
        live.roots.iter().map(|root| Line::raw(in_the_middle(&format!("  {root}"), width))),
    );
    let mut waiter = live;
    for (depth, other) in view.requests.chain(ticket).into_iter().enumerate() {
        let Some(live) = view.requests.get(other) else { continue };
        let indent = "  ".repeat(depth.min(INDENTS_MAX));
        lines.push(sentence(other, live, palette, now, width, &format!("{indent}after ")));
        if let Some(how) = live.is_in_the_way_of(waiter) {
            lines.push(Line::raw(in_the_middle(&format!("{indent}  {how}"), width)));
        }
        waiter = live;
    }
    let behind = view.requests.behind(ticket);
    if !behind.is_empty() {
        let tickets: Vec<_> = behind.iter().map(|ticket| format!("#{ticket}")).collect();
        let text = format!("{} behind it: {}", behind.len(), tickets.join(", "));
        lines.push(Line::raw(in_the_middle(&text, width)));
    }
    let fits = usize::from(area.height.saturating_sub(2));
    if lines.len() > fits && fits > 0 {
        let hidden = lines.len() - (fits - 1);
        lines.truncate(fits - 1);
        lines.push(Line::raw(format!("and {hidden} more lines")));
    }
    let block = Block::bordered().title(format!(" #{ticket} "));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Returns a request in a line: `#4 waiting 1.1s "agent-9" (pid 4250)`.
fn sentence(
    ticket: u64,
    live: &Live,
    palette: Palette,
    now: Instant,
    width: usize,
    indent: &str,
) -> Line<'static> {
    let state = live.state.to_string();
    let before = format!("{indent}#{ticket} ");
    let left = width.saturating_sub(before.width() + state.width());
    let age = format!(" {} ", live.age(now));
    let after = format!("{age}{}", who(live, true, left.saturating_sub(age.width())));
    Line::from(vec![
        Span::raw(before),
        Span::styled(state, palette.of(live.state)),
        Span::raw(after),
    ])
}

/// Returns the last line: what is typed, what has happened, or the keys.
fn footer(view: &View, palette: Palette, now: Instant, width: u16) -> Paragraph<'static> {
    let width = usize::from(width);
    if view.mode == Mode::Filter {
        return Paragraph::new(in_the_middle(&format!("/{}_", view.filter), width));
    }
    if let Some(trouble) = view.trouble(now) {
        return Paragraph::new(in_the_middle(trouble, width)).style(palette.bad);
    }
    if let Some(message) = &view.message {
        return Paragraph::new(in_the_middle(message, width));
    }
    let keys = "q leave  ? keys  / filter  s sort  Enter details  b break";
    let filter = match view.filter.is_empty() {
        true => String::new(),
        false => format!("  filter: {}", view.filter),
    };
    let place = match view.rows.len() {
        0 => String::new(),
        rows => format!("{}/{rows}", view.selected + 1),
    };
    let text = in_the_middle(&format!("{keys}{filter}"), width.saturating_sub(place.width() + 1));
    let gap = " ".repeat(width.saturating_sub(text.width() + place.width()));
    Paragraph::new(format!("{text}{gap}{place}"))
}

/// Returns a description that fits, and the question behind it.
fn question_lines(lines: &[String], question: &str, area: Rect) -> Vec<String> {
    let fits = usize::from(area.height).saturating_sub(5).max(1);
    let mut shown: Vec<String> = lines.iter().take(fits).cloned().collect();
    if lines.len() > fits {
        shown.push(format!("  and {} more", lines.len() - fits));
    }
    shown.push(format!("{question} [y/N]"));
    shown
}

/// Draws lines in a box above everything else.
fn popup(frame: &mut Frame, title: &str, lines: &[String]) {
    let screen = frame.area();
    let longest = lines.iter().map(|line| line.width()).max().unwrap_or(0).max(title.width() + 2);
    let width = u16::try_from(longest + 4).unwrap_or(u16::MAX).min(screen.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(screen.height);
    let (x, y) = ((screen.width - width) / 2, (screen.height - height) / 2);
    let area = Rect::new(x, y, width, height);
    let fits = usize::from(width.saturating_sub(4));
    let lines: Vec<Line> =
        lines.iter().map(|line| Line::raw(format!(" {} ", in_the_middle(line, fits)))).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(format!(" {title} "))),
        area,
    );
}
