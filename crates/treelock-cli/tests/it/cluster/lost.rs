//! Locks that are lost, and commands and wrappers that are killed.

use std::{
    io::{self, PipeReader, PipeWriter, Write as _},
    os::unix::process::ExitStatusExt as _,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::Signal as Nix,
};
use rustix::process::Signal;

use super::scene;
use crate::scene::{Running, is_alive, kill, state, until};

/// etcd is gone: the command is told, and killed if it does not end, before the lease can have
/// ended.
#[test]
fn a_command_whose_lock_is_lost_is_stopped() {
    let Some((cluster, scene)) = scene() else { return };
    let script = "trap 'echo told' TERM; echo up; while :; do sleep 0.05; done";
    let mut running = scene.run(&["-w", "a", "--ttl", "10s"], script);
    assert_eq!(running.line(), "up");
    cluster.members[0].signal(Nix::SIGSTOP);
    let stopped = Instant::now();
    assert_eq!(running.line(), "told");
    let killed = running.status();
    // What was renewed last may have been renewed just now, and etcd cannot give it away earlier
    // than this.
    let bound = Duration::from_secs(10);
    assert!(stopped.elapsed() < bound, "etcd may have given the lock away by now");
    assert_eq!(killed.code(), Some(128 + 9));
    let said = running.stderr();
    assert!(said.contains("the lock is lost: its lease may have ended"), "{said}");
    assert!(said.contains("the command did not end and is killed"), "{said}");
    cluster.members[0].signal(Nix::SIGCONT);
}

#[test]
fn a_command_may_be_given_more_time() {
    let Some((cluster, scene)) = scene() else { return };
    let script = "trap 'sleep 2; exit 5' TERM; echo up; while :; do sleep 0.05; done";
    let mut running = scene.run(&["-w", "a", "--ttl", "2s", "--grace", "1h"], script);
    assert_eq!(running.line(), "up");
    cluster.members[0].signal(Nix::SIGSTOP);
    assert_eq!(running.code(), 5, "it was not killed");
    cluster.members[0].signal(Nix::SIGCONT);
}

/// A pipe that holds less than what is about to be written into it.
fn small_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    (reader, writer)
}

/// Nobody reads what treelock says, which is no reason for the command to go on without the lock.
#[test]
fn a_command_whose_lock_is_lost_is_stopped_though_nobody_listens() {
    let Some((_cluster, scene)) = scene() else { return };
    let (_reader, mut full) = small_pipe();
    let size = fcntl(&full, FcntlArg::F_GETPIPE_SZ).unwrap();
    full.write_all(&vec![b'x'; size as usize]).unwrap();
    let script = "trap 'touch told' TERM; echo up; while :; do sleep 0.05; done";
    let mut command = scene.treelock(["run", "-w", "a", "--ttl", "1h", "--grace", "100ms"]);
    command.args(["--", "sh", "-c", script]);
    let mut running = Running::start_with_stderr(&mut command, full.into());
    assert_eq!(running.line(), "up");
    let ticket = scene.live()[0]["ticket"].to_string();
    assert_eq!(scene.done(&["break", &ticket, "--force"]).code(), 0);
    until("it is told", || scene.path("told").exists());
    assert_eq!(running.code(), 128 + 9);
}

/// What is done without the lock is not a success, whatever the command thinks of it.
#[test]
fn a_command_that_ends_well_without_the_lock_has_failed() {
    let Some((_cluster, scene)) = scene() else { return };
    for (own, code) in [(0, 74), (3, 3)] {
        let script = format!("trap 'exit {own}' TERM; echo up; while :; do sleep 0.05; done");
        let mut running = scene.run(&["-w", "a", "--ttl", "1h", "--grace", "1h"], &script);
        assert_eq!(running.line(), "up");
        let ticket = scene.live()[0]["ticket"].to_string();
        assert_eq!(scene.done(&["break", &ticket, "--force"]).code(), 0);
        assert_eq!(running.code(), code);
        let said = running.stderr();
        assert!(said.contains("the lock is lost: its lease may have ended"), "{said}");
        let failed = said.contains("the lock was lost before the command had ended");
        assert_eq!(failed, own == 0, "{said}");
    }
}

/// One that stands still when it is granted may have lost the lock by the time it goes on.
#[test]
fn a_lock_that_is_lost_before_the_command_is_started_starts_none() {
    let Some((_cluster, scene)) = scene() else { return };
    let mut holder = scene.hold(&["-w", "a"]);
    let mut running = scene.run(&["-w", "a", "--ttl", "1h", "--label", "it"], "touch ran");
    scene.until_counts(1, 1);
    running.signal(Signal::STOP);
    until("it is stopped", || state(running.id()) == 'T');
    assert_eq!(holder.finish(), 0);
    scene.until_counts(1, 0);
    let live = scene.live();
    assert_eq!((&live[0]["label"], &live[0]["state"]), (&"it".into(), &"held".into()));
    assert_eq!(scene.done(&["break", &live[0]["ticket"].to_string(), "--force"]).code(), 0);
    running.signal(Signal::CONT);
    assert_eq!(running.code(), 74);
    let said = running.stderr();
    assert!(said.contains("lost") || said.contains("taken away"), "{said}");
    assert!(!scene.path("ran").exists());
}

/// A command does not go on without the lock that treelock cannot renew any more.
#[test]
fn a_command_is_killed_with_treelock_and_its_lease_ends() {
    let Some((_cluster, scene)) = scene() else { return };
    let mut holder = scene.hold(&["-w", "a", "--ttl", "2s"]);
    let mut waiter = scene.wait(&["-w", "a/b"]);
    holder.kill().unwrap();
    assert_eq!(holder.status().signal(), Some(9));
    until("the command is killed", || !is_alive(holder.command));
    assert_eq!(waiter.code(), 0, "the lease has ended");
}

#[test]
fn a_killed_command_releases() {
    let Some((_cluster, scene)) = scene() else { return };
    let mut holder = scene.hold(&["-w", "a", "--ttl", "1h"]);
    kill(holder.command, Signal::KILL);
    assert_eq!(holder.code(), 128 + 9);
    assert_eq!(scene.counts(), (0, 0));
}
