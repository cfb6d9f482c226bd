//! What is seen on a terminal, and what Ctrl-C does there.

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::{Arc, Mutex},
    thread,
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::Signal;

use crate::scene::{Scene, TREELOCK, kill, until};

/// A command in a terminal of its own.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn std::io::Write + Send>,
    /// What came, and what is to be seen of it.
    output: Arc<Mutex<(Vec<u8>, vt100::Parser)>>,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    fn start(scene: &Scene, arguments: &[&str]) -> Terminal {
        Terminal::with(scene, arguments, &[])
    }

    fn with(scene: &Scene, arguments: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let size = PtySize { rows: 24, cols: 100, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new("env");
        command.args(["--default-signal", TREELOCK]);
        command.args(arguments);
        command.cwd(scene.dir());
        command.env("TREELOCK_DIR", scene.table());
        command.env("TERM", "xterm-256color");
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            command.env_remove(name);
        }
        environment.iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let output = Arc::new(Mutex::new((Vec::new(), vt100::Parser::new(24, 100, 0))));
        let shared = Arc::clone(&output);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let (bytes, screen) = &mut *shared.lock().unwrap();
                bytes.extend(&buffer[..count]);
                screen.process(&buffer[..count]);
            }
        });
        let keyboard = pair.master.take_writer().unwrap();
        Terminal { child, keyboard, output, _master: pair.master }
    }

    fn screen(&self) -> String {
        self.output.lock().unwrap().1.screen().contents()
    }

    fn bytes(&self) -> Vec<u8> {
        self.output.lock().unwrap().0.clone()
    }

    #[track_caller]
    fn until_shown(&self, text: &str) {
        until(&format!("{text:?} is shown"), || self.screen().contains(text));
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    #[track_caller]
    fn code(&mut self) -> u32 {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().exit_code()
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
    terminal.until_shown(&format!("s for \"agent-7\" (pid {pid}): read /src/auth held for "));
    terminal.until_shown("; 2 ahead");
    terminal.until_shown("waiting 2s for"); // it goes on
    assert_eq!(first.finish(), 0);
    terminal.until_shown("s for \"agent-8\"");
    terminal.until_shown("; 1 ahead");
    assert_eq!(second.finish(), 0);
    assert_eq!(terminal.code(), 0);
    terminal.until_shown("granted");
    assert_eq!(terminal.screen().trim(), "granted", "the line is gone");
}

#[test]
fn no_waiting_line_without_a_terminal() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut waiter = scene.wait(&["-w", "a"]);
    assert_eq!(holder.finish(), 0);
    assert_eq!(waiter.stderr(), "");
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
fn control_c_ends_a_wait() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut terminal = Terminal::start(&scene, &["run", "-w", "a", "--", "true"]);
    terminal.until_shown("waiting ");
    terminal.type_in("\x03");
    assert_eq!(terminal.code(), 130);
    assert_eq!(scene.counts(), (1, 0));
    until("the line is gone", || !terminal.screen().contains("waiting"));
    assert_eq!(holder.finish(), 0);
}

#[test]
fn control_c_reaches_the_command_once() {
    let scene = Scene::new();
    // The command ends at SIGUSR1, which is forwarded after whatever was forwarded before.
    let script = "trap 'echo INT >> got' INT; trap 'kill $!; exit 4' USR1; echo up; \
                  sleep 600 & while :; do wait; done";
    let mut terminal = Terminal::start(&scene, &["run", "-w", "a", "--", "sh", "-c", script]);
    terminal.until_shown("up");
    terminal.type_in("\x03");
    until("it got it", || scene.path("got").exists());
    assert_eq!(scene.counts(), (1, 0), "the wrapper goes on waiting for its command");
    kill(terminal.pid(), Signal::USR1);
    assert_eq!(terminal.code(), 4);
    assert_eq!(fs::read_to_string(scene.path("got")).unwrap(), "INT\n");
}

#[test]
fn break_asks() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a", "--label", "it"]);
    for answer in ["n\r", "\r", "\x04"] {
        let mut terminal = Terminal::start(&scene, &["break", "1"]);
        terminal.until_shown("so that #1 is free? [y/N] ");
        terminal.type_in(answer);
        assert_eq!(terminal.code(), 1);
        terminal.until_shown("nothing was done");
    }
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
    assert!(!scene.done(&["ls"]).stdout().contains('\x1b'));
}

#[test]
fn watching_redraws() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a", "--label", "it"]);
    for environment in [&[][..], &[("NO_COLOR", "1")]] {
        let mut terminal = Terminal::with(&scene, &["ls", "--watch"], environment);
        terminal.until_shown("\"it\"");
        let second = scene.hold(&["-w", "b", "--label", "another"]);
        terminal.until_shown("\"another\"");
        drop(second);
        scene.done(&["break", "2", "--force"]);
        terminal.type_in("\x03");
        assert_ne!(terminal.code(), 0);
    }
    assert_eq!(holder.finish(), 0);
}
