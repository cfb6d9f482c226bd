//! What is seen on a terminal, and what Ctrl-C does there.

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use rustix::process::Signal;

use crate::{
    scene::{MARK, Scene, TREELOCK, can, children, kill, state, until},
    timeless::timeless,
};

/// A command in a terminal of its own.
pub(crate) struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Option<Box<dyn std::io::Write + Send>>,
    /// What came, and what is to be seen of it.
    output: Arc<Mutex<(Vec<u8>, vt100::Parser)>>,
    master: Option<Box<dyn MasterPty + Send>>,
    reading: Option<JoinHandle<()>>,
    is_closing: Arc<AtomicBool>,
}

impl Terminal {
    pub(crate) fn start(scene: &Scene, arguments: &[&str]) -> Terminal {
        Terminal::with(scene, arguments, &[])
    }

    pub(crate) fn with(
        scene: &Scene,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Terminal {
        Terminal::of(scene, &[&[TREELOCK], arguments].concat(), environment)
    }

    pub(crate) fn of(
        scene: &Scene,
        command_line: &[&str],
        environment: &[(&str, &str)],
    ) -> Terminal {
        Terminal::sized((24, 100), scene, command_line, environment)
    }

    /// In a terminal with these rows and columns.
    pub(crate) fn sized(
        (rows, cols): (u16, u16),
        scene: &Scene,
        command_line: &[&str],
        environment: &[(&str, &str)],
    ) -> Terminal {
        let size = PtySize { rows, cols, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new("env");
        command.arg("--default-signal");
        command.args(command_line);
        command.cwd(scene.dir());
        command.env("TREELOCK_DIR", scene.table());
        command.env(MARK, scene.dir());
        command.env("TERM", "xterm-256color");
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            command.env_remove(name);
        }
        for name in ["TREELOCK_TICKET", "TREELOCK_TOKEN", "TREELOCK_URL"] {
            command.env_remove(name);
        }
        environment.iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let output = Arc::new(Mutex::new((Vec::new(), vt100::Parser::new(rows, cols, 0))));
        let shared = Arc::clone(&output);
        let is_closing = Arc::new(AtomicBool::new(false));
        let closes = Arc::clone(&is_closing);
        let reading = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer)
                && !closes.load(Relaxed)
            {
                let (bytes, screen) = &mut *shared.lock().unwrap();
                bytes.extend(&buffer[..count]);
                screen.process(&buffer[..count]);
            }
        });
        let keyboard = pair.master.take_writer().unwrap();
        let (keyboard, master) = (Some(keyboard), Some(pair.master));
        Terminal { child, keyboard, output, master, reading: Some(reading), is_closing }
    }

    pub(crate) fn screen(&self) -> String {
        self.output.lock().unwrap().1.screen().contents()
    }

    /// Whether a full-screen program has the screen.
    pub(crate) fn is_alternate(&self) -> bool {
        self.output.lock().unwrap().1.screen().alternate_screen()
    }

    /// Makes the window larger or smaller.
    pub(crate) fn resize(&self, rows: u16, cols: u16) {
        self.output.lock().unwrap().1.screen_mut().set_size(rows, cols);
        let size = PtySize { rows, cols, ..PtySize::default() };
        self.master.as_ref().unwrap().resize(size).unwrap();
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.output.lock().unwrap().0.clone()
    }

    #[track_caller]
    pub(crate) fn until_shown(&self, text: &str) {
        until(&format!("{text:?} is shown"), || self.screen().contains(text));
    }

    pub(crate) fn type_in(&mut self, keys: &str) {
        self.keyboard.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Closes the window, or the connection.
    pub(crate) fn hang_up(&mut self) {
        // The reader has the terminal open too, and looks up only when something comes: this one's
        // echo.
        self.is_closing.store(true, Relaxed);
        self.type_in("x");
        self.reading.take().unwrap().join().unwrap();
        (self.keyboard, self.master) = (None, None);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    #[track_caller]
    pub(crate) fn code(&mut self) -> u32 {
        let status = self.status();
        assert_eq!(status.signal(), None);
        status.exit_code()
    }

    /// Whether SIGINT ended it.
    #[track_caller]
    pub(crate) fn is_interrupted(&mut self) -> bool {
        self.status().signal() == Some("Interrupt")
    }

    #[track_caller]
    pub(crate) fn status(&mut self) -> ExitStatus {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

#[test]
fn the_waiting_line() {
    let scene = Scene::new();
    let mut first = scene.hold(&["-r", "src/auth", "--label", "agent-7"]);
    let mut second = scene.hold(&["-r", "src/lib", "--label", "agent-8"]);
    let mut terminal = Terminal::start(&scene, &["run", "-w", "src", "--", "echo", "granted"]);
    let pid = first.id();
    terminal
        .until_shown(&format!("s, 2 ahead, for \"agent-7\" (pid {pid}): read /src/auth held for "));
    terminal.until_shown("waiting 2s, 2 ahead"); // it goes on
    assert_eq!(first.finish(), 0);
    terminal.until_shown("s, 1 ahead, for \"agent-8\"");
    assert_eq!(second.finish(), 0);
    assert_eq!(terminal.code(), 0);
    terminal.until_shown("granted");
    assert_eq!(terminal.screen().trim(), "granted", "the line is gone");
}

#[test]
fn no_waiting_line_for_who_need_not_wait() {
    let scene = Scene::new();
    let mut terminal = Terminal::start(&scene, &["run", "-w", "src", "--", "echo", "granted"]);
    assert_eq!(terminal.code(), 0);
    terminal.until_shown("granted");
    assert_eq!(terminal.bytes(), b"granted\r\n");
}

#[test]
fn no_waiting_line_if_it_is_to_be_quiet() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut terminal = Terminal::start(&scene, &["run", "-q", "-w", "a", "--", "echo", "granted"]);
    scene.until_counts(1, 1);
    assert_eq!(holder.finish(), 0);
    assert_eq!(terminal.code(), 0);
    terminal.until_shown("granted");
    assert_eq!(terminal.bytes(), b"granted\r\n");
}

#[test]
fn control_c_ends_a_wait() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut terminal = Terminal::start(&scene, &["run", "-w", "a", "--", "true"]);
    terminal.until_shown("waiting ");
    terminal.type_in("\x03");
    assert!(terminal.is_interrupted());
    assert_eq!(scene.counts(), (1, 0));
    until("the line is gone", || terminal.screen().trim().is_empty());
    assert_eq!(holder.finish(), 0);
}

#[test]
fn control_c_reaches_the_command_once() {
    let scene = Scene::new();
    // The command ends at SIGUSR1, which is forwarded after whatever was forwarded before.
    let script = "trap 'echo INT >> got' INT; trap 'kill -KILL $!; exit 4' USR1; \
                  trap 'echo ready' USR2; echo up; sleep 600 & while :; do wait; done";
    let mut terminal = Terminal::start(&scene, &["run", "-w", "a", "--", "sh", "-c", script]);
    terminal.until_shown("up");
    // Whoever forwards this one knows that the command is started, and has it.
    kill(terminal.pid(), Signal::USR2);
    terminal.until_shown("ready");
    terminal.type_in("\x03");
    until("it got it", || scene.path("got").exists());
    assert_eq!(scene.counts(), (1, 0), "the wrapper goes on waiting for its command");
    kill(terminal.pid(), Signal::USR1);
    assert_eq!(terminal.code(), 4);
    assert_eq!(fs::read_to_string(scene.path("got")).unwrap(), "INT\n");
}

/// A fork has its parent's handlers until it becomes the command, and the kernel sends to both but
/// once.
#[test]
fn control_c_reaches_a_command_that_is_about_to_start() {
    let scene = Scene::new();
    // Each name that is looked up takes a moment, in which it is a fork.
    let path = format!("{}/usr/bin:/bin", "x:".repeat(60_000));
    for _ in 0..10 {
        let command_line = [TREELOCK, "run", "-w", "a", "--", "sleep", "600"];
        let mut terminal = Terminal::of(&scene, &command_line, &[("PATH", &path)]);
        until("it has forked", || !children(terminal.pid()).is_empty());
        terminal.type_in("\x03");
        assert!(terminal.is_interrupted());
        assert_eq!(scene.counts(), (0, 0));
    }
}

#[test]
fn control_c_ends_a_loop() {
    let scene = Scene::new();
    let script = format!(
        "for i in 1 2 3; do echo round $i; {TREELOCK} run -w a -- sh -c 'echo up; \
             exec sleep 600'; done; echo it went on"
    );
    let mut terminal = Terminal::of(&scene, &["bash", "-c", &script], &[]);
    terminal.until_shown("up");
    terminal.type_in("\x03");
    assert!(terminal.is_interrupted());
    // While one waits, too.
    let mut holder = scene.hold(&["-w", "a"]);
    let mut terminal = Terminal::of(&scene, &["bash", "-c", &script], &[]);
    terminal.until_shown("waiting ");
    terminal.type_in("\x03");
    assert!(terminal.is_interrupted());
    assert!(!terminal.screen().contains("round 2"), "{}", terminal.screen());
    assert_eq!(holder.finish(), 0);
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn a_job_that_is_led_from_outside_of_its_namespace() {
    let namespace = ["unshare", "-pf", "--mount-proc"];
    if !can(&[&namespace[..], &["true"]].concat()) {
        return;
    }
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let waiting = [&namespace[..], &[TREELOCK, "run", "-w", "a", "--", "echo", "it ran"]].concat();
    let mut terminal = Terminal::of(&scene, &waiting, &[]);
    terminal.until_shown(", 1 ahead, for ");
    assert_eq!(holder.finish(), 0);
    assert_eq!(terminal.code(), 0);
    terminal.until_shown("it ran");
}

#[test]
fn break_asks() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a", "--label", "it"]);
    for answer in ["n\r", "\r", "\x04"] {
        let mut terminal = Terminal::start(&scene, &["break", "1"]);
        terminal.until_shown("to free #1? [y/N] ");
        terminal.type_in(answer);
        assert_eq!(terminal.code(), 1);
        terminal.until_shown("nothing was changed");
    }
    // Also if a document is wanted, which is then none.
    let mut terminal = Terminal::start(&scene, &["break", "1", "--json"]);
    terminal.until_shown(&format!("  kept by pid {}: sh -c echo $$", holder.command));
    terminal.until_shown("[y/N] ");
    terminal.type_in("n\r");
    assert_eq!(terminal.code(), 1);
    assert!(!terminal.screen().contains('{'), "{}", terminal.screen());
    assert_eq!(scene.counts(), (1, 0));
    let mut terminal = Terminal::start(&scene, &["break", "1"]);
    terminal.until_shown("[y/N] ");
    assert!(terminal.screen().contains(&format!("by \"it\" (pid {}): write /a", holder.id())));
    terminal.type_in("y\r");
    assert_eq!(terminal.code(), 0);
    terminal.until_shown("#1 is free now");
    assert_eq!(holder.code(), 128 + 15);
}

#[test]
fn colour_on_terminals_only() {
    let scene = Scene::new();
    let _holder = scene.hold(&["-w", "a"]);
    let colour = |environment: &[(&str, &str)]| {
        let mut terminal = Terminal::with(&scene, &["ls"], environment);
        terminal.until_shown("#1 write held ");
        assert_eq!(terminal.code(), 0);
        terminal.bytes().contains(&0x1b)
    };
    assert!(colour(&[]));
    assert!(!colour(&[("NO_COLOR", "1")]));
    assert!(!colour(&[("TERM", "dumb")]));
    let elsewhere = |environment: &[(&str, &str)]| {
        let mut ls = scene.treelock(["ls"]);
        let output = ls.envs(environment.iter().copied()).output().unwrap();
        output.stdout.contains(&0x1b)
    };
    assert!(!elsewhere(&[]));
    assert!(elsewhere(&[("CLICOLOR_FORCE", "1")]));
    assert!(!elsewhere(&[("NO_COLOR", "1")]));
}

#[test]
fn the_readme_shows_the_waiting_line_as_it_is() {
    let scene = Scene::new();
    let _holder = scene.hold(&["-w", "src/auth", "--label", "agent-7"]);
    let terminal = Terminal::start(&scene, &["run", "-w", "src", "--", "true"]);
    terminal.until_shown(", 1 ahead, for ");
    let line = timeless(terminal.screen().trim());
    assert!(timeless(include_str!("../../README.md")).contains(&format!("\n`{line}`\n")), "{line}");
}

#[test]
fn no_waiting_line_from_the_background() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut terminal = Terminal::of(&scene, &["sh", "-i"], &[("PS1", "> "), ("ENV", "")]);
    terminal.until_shown("> ");
    terminal.type_in(&format!("{TREELOCK} run -w a -- echo was granted &\r"));
    scene.until_counts(1, 1);
    assert_eq!(holder.finish(), 0);
    until("it is granted", || terminal.screen().lines().any(|line| line.ends_with("was granted")));
    assert!(!terminal.screen().contains("waiting "), "{}", terminal.screen());
    assert!(!String::from_utf8_lossy(&terminal.bytes()).contains("waiting "));
}

/// The kernel tells only the first program of a terminal that it is gone.
#[test]
fn a_terminal_that_is_gone_ends_the_command() {
    let scene = Scene::new();
    let script = "trap 'kill -KILL $!; echo HUP >> got; exit 4' HUP; sleep 600 & echo up; wait";
    let mut terminal = Terminal::start(&scene, &["run", "-w", "a", "--", "sh", "-c", script]);
    terminal.until_shown("up");
    terminal.hang_up();
    assert_eq!(terminal.code(), 4);
    assert_eq!(fs::read_to_string(scene.path("got")).unwrap(), "HUP\n");
}

#[test]
fn control_z_stops_both_and_fg_continues_both() {
    let scene = Scene::new();
    let shell = ["sh", "-i"];
    let mut terminal = Terminal::of(&scene, &shell, &[("PS1", "> "), ("ENV", "")]);
    terminal.until_shown("> ");
    let script = "echo $$ > pid; read line; echo it read $line";
    terminal.type_in(&format!("{TREELOCK} run -w a --label it -- sh -c '{script}'\r"));
    until("it is started", || {
        fs::read_to_string(scene.path("pid")).is_ok_and(|pid| !pid.is_empty())
    });
    let command: u32 = fs::read_to_string(scene.path("pid")).unwrap().trim().parse().unwrap();
    let wrapper = scene.live()[0]["pid"].as_u64().unwrap() as u32;
    terminal.type_in("\x1a");
    until("both are stopped", || [command, wrapper].map(state) == ['T', 'T']);
    terminal.until_shown("Stopped");
    assert_eq!(scene.counts(), (1, 0), "what is stopped goes on holding");
    terminal.type_in("fg\r");
    until("both go on", || [command, wrapper].map(state) == ['S', 'S']);
    terminal.type_in("this\r");
    terminal.until_shown("it read this");
    terminal.type_in("echo code $?\r");
    terminal.until_shown("code 0");
    assert_eq!(scene.counts(), (0, 0));
    terminal.type_in("exit\r");
    assert_eq!(terminal.code(), 0);
}

#[test]
fn one_who_waits_can_be_stopped() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut terminal = Terminal::of(&scene, &["sh", "-i"], &[("PS1", "> "), ("ENV", "")]);
    terminal.until_shown("> ");
    terminal.type_in(&format!("{TREELOCK} run -w a -- echo was granted\r"));
    terminal.until_shown(", 1 ahead, for ");
    terminal.type_in("\x1a");
    terminal.until_shown("Stopped");
    assert_eq!(scene.counts(), (1, 1), "it keeps its place");
    assert_eq!(holder.finish(), 0);
    assert_eq!(scene.done(&["who", "a"]).code(), 75, "its turn has come");
    terminal.type_in("fg\r");
    until("it goes on", || terminal.screen().lines().any(|line| line.trim() == "was granted"));
}

#[test]
fn control_c_ends_a_hold_that_waits() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let shell = ["sh", "-i"];
    let mut terminal = Terminal::of(&scene, &shell, &[("PS1", "> "), ("ENV", "")]);
    terminal.until_shown("> ");
    terminal.type_in(&format!("{TREELOCK} hold -w a --ttl 1h\r"));
    terminal.until_shown(", 1 ahead, for ");
    terminal.type_in("\x03");
    until("the shell goes on", || terminal.screen().lines().last() == Some("> "));
    assert_eq!((scene.counts(), scene.keepers()), ((1, 0), vec![]), "it is gone by then");
    assert!(!terminal.screen().contains("waiting "), "{}", terminal.screen());
    assert_eq!(holder.finish(), 0);
}

#[test]
fn a_terminal_that_is_gone_does_not_end_what_is_held() {
    let scene = Scene::new();
    let shell = ["sh", "-i"];
    let mut terminal = Terminal::of(&scene, &shell, &[("PS1", "> "), ("ENV", "")]);
    terminal.until_shown("> ");
    terminal.type_in(&format!("{TREELOCK} hold -w a --ttl 1h; {TREELOCK} hold -w b --pid $$\r"));
    scene.until_counts(2, 0);
    terminal.hang_up();
    terminal.status();
    scene.until_counts(1, 0);
    assert_eq!(scene.live()[0]["label"], "hold for 1h at most");
    assert_eq!(scene.done(&["release", "1"]).code(), 0);
}
