//! Signals sent to the wrapper reach the command, and end a wait.

use std::fs;

use rustix::process::Signal;

use crate::scene::{Running, Scene, is_alive, kill, until};

const SIGNALS: [(&str, Signal); 6] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("TERM", Signal::TERM),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
];

/// A command that writes down which signal it got and ends with 3. `wait` is what a trap interrupts, and
/// `sleep` would live on. It is killed with SIGKILL since before it becomes `sleep` it may trap others.
fn trapping(scene: &Scene, name: &str) -> Running {
    let script = format!(
        "trap 'kill -KILL $!; echo {name} > got; exit 3' {name}; sleep 600 & echo up; wait"
    );
    // A shell may not trap what it was told to ignore, and one without job control tells its background so;
    // `env` makes both as they are at a terminal.
    let mut running = scene.run(&["-w", "a"], &script);
    assert_eq!(running.line(), "up");
    running
}

#[test]
fn signals_are_forwarded() {
    for (name, signal) in SIGNALS {
        let scene = Scene::new();
        let mut running = trapping(&scene, name);
        running.signal(signal);
        assert_eq!(running.code(), 3, "{name}");
        assert_eq!(fs::read_to_string(scene.path("got")).unwrap().trim(), name);
        assert_eq!(scene.counts(), (0, 0));
    }
}

#[test]
fn a_command_that_a_signal_ends_gives_128_and_its_number() {
    let scene = Scene::new();
    for (name, signal) in SIGNALS {
        let done = scene.done(&["run", "-w", "a", "--", "sh", "-c", &format!("kill -{name} $$")]);
        assert_eq!(done.code(), 128 + signal.as_raw());
        let mut running = scene.run(&["-w", "a"], "echo up; exec sleep 600");
        assert_eq!(running.line(), "up");
        // The shell may not have become `sleep` yet, which makes no difference to signals.
        running.signal(signal);
        assert_eq!(running.code(), 128 + signal.as_raw(), "{name}");
    }
}

#[test]
fn a_signal_ends_a_wait() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    for (name, signal) in SIGNALS {
        let mut waiter = scene.wait(&["-w", "a"]);
        waiter.signal(signal);
        assert_eq!(waiter.code(), 128 + signal.as_raw(), "{name}");
        assert_eq!(scene.counts(), (1, 0));
    }
    assert_eq!(holder.finish(), 0);
}

#[test]
fn what_was_ignored_stays_ignored() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut command = std::process::Command::new("env");
    command.args(["--default-signal", "env", "--ignore-signal=HUP", crate::scene::TREELOCK]);
    command.args(["run", "-w", "a", "--", "true"]);
    scene.environment(&mut command);
    let mut waiter = Running::start(&mut command);
    scene.until_counts(1, 1);
    waiter.signal(Signal::HUP);
    waiter.signal(Signal::TERM);
    assert_eq!(waiter.code(), 128 + 15, "the first of the two was ignored");
    assert_eq!(holder.finish(), 0);
}

#[test]
fn a_command_that_ignores_signals_keeps_lock_and_wrapper() {
    let scene = Scene::new();
    let mut running = scene.run(&["-w", "a"], "trap '' TERM; echo up; read line; exit 5");
    assert_eq!(running.line(), "up");
    running.signal(Signal::TERM);
    assert_eq!(scene.counts(), (1, 0));
    assert_eq!(running.finish(), 5);
}

#[test]
fn a_lost_lock_ends_the_command() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    fs::remove_dir_all(scene.table()).unwrap();
    assert_eq!(holder.code(), 128 + 15);
    assert!(holder.stderr().contains("the lock is lost"));
}

#[test]
fn a_lost_lock_kills_a_command_that_does_not_end() {
    let scene = Scene::new();
    let mut running = scene.run(&["-w", "a"], "trap '' TERM; echo $$; read line");
    let command = running.line().parse().unwrap();
    fs::remove_dir_all(scene.table()).unwrap();
    assert_eq!(running.code(), 128 + 9);
    until("it is gone", || !is_alive(command));
    assert!(running.stderr().contains("is killed"));
}

#[test]
fn a_stopped_command_is_still_waited_for() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    kill(holder.command, Signal::STOP);
    assert_eq!(scene.counts(), (1, 0));
    kill(holder.command, Signal::CONT);
    assert_eq!(holder.finish(), 0);
}
