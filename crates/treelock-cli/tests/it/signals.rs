//! Signals sent to the wrapper reach the command, and end a wait.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    process::Command,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use rustix::process::Signal;

use crate::scene::{Done, Running, Scene, TREELOCK, can, is_alive, kill, until, until_it_listens};

const SIGNALS: [(&str, Signal); 6] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("TERM", Signal::TERM),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
];

/// A command that writes down which signal it got and ends with 3. `wait` is what a trap
/// interrupts, and `sleep` would live on. It is killed with SIGKILL since before it becomes `sleep`
/// it may trap others.
fn trapping(scene: &Scene, name: &str) -> Running {
    let script = format!(
        "trap 'kill -KILL $!; echo {name} > got; exit 3' {name}; sleep 600 & echo up; wait"
    );
    // A shell may not trap what it was told to ignore, and one without job control tells its
    // background so; `env` makes both as they are at a terminal.
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
    let mut command = Command::new("env");
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
fn a_table_that_is_moved_is_lost() {
    let scene = Scene::new();
    let deep = scene.path("above/locks");
    fs::create_dir(scene.path("above")).unwrap();
    for (from, to) in [("above/locks", "above/moved"), ("above", "elsewhere")] {
        let mut holder = scene.hold(&["--dir", deep.to_str().unwrap(), "-w", "a"]);
        fs::rename(scene.path(from), scene.path(to)).unwrap();
        assert_eq!(holder.code(), 128 + 15, "{from}");
        assert!(holder.stderr().contains("the lock is lost"));
    }
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
fn a_command_that_ends_well_without_the_lock_has_failed() {
    let scene = Scene::new();
    let mut running = scene.run(&["-w", "a"], "trap 'exit 0' TERM; echo up; read line");
    assert_eq!(running.line(), "up");
    fs::remove_dir_all(scene.table()).unwrap();
    assert_eq!(running.code(), 74);
    let said = running.stderr();
    assert!(said.contains("the lock was lost before the command had ended: its table"), "{said}");
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

/// A loop in a shell goes on after a code of 130, and ends only with a command that SIGINT ended.
#[test]
fn what_sigint_ends_ends_by_sigint() {
    let scene = Scene::new();
    let by_interrupt = |running: &mut Running| {
        assert_eq!(running.status().signal(), Some(2));
        assert_eq!(scene.live().iter().filter(|request| request["label"] != "it").count(), 0);
    };
    let mut command = scene.run(&["-w", "a"], "kill -INT $$");
    by_interrupt(&mut command);
    let mut command = scene.run(&["-w", "a"], "trap 'exit 130' INT; kill -INT $$");
    assert_eq!(command.status().code(), Some(130), "that was its own code");
    let _holder = scene.hold(&["-w", "a", "--label", "it"]);
    let mut waiter = scene.wait(&["-w", "a"]);
    waiter.signal(Signal::INT);
    by_interrupt(&mut waiter);
}

/// Starts `treelock` with signals blocked, as who starts it may leave them.
fn with_blocked(scene: &Scene, signal: &str, arguments: &[&str]) -> Running {
    let mut command = Command::new("env");
    command.args(["--default-signal", "env", &format!("--block-signal={signal}"), TREELOCK]);
    scene.environment(command.args(arguments));
    Running::start(&mut command)
}

#[test]
fn what_was_blocked_is_handled_and_stays_blocked_for_the_command() {
    let scene = Scene::new();
    // Not by a shell, which changes its mask.
    let show = ["sed", "-n", "s/^SigBlk:.*\\(.....\\)$/\\1/p", "/proc/self/status"];
    for (signal, blocked) in [("CHLD", "10000"), ("TERM", "04000")] {
        let run = [&["run", "-w", "a", "--"][..], &show].concat();
        let mut running = with_blocked(&scene, signal, &run);
        assert_eq!(running.line(), blocked);
        assert_eq!(running.code(), 0);
    }
    let mut holder = scene.hold(&["-w", "a"]);
    for (name, signal) in SIGNALS {
        let mut waiter = with_blocked(&scene, name, &["run", "-w", "a", "--", "true"]);
        scene.until_counts(1, 1);
        waiter.signal(signal);
        assert_eq!(waiter.code(), 128 + signal.as_raw(), "{name}");
    }
    assert_eq!(holder.finish(), 0);
}

#[test]
fn a_blocked_signal_is_forwarded() {
    let scene = Scene::new();
    // What starts with a signal blocked can set it free; perl is wherever git is. It looks between
    // two sleeps too: a signal that came just before one is only noted by then, and does not end
    // it.
    let script = "use POSIX; $SIG{TERM} = sub { exit 3 }; \
                  sigprocmask(SIG_UNBLOCK, POSIX::SigSet->new(SIGTERM)); \
                  $| = 1; print \"up\\n\"; for (;;) { sleep 1 }";
    if !can(&["perl", "-MPOSIX", "-e", "1"]) {
        return;
    }
    let mut running = with_blocked(&scene, "TERM", &["run", "-w", "a", "--", "perl", "-e", script]);
    assert_eq!(running.line(), "up");
    running.signal(Signal::TERM);
    assert_eq!(running.code(), 3);
}

const NAMESPACE: [&str; 4] = ["unshare", "-pf", "--mount-proc", "env"];

#[test]
fn a_session_that_is_led_from_outside() {
    let scene = Scene::new();
    if !can(&[&NAMESPACE[..], &["true"]].concat()) {
        return;
    }
    let mut command = Command::new(NAMESPACE[0]);
    command.args(&NAMESPACE[1..]).args([TREELOCK, "run", "-w", "a", "--", "echo", "it ran"]);
    scene.environment(&mut command);
    let done = Done(command.output().unwrap());
    assert_eq!((done.code(), &*done.stdout(), &*done.stderr()), (0, "it ran\n", ""));
}

/// Has the latch of a scene's table until it is dropped, as a process that was stopped while it
/// asked.
fn latch(scene: &Scene) -> File {
    assert_eq!(scene.done(&["run", "-w", "a", "--", "true"]).code(), 0);
    let table = File::options().read(true).write(true).open(scene.table().join("table")).unwrap();
    let latch = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&table, FcntlArg::F_OFD_SETLK(&latch)).unwrap();
    table
}

#[test]
fn a_run_that_is_stuck_while_it_asks_is_ended() {
    let scene = Scene::new();
    let latch = latch(&scene);
    for (name, signal) in SIGNALS {
        for how in [&["-w", "a"][..], &["-w", "a", "--try"]] {
            let mut stuck = scene.run(how, "touch ran");
            until_it_listens(stuck.id());
            stuck.signal(signal);
            assert_eq!(stuck.code(), 128 + signal.as_raw(), "{name}");
        }
    }
    let mut stuck = scene.run(&["-w", "a"], "touch ran");
    until_it_listens(stuck.id());
    stuck.signal(Signal::INT);
    assert_eq!(stuck.status().signal(), Some(2));
    drop(latch);
    assert_eq!(scene.counts(), (0, 0));
    assert!(!scene.path("ran").exists());
}
