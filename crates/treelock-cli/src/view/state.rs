//! What the view shows, and what keys and events change: a machine without terminal, clock or I/O.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use treelock::{Node, engine::Event};

use super::requests::{Live, Requests};

/// How long a failure counts. It is said again as long as it lasts, on a cluster every ten seconds.
const TROUBLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The state of the view.
pub(super) struct View {
    /// The lock, as text.
    pub(super) place: String,
    /// Only requests at, above or below this node are shown.
    pub(super) node: Node,
    pub(super) requests: Requests,
    /// The tickets that are shown, in order.
    pub(super) rows: Vec<u64>,
    /// The index of the selected row.
    pub(super) selected: usize,
    /// The index of the first row on the screen.
    pub(super) top: usize,
    /// How many rows the screen has, as it was drawn last.
    pub(super) page: usize,
    pub(super) sort: Sort,
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) shows_details: bool,
    /// What has happened to the last command.
    pub(super) message: Option<String>,
    /// Why the table could not be read, and when that was said last.
    trouble: Option<(String, Instant)>,
    /// The ticket that is being broken.
    pub(super) breaking: Option<u64>,
}

/// What keys mean at the moment.
#[derive(Debug, PartialEq)]
pub(super) enum Mode {
    Browse,
    /// The filter is typed.
    Filter,
    Help,
    /// A question is to be answered: a description, and the question.
    Confirm {
        ticket: u64,
        lines: Vec<String>,
        question: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Ticket,
    /// The longest first.
    Age,
    Node,
    /// Each holder, then those who wait for it.
    WaitsFor,
}

/// What the program has to do about a key.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    Nothing,
    Leave,
    /// End as if by SIGINT.
    Interrupt,
    /// Stop, as Ctrl-Z does elsewhere.
    Suspend,
    /// Draw everything again.
    Redraw,
    /// Find out what breaking this ticket would mean.
    Propose(u64),
    /// Break this ticket, as was proposed.
    Break(u64),
}

impl Sort {
    pub(super) fn name(self) -> &'static str {
        match self {
            Sort::Ticket => "ticket",
            Sort::Age => "age",
            Sort::Node => "node",
            Sort::WaitsFor => "waits for",
        }
    }

    fn next(self) -> Sort {
        match self {
            Sort::Ticket => Sort::Age,
            Sort::Age => Sort::Node,
            Sort::Node => Sort::WaitsFor,
            Sort::WaitsFor => Sort::Ticket,
        }
    }
}

impl View {
    pub(super) fn new(place: String, node: Node) -> View {
        View {
            place,
            node,
            requests: Requests::default(),
            rows: Vec::new(),
            selected: 0,
            top: 0,
            page: 1,
            sort: Sort::Ticket,
            is_reversed: false,
            filter: String::new(),
            mode: Mode::Browse,
            shows_details: false,
            message: None,
            trouble: None,
            breaking: None,
        }
    }

    /// Returns the selected request.
    pub(super) fn selected(&self) -> Option<(u64, &Live)> {
        let ticket = *self.rows.get(self.selected)?;
        Some((ticket, self.requests.get(ticket)?))
    }

    /// Notes that the table cannot be read `now`.
    pub(super) fn fail(&mut self, why: String, now: Instant) {
        self.trouble = Some((why, now));
    }

    /// Returns why the table cannot be read, if that was said lately.
    pub(super) fn trouble(&self, now: Instant) -> Option<&str> {
        let (why, said) = self.trouble.as_ref()?;
        (now.saturating_duration_since(*said) < TROUBLE_TIMEOUT).then_some(why)
    }

    /// Takes in events that are told `now`.
    pub(super) fn take(&mut self, events: Vec<Event>, now: Instant) {
        if events.is_empty() {
            return;
        }
        self.trouble = None;
        events.into_iter().for_each(|event| self.requests.take(event, now));
        self.requests.update();
        self.arrange();
    }

    /// Determines the rows. The same request stays selected; if it has left, the one in its place
    /// is.
    fn arrange(&mut self) {
        let selected = self.rows.get(self.selected).copied();
        let shown = self.requests.iter();
        let shown = shown.filter(|(_, live)| live.concerns(&self.node) && live.has(&self.filter));
        let mut rows: Vec<(u64, &Live)> = shown.collect();
        match self.sort {
            Sort::Ticket => {}
            Sort::Age => rows.sort_by_key(|(_, live)| live.since),
            Sort::Node => rows.sort_by_key(|(_, live)| live.node()),
            Sort::WaitsFor => rows.sort_by_key(|(ticket, live)| live.waits_for.unwrap_or(*ticket)),
        }
        self.rows = rows.into_iter().map(|(ticket, _)| ticket).collect();
        if self.is_reversed {
            self.rows.reverse();
        }
        let place = selected.and_then(|ticket| self.rows.iter().position(|row| *row == ticket));
        self.select(place.unwrap_or(self.selected));
    }

    fn select(&mut self, row: usize) {
        self.selected = row.min(self.rows.len().saturating_sub(1));
        self.scroll();
    }

    /// Notes how many rows the screen has.
    pub(super) fn set_page(&mut self, rows: usize) {
        self.page = rows.max(1);
        self.scroll();
    }

    /// Keeps the selected row on the screen, and the screen full.
    fn scroll(&mut self) {
        let last_top = self.rows.len().saturating_sub(self.page);
        let first_top = (self.selected + 1).saturating_sub(self.page);
        self.top = self.top.clamp(first_top, self.selected.max(first_top)).min(last_top);
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Effect {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return Effect::Interrupt,
            KeyCode::Char('z') if is_control => return Effect::Suspend,
            KeyCode::Char('l') if is_control => return Effect::Redraw,
            _ => {}
        }
        match self.mode {
            Mode::Browse => self.browse(key.code),
            Mode::Filter => self.type_filter(key.code, is_control),
            Mode::Help => {
                self.mode = Mode::Browse;
                if key.code == KeyCode::Char('q') { Effect::Leave } else { Effect::Nothing }
            }
            Mode::Confirm { ticket, .. } => self.confirm(key.code, ticket),
        }
    }

    fn browse(&mut self, key: KeyCode) -> Effect {
        self.message = None;
        if self.travel(key) {
            return Effect::Nothing;
        }
        match key {
            KeyCode::Char('q') => return Effect::Leave,
            KeyCode::Esc if self.shows_details => self.shows_details = false,
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.arrange();
            }
            KeyCode::Esc => return Effect::Leave,
            KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)),
            KeyCode::Char('j') => self.select(self.selected + 1),
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                self.arrange();
            }
            KeyCode::Char('r') => {
                self.is_reversed = !self.is_reversed;
                self.arrange();
            }
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Enter => self.shows_details = !self.shows_details,
            KeyCode::Char('b') => return self.propose(),
            _ => {}
        }
        Effect::Nothing
    }

    /// Moves through the rows. Returns whether the key means that.
    fn travel(&mut self, key: KeyCode) -> bool {
        let row = match key {
            KeyCode::Up => self.selected.saturating_sub(1),
            KeyCode::Down => self.selected + 1,
            KeyCode::PageUp => self.selected.saturating_sub(self.page),
            KeyCode::PageDown => self.selected + self.page,
            KeyCode::Home => 0,
            KeyCode::End => usize::MAX,
            _ => return false,
        };
        self.select(row);
        true
    }

    fn type_filter(&mut self, key: KeyCode, is_control: bool) -> Effect {
        match key {
            KeyCode::Enter => self.mode = Mode::Browse,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Browse;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char('u') if is_control => self.filter.clear(),
            KeyCode::Char(char) if !is_control => self.filter.push(char),
            other => {
                self.travel(other);
                return Effect::Nothing;
            }
        }
        self.arrange();
        Effect::Nothing
    }

    fn propose(&mut self) -> Effect {
        match (self.breaking, self.selected()) {
            (Some(ticket), _) => self.message = Some(format!("#{ticket} is being broken already")),
            (None, Some((ticket, _))) => {
                self.breaking = Some(ticket);
                return Effect::Propose(ticket);
            }
            (None, None) => {}
        }
        Effect::Nothing
    }

    fn confirm(&mut self, key: KeyCode, ticket: u64) -> Effect {
        self.mode = Mode::Browse;
        if let KeyCode::Char('y' | 'Y') = key {
            self.message = Some(format!("breaking #{ticket}; this may take some seconds"));
            return Effect::Break(ticket);
        }
        self.breaking = None;
        self.message = Some("nothing was changed".into());
        Effect::Nothing
    }

    /// Asks whether to do what was proposed.
    pub(super) fn ask(&mut self, ticket: u64, description: &str, question: String) {
        let lines = description.lines().map(str::to_owned).collect();
        self.mode = Mode::Confirm { ticket, lines, question };
    }

    /// Shows what has become of breaking a ticket.
    pub(super) fn broken(&mut self, sentence: String) {
        self.breaking = None;
        self.message = Some(sentence);
    }
}
