//! The view of `ls --watch`, in a terminal.

use rustix::process::Signal;

use crate::{
    scene::{Running, Scene, TREELOCK, kill, state, until},
    terminal::Terminal,
};

const WATCH: [&str; 2] = ["ls", "--watch"];

fn watch(scene: &Scene) -> Terminal {
    let terminal = Terminal::start(scene, &WATCH);
    terminal.until_shown("b break");
    assert!(terminal.is_alternate());
    terminal
}

/// Waits until the shell's screen is back as it was, with its modes.
#[track_caller]
fn until_restored(terminal: &Terminal) {
    until("the screen is back", || !terminal.is_alternate());
    let bytes = terminal.bytes();
    let last = |sequence: &str| {
        bytes.windows(sequence.len()).rposition(|window| window == sequence.as_bytes())
    };
    assert!(last("\x1b[?25h") > last("\x1b[?25l"), "the cursor is seen again");
}

#[test]
fn changes_are_shown() {
    let scene = Scene::new();
    let _first = scene.hold(&["-w", "src/auth", "--label", "agent-7"]);
    let mut terminal = watch(&scene);
    terminal.until_shown("1 held  0 waiting");
    let mut second = scene.hold(&["-w", "docs", "--label", "another"]);
    terminal.until_shown("\"another\"");
    let _waiter = scene.wait(&["-w", "src", "--label", "behind"]);
    terminal.until_shown("2 held  1 waiting");
    let line = |what: &str| {
        let screen = terminal.screen();
        screen.lines().find(|line| line.contains(what)).unwrap_or_default().to_owned()
    };
    until("its blocker is shown", || {
        line("behind").contains("#3  waiting") && line("behind").contains(" #1  write /src ")
    });
    assert_eq!(second.finish(), 0);
    until("it is gone", || !terminal.screen().contains("another"));
    terminal.type_in("q");
    assert_eq!(terminal.code(), 0);
    until_restored(&terminal);
    assert_eq!(terminal.screen().trim(), "", "nothing is left of it");
}

#[test]
fn keys_of_a_terminal() {
    let scene = Scene::new();
    let _first = scene.hold(&["-w", "a", "--label", "one"]);
    let _second = scene.hold(&["-w", "b", "--label", "two"]);
    let mut terminal = watch(&scene);
    terminal.until_shown("1/2");
    for (keys, shown) in [
        ("\x1b[B", "2/2"), // Down
        ("\x1b[A", "1/2"), // Up
        ("\x1b[F", "2/2"), // End
        ("\x1b[H", "1/2"), // Home
        ("\r", "┌ #1 "),   // Enter
        ("s", "by age"),
        ("?", "┌ keys "),
        ("x", "b break"),
        ("/two", "/two_"),
        ("\r", "1 of 2 shown"),
    ] {
        terminal.type_in(keys);
        terminal.until_shown(shown);
    }
    terminal.resize(12, 60);
    // The last line is drawn last.
    let is_drawn = |terminal: &Terminal, has_details: bool| {
        let screen = terminal.screen();
        let last = screen.lines().last().unwrap_or_default();
        last.starts_with("q leave") && screen.contains("┌ #2 ") == has_details
    };
    until("it is drawn anew", || is_drawn(&terminal, true));
    terminal.type_in("\x0c"); // Ctrl-L
    terminal.type_in("\x1b"); // closes the details
    until("the details are closed", || is_drawn(&terminal, false));
    terminal.type_in("\x1b"); // removes the filter
    terminal.until_shown("\"one\"");
    terminal.type_in("\x1b");
    assert_eq!(terminal.code(), 0);
    until_restored(&terminal);
}

#[test]
fn a_request_is_broken_after_a_question() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a", "--label", "it"]);
    let mut terminal = watch(&scene);
    terminal.until_shown("\"it\"");
    terminal.type_in("b");
    terminal.until_shown("End these processes to free #1? [y/N]");
    terminal.until_shown(&format!("kept by pid {}: ", holder.command));
    terminal.type_in("n");
    terminal.until_shown("nothing was changed");
    assert_eq!(scene.counts(), (1, 0));
    terminal.type_in("b");
    terminal.until_shown("[y/N]");
    terminal.type_in("y");
    terminal.until_shown(&format!("sent SIGTERM to {}; #1 is free now", holder.id()));
    terminal.until_shown("0 held  0 waiting");
    assert_eq!(holder.code(), 128 + 15);
    terminal.type_in("q");
    assert_eq!(terminal.code(), 0);
}

/// The shell that watches may run under a lock itself.
#[test]
fn the_view_does_not_break_what_it_runs_under() {
    let scene = Scene::new();
    let nested = [TREELOCK, "run", "-w", "a", "--label", "outer", "--", TREELOCK, "ls", "--watch"];
    let mut terminal = Terminal::of(&scene, &nested, &[]);
    terminal.until_shown("\"outer\"");
    terminal.type_in("b");
    terminal.until_shown("this command runs under that ticket");
    terminal.type_in("q");
    assert_eq!(terminal.code(), 0);
}

#[test]
fn the_terminal_is_restored_however_it_ends() {
    let scene = Scene::new();
    for (signal, code) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::QUIT, 3)] {
        let mut terminal = watch(&scene);
        kill(terminal.pid(), signal);
        assert_eq!(terminal.code(), 128 + code);
        until_restored(&terminal);
    }
    let mut terminal = watch(&scene);
    kill(terminal.pid(), Signal::INT);
    assert!(terminal.is_interrupted());
    until_restored(&terminal);
    let mut terminal = watch(&scene);
    terminal.type_in("\x03");
    assert!(terminal.is_interrupted());
    until_restored(&terminal);
}

#[test]
fn control_z_gives_the_terminal_to_the_shell_and_fg_takes_it_back() {
    let scene = Scene::new();
    let _holder = scene.hold(&["-w", "a", "--label", "it"]);
    let mut terminal = Terminal::of(&scene, &["sh", "-i"], &[("PS1", "> "), ("ENV", "")]);
    terminal.until_shown("> ");
    terminal.type_in(&format!("{TREELOCK} ls --watch\r"));
    terminal.until_shown("\"it\"");
    terminal.type_in("\x1a");
    terminal.until_shown("Stopped");
    assert!(!terminal.is_alternate());
    terminal.type_in("fg\r");
    terminal.until_shown("b break");
    terminal.until_shown("\"it\"");
    terminal.type_in("q");
    until_restored(&terminal);
    terminal.type_in("echo code $?\r");
    terminal.until_shown("code 0");
}

#[test]
fn a_terminal_that_is_gone_ends_the_view() {
    let scene = Scene::new();
    let mut terminal = watch(&scene);
    let pid = terminal.pid();
    terminal.hang_up();
    until("it has ended", || ['Z', '-'].contains(&state(pid)));
}

#[test]
fn without_colour_and_on_dumb_terminals() {
    let scene = Scene::new();
    let _holder = scene.hold(&["-w", "a", "--label", &"long".repeat(20)]);
    let is_green =
        |terminal: &Terminal| String::from_utf8(terminal.bytes()).unwrap().contains("\x1b[38;5;2");
    for (environment, colour) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let mut terminal = Terminal::with(&scene, &WATCH, environment);
        terminal.until_shown(">     #1  held ");
        assert_eq!(is_green(&terminal), colour);
        terminal.type_in("q");
        assert_eq!(terminal.code(), 0);
    }
    let watch = [TREELOCK, "ls", "--watch"];
    for how in [&["env", "TERM=dumb"][..], &["env", "-u", "TERM"]] {
        let mut dumb = Terminal::of(&scene, &[how, &watch].concat(), &[]);
        dumb.until_shown("long");
        let mut second = scene.hold(&["-w", "b", "--label", "another"]);
        dumb.until_shown("another");
        assert_eq!(second.finish(), 0);
        assert!(!dumb.bytes().contains(&0x1b), "{}", dumb.screen());
        dumb.type_in("\x03");
        assert!(dumb.is_interrupted());
    }
}

/// Many requests with long names: every line fits, and keys are answered.
#[test]
fn a_crowd() {
    let scene = Scene::new();
    let long = "name".repeat(50);
    let holders: Vec<Running> =
        (0..30).map(|n| scene.hold(&["-w", &format!("{long}/{n}"), "--label", &long])).collect();
    for (rows, cols) in [(24, 80), (60, 200)] {
        let mut terminal = Terminal::sized((rows, cols), &scene, &[TREELOCK, "ls", "--watch"], &[]);
        terminal.until_shown("30 held  0 waiting");
        terminal.type_in("\x1b[F"); // End
        terminal.until_shown("30/30");
        let screen = terminal.screen();
        assert_eq!(screen.lines().count(), usize::from(rows), "{screen}");
        let last = screen.lines().find(|line| line.starts_with(">    #30  held")).unwrap();
        assert!(last.contains('…') && last.contains("/29  "), "{screen}");
        terminal.type_in("q");
        assert_eq!(terminal.code(), 0);
    }
    drop(holders);
}
