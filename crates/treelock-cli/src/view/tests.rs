//! What is seen on a screen of a given size after events and keys.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{
    Terminal,
    backend::TestBackend,
    style::{Color, Modifier},
};
use treelock::{
    Node, Request, State,
    engine::{Event, Process, Sighting, What},
};
use unicode_width::UnicodeWidthStr as _;

use super::{
    draw::{Palette, draw},
    state::{Effect, Mode, Sort, View},
};

/// A view on a screen, with a clock that stands still.
struct Shown {
    view: View,
    terminal: Terminal<TestBackend>,
    palette: Palette,
    now: Instant,
}

fn seen(ticket: u64, request: &Request, asked: u64) -> Sighting {
    Sighting {
        ticket,
        request: request.clone(),
        asked: Duration::from_secs(asked),
        granted: None,
        process: Some(Arc::new(Process { pid: 4200 + ticket as u32, host: None })),
    }
}

fn write(node: &str, label: &str) -> Request {
    Request::new().write(node).expect("a node").with_label(label)
}

fn live(ticket: u64, state: State, request: &Request, asked: u64) -> Event {
    Event::new(SystemTime::now(), What::Live(state, seen(ticket, request, asked)))
}

fn event(what: impl FnOnce(Sighting) -> What, ticket: u64, request: &Request) -> Event {
    Event::new(SystemTime::now(), what(seen(ticket, request, 0)))
}

impl Shown {
    fn new(width: u16, height: u16) -> Shown {
        let terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        Shown {
            view: View::new("dir:/srv/locks".into(), Node::root()),
            terminal,
            palette: Palette::new(true),
            now: Instant::now(),
        }
    }

    /// Two who hold, and two who wait, one behind the other.
    fn with_four(width: u16, height: u16) -> Shown {
        let mut shown = Shown::new(width, height);
        let two = write("src/auth", "agent-7").read("src/lib").expect("a node");
        shown.take(vec![
            live(1, State::Held, &two, 12),
            live(2, State::Held, &write("docs", "writer"), 8),
            live(3, State::Waiting, &write("src", "agent-8"), 2),
            live(4, State::Waiting, &write("src/lib/deep", "agent-9"), 1),
        ]);
        shown
    }

    fn take(&mut self, events: Vec<Event>) {
        self.view.take(events, self.now);
    }

    fn press(&mut self, code: KeyCode) -> Effect {
        // The number of rows is known once something was drawn.
        self.lines();
        self.view.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn type_in(&mut self, text: &str) {
        for char in text.chars() {
            assert_eq!(self.press(KeyCode::Char(char)), Effect::Nothing);
        }
    }

    /// The lines of the screen, without the spaces at their ends.
    fn lines(&mut self) -> Vec<String> {
        let (view, palette, now) = (&mut self.view, self.palette, self.now);
        self.terminal.draw(|frame| draw(view, palette, frame, now)).expect("it is drawn");
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let rows = buffer.content().chunks(width);
        let line = |cells: &[ratatui::buffer::Cell]| {
            let (mut text, mut skip) = (String::new(), 0);
            for cell in cells {
                // A wide character covers the cell behind it.
                if skip == 0 {
                    text.push_str(cell.symbol());
                    skip = cell.symbol().width();
                }
                skip -= 1;
            }
            text.trim_end().to_owned()
        };
        rows.map(line).collect()
    }

    fn screen(&mut self) -> String {
        self.lines().join("\n").trim_end().to_owned()
    }

    #[track_caller]
    fn assert_rows(&mut self, tickets: &[u64]) {
        let screen = self.screen();
        assert_eq!(self.view.rows, tickets, "{screen}");
    }

    fn selected(&self) -> Option<u64> {
        self.view.selected().map(|(ticket, _)| ticket)
    }
}

#[test]
fn requests_on_a_small_screen() {
    let mut shown = Shown::with_four(80, 24);
    let screen = shown.screen();
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(
        lines[..6].join("\n"),
        "\
treelock dir:/srv/locks  2 held  2 waiting                             by ticket
  ticket  state        age   after  node                 who
>     #1  held       12.0s          write /src/auth +1   \"agent-7\"
      #2  held        8.0s          write /docs          \"writer\"
      #3  waiting     2.0s      #1  write /src           \"agent-8\"
      #4  waiting     1.0s      #1  write /src/lib/deep  \"agent-9\""
    );
    assert_eq!(lines.len(), 24);
    assert_eq!(
        lines[23],
        "q leave  ? keys  / filter  s sort  Enter details  b break                    1/4"
    );
}

#[test]
fn the_readme_shows_the_view_as_it_is() {
    let mut shown = Shown::new(80, 15);
    shown.view.place = "dir:/home/you/.local/state/treelock".into();
    let auth = write("src/auth", "agent-7").read("src/lib").expect("a node");
    let docs = Request::new().read("docs").and_then(|request| request.read("src/lib"));
    let docs = docs.expect("good nodes").with_label("writer");
    shown.take(vec![
        live(1, State::Held, &auth, 12),
        live(2, State::Held, &docs, 8),
        live(3, State::Waiting, &write("src", "agent-8"), 1),
    ]);
    shown.press(KeyCode::End);
    shown.press(KeyCode::Enter);
    let screen = shown.screen();
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("```screen\n{screen}\n```")), "{screen}");
}

#[test]
fn requests_on_a_large_screen_have_processes() {
    let mut shown = Shown::with_four(200, 60);
    let lines = shown.lines();
    assert_eq!(lines.len(), 60);
    assert!(lines[2].ends_with("write /src/auth +1   \"agent-7\" (pid 4201)"), "{}", lines[2]);
    assert_eq!(shown.press(KeyCode::Enter), Effect::Nothing);
    let beside = shown.lines()[1].clone();
    assert!(beside.contains("who") && beside.ends_with('┐'), "details are beside: {beside}");
}

#[test]
fn details_show_who_waits_for_whom() {
    let mut shown = Shown::with_four(80, 24);
    shown.press(KeyCode::End);
    shown.press(KeyCode::Enter);
    let screen = shown.screen();
    for line in [
        "┌ #4 ─",
        "│#4 waiting 1.0s \"agent-9\" (pid 4204) ",
        "│  write /src/lib/deep ",
        "│after #1 held 12.0s \"agent-7\" (pid 4201) ",
        "│  read /src/lib, in the way of write /src/lib/deep ",
    ] {
        assert!(screen.contains(&format!("\n{line}")), "{line}\n{screen}");
    }
    shown.press(KeyCode::Home);
    assert!(shown.screen().contains("│2 behind it: #3, #4 "), "{}", shown.screen());
    // A blocker that waits itself: the chain goes on.
    shown.take(vec![event(|seen| What::Left(State::Held, seen), 1, &write("x", "x"))]);
    shown.take(vec![event(What::Granted, 3, &write("src", "agent-8"))]);
    shown.take(vec![event(What::Asked, 5, &write("src/lib/deep/er", "agent-5"))]);
    shown.take(vec![event(|seen| What::Left(State::Held, seen), 3, &write("x", "x"))]);
    shown.press(KeyCode::End);
    assert_eq!(shown.selected(), Some(5));
    assert!(shown.screen().contains("│after #4 waiting "), "{}", shown.screen());
    assert_eq!(shown.press(KeyCode::Esc), Effect::Nothing, "it closes the details");
    assert!(!shown.screen().contains('│'));
    assert_eq!(shown.press(KeyCode::Esc), Effect::Leave);
}

#[test]
fn events_change_what_is_shown() {
    let mut shown = Shown::with_four(80, 24);
    shown.press(KeyCode::Down);
    assert_eq!(shown.selected(), Some(2));
    let first = write("src/auth", "agent-7");
    shown.take(vec![
        event(|seen| What::Left(State::Held, seen), 1, &first),
        event(What::Granted, 3, &write("src", "agent-8")),
    ]);
    shown.assert_rows(&[2, 3, 4]);
    assert_eq!(shown.selected(), Some(2), "the same is selected in another row");
    let screen = shown.screen();
    assert!(screen.contains("  2 held  1 waiting "), "{screen}");
    assert!(screen.contains("\n      #3  held        0.0s          write /src "), "{screen}");
    assert!(screen.contains("\n      #4  waiting     1.0s      #3  write "), "{screen}");
    shown.take(vec![event(|seen| What::Left(State::Held, seen), 2, &first)]);
    assert_eq!(shown.selected(), Some(3), "the next one, if it has left");
    shown.take(vec![Event::new(SystemTime::now(), What::Missed(Some(7)))]);
    assert!(shown.screen().contains("  1 held  1 waiting  7 unseen "), "{}", shown.screen());
    shown.now += Duration::from_secs(60);
    assert!(shown.screen().contains("#4  waiting   1m 01s "), "{}", shown.screen());
}

#[test]
fn sorting() {
    let mut shown = Shown::with_four(80, 24);
    shown.take(vec![live(9, State::Held, &write("a", "old"), 100)]);
    shown.assert_rows(&[1, 2, 3, 4, 9]);
    for (sort, rows) in [
        (Sort::Age, [9, 1, 2, 3, 4]),
        (Sort::Node, [9, 2, 3, 1, 4]),
        (Sort::WaitsFor, [1, 3, 4, 2, 9]),
        (Sort::Ticket, [1, 2, 3, 4, 9]),
    ] {
        shown.press(KeyCode::Char('s'));
        assert_eq!(shown.view.sort, sort);
        shown.assert_rows(&rows);
        let lines = shown.lines();
        assert!(lines[0].ends_with(&format!("  by {}", sort.name())), "{}", lines[0]);
    }
    shown.press(KeyCode::Char('r'));
    shown.assert_rows(&[9, 4, 3, 2, 1]);
    assert!(shown.lines()[0].ends_with("by ticket, reversed"));
}

#[test]
fn filtering() {
    let mut shown = Shown::with_four(80, 24);
    shown.type_in("/Waiting ag");
    shown.assert_rows(&[3, 4]);
    assert_eq!(shown.lines()[23], "/Waiting ag_");
    assert!(shown.lines()[0].contains("2 of 4 shown"), "{}", shown.lines()[0]);
    shown.type_in("q"); // what is typed is no command
    shown.assert_rows(&[]);
    assert!(shown.screen().contains("nothing has these words"));
    shown.press(KeyCode::Backspace);
    shown.press(KeyCode::Enter);
    shown.assert_rows(&[3, 4]);
    assert!(shown.lines()[23].contains("  filter: Waiting ag"), "{}", shown.lines()[23]);
    shown.take(vec![event(What::Asked, 7, &write("src/lib", "agent-10"))]);
    shown.assert_rows(&[3, 4, 7]);
    assert_eq!(shown.press(KeyCode::Esc), Effect::Nothing, "it removes the filter");
    shown.assert_rows(&[1, 2, 3, 4, 7]);
    shown.type_in("/src/lib");
    let screen = shown.screen();
    assert!(screen.contains("#1  held       12.0s          read /src/lib +1 "), "{screen}");
    shown.press(KeyCode::Esc);
    assert_eq!((&shown.view.mode, shown.view.filter.as_str()), (&Mode::Browse, ""));
}

#[test]
fn only_what_concerns_the_node_is_shown() {
    let mut shown = Shown::with_four(80, 24);
    shown.view.node = "/src/auth".parse().expect("a node");
    shown.take(vec![event(What::Asked, 5, &write("docs", "x"))]);
    shown.assert_rows(&[1, 3]);
    assert!(shown.lines()[0].starts_with("treelock dir:/srv/locks /src/auth  2 held  3 waiting"));
}

#[test]
fn breaking_asks_first() {
    let mut shown = Shown::with_four(80, 24);
    for no in [KeyCode::Char('n'), KeyCode::Enter, KeyCode::Esc, KeyCode::Char('b')] {
        assert_eq!(shown.press(KeyCode::Char('b')), Effect::Propose(1));
        shown.view.ask(1, "#1 held by it\n  kept by pid 7: sleep", "End these?".into());
        let screen = shown.screen();
        assert!(screen.contains("┌ break #1 ─"), "{screen}");
        assert!(screen.contains("│ End these? [y/N] "), "{screen}");
        assert_eq!(shown.press(no), Effect::Nothing);
        assert_eq!(shown.lines()[23], "nothing was changed");
    }
    assert_eq!(shown.press(KeyCode::Char('b')), Effect::Propose(1));
    // The selection may move before the answer; the question is about the same ticket.
    shown.press(KeyCode::Down);
    shown.view.ask(1, "#1 held by it", "End these?".into());
    assert_eq!(shown.press(KeyCode::Char('y')), Effect::Break(1));
    assert_eq!(shown.press(KeyCode::Char('b')), Effect::Nothing);
    assert_eq!(shown.lines()[23], "#1 is being broken already");
    shown.view.broken("sent SIGTERM to 7; #1 is free now".into());
    assert_eq!(shown.lines()[23], "sent SIGTERM to 7; #1 is free now");
    assert_eq!(shown.press(KeyCode::Char('b')), Effect::Propose(2));
}

#[test]
fn a_description_that_is_too_long_does_not_hide_the_question() {
    let mut shown = Shown::with_four(80, 24);
    let lines: Vec<String> = (0..100).map(|pid| format!("  kept by pid {pid}")).collect();
    shown.view.ask(1, &lines.join("\n"), "End these?".into());
    let screen = shown.screen();
    assert!(screen.contains("  and 81 more ") && screen.contains("End these? [y/N]"), "{screen}");
}

#[test]
fn leaving_and_other_keys() {
    let control = |char| KeyEvent::new(KeyCode::Char(char), KeyModifiers::CONTROL);
    for mode in [Mode::Browse, Mode::Filter, Mode::Help] {
        let mut shown = Shown::with_four(80, 24);
        shown.view.mode = mode;
        assert_eq!(shown.view.key(control('c')), Effect::Interrupt);
        assert_eq!(shown.view.key(control('z')), Effect::Suspend);
        assert_eq!(shown.view.key(control('l')), Effect::Redraw);
    }
    let mut shown = Shown::with_four(80, 24);
    assert_eq!(shown.press(KeyCode::Char('?')), Effect::Nothing);
    assert!(shown.screen().contains("┌ keys ─"), "{}", shown.screen());
    assert_eq!(shown.press(KeyCode::Char('x')), Effect::Nothing);
    assert!(!shown.screen().contains("┌ keys ─"));
    assert_eq!(shown.press(KeyCode::Char('q')), Effect::Leave);
}

#[test]
fn trouble_is_shown_as_long_as_it_lasts() {
    let mut shown = Shown::with_four(80, 24);
    shown.view.fail("etcd does not answer".into(), shown.now);
    shown.now += Duration::from_secs(14);
    assert_eq!(shown.lines()[23], "etcd does not answer");
    shown.now += Duration::from_secs(1);
    assert!(shown.lines()[23].starts_with("q leave"), "it was not said again");
    shown.view.fail("etcd does not answer".into(), shown.now);
    shown.take(vec![event(What::Asked, 5, &write("docs", "x"))]);
    assert!(shown.lines()[23].starts_with("q leave"), "something was heard");
}

/// Every line fits whatever the size, and nothing panics.
#[test]
fn long_names_and_many_requests_on_every_screen() {
    let long = |end: &str| format!("{}{end}", "wide日本".repeat(29));
    let events = (1..=2_000).map(|ticket| {
        let node = format!("{}/{ticket}", long("node"));
        live(ticket, State::Held, &write(&node, &long("label")), ticket)
    });
    let mut shown = Shown::new(80, 24);
    shown.take(events.collect());
    shown.press(KeyCode::End);
    assert_eq!(shown.selected(), Some(2_000));
    let lines = shown.lines();
    assert!(lines[22].starts_with(">  #2000  held  "), "{}", lines[22]);
    assert!(lines[22].contains("…") && lines[22].contains("label\""), "{}", lines[22]);
    assert!(lines[22].contains("node/2000  "), "both ends of a node are seen: {}", lines[22]);
    shown.press(KeyCode::PageUp);
    assert_eq!(shown.selected(), Some(1_979));
    shown.press(KeyCode::PageDown);
    shown.press(KeyCode::Up);
    assert_eq!(shown.selected(), Some(1_999));
    shown.press(KeyCode::Enter);
    for (width, height) in [(200, 60), (130, 10), (40, 12), (20, 5), (3, 3), (1, 1), (80, 1)] {
        for mode in [Mode::Browse, Mode::Help, Mode::Filter] {
            shown.terminal.backend_mut().resize(width, height);
            shown.view.mode = mode;
            shown.lines();
            let (top, selected) = (shown.view.top, shown.view.selected);
            assert!((top..top + shown.view.page).contains(&selected), "{width}x{height}");
        }
    }
}

#[test]
fn without_colour_marks_are_left() {
    for is_coloured in [true, false] {
        let mut shown = Shown::with_four(80, 24);
        shown.palette = Palette::new(is_coloured);
        assert!(shown.lines()[2].starts_with('>'));
        let buffer = shown.terminal.backend().buffer();
        let has_colour = buffer.content().iter().any(|cell| cell.fg != Color::Reset);
        assert_eq!(has_colour, is_coloured);
        assert!(buffer[(5, 2)].modifier.contains(Modifier::REVERSED));
    }
}
