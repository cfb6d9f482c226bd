//! Waits that end before the grant, and clusters that do not answer.

use nix::sys::signal::Signal as Nix;
use rustix::process::Signal;

use super::scene;
use crate::{
    scene::{Scene, TREELOCK, until_it_listens},
    server::Cluster,
};

/// The place is given back before the program ends, not when its lease does.
#[test]
fn a_signal_ends_a_wait_and_leaves_nothing() {
    let Some((_cluster, scene)) = scene() else { return };
    let mut holder = scene.hold(&["-w", "a"]);
    for signal in [Signal::INT, Signal::TERM] {
        let mut waiter = scene.wait(&["-w", "a", "--ttl", "1h"]);
        until_it_listens(waiter.id());
        waiter.signal(signal);
        assert_eq!(waiter.code(), 128 + signal.as_raw());
        assert_eq!(scene.counts(), (1, 0));
    }
    assert_eq!(holder.finish(), 0);
}

/// Nobody waits for a cluster that is gone after Ctrl-C.
#[test]
fn a_signal_ends_a_wait_while_nobody_answers() {
    let Some((cluster, scene)) = scene() else { return };
    let _holder = scene.hold(&["-w", "a", "--ttl", "1h"]);
    let mut waiter = scene.wait(&["-w", "a", "--ttl", "1h"]);
    until_it_listens(waiter.id());
    cluster.members[0].signal(Nix::SIGSTOP);
    waiter.signal(Signal::TERM);
    assert_eq!(waiter.code(), 128 + 15);
    assert!(
        waiter
            .stderr()
            .contains("etcd does not answer; the place in line will be free in about 3600 s")
    );
    cluster.members[0].signal(Nix::SIGCONT);
}

/// A time that is over is over, also if nobody answers to whom it could be said who is in the way.
#[test]
fn a_time_is_kept_while_nobody_answers() {
    let Some((cluster, scene)) = scene() else { return };
    scene.until_counts(0, 0);
    cluster.members[0].signal(Nix::SIGSTOP);
    let done = scene.done(&["run", "-w", "a", "--timeout", "200ms", "--", "touch", "ran"]);
    assert_eq!(done.code(), 74);
    let says = "the time is up, but etcd does not say who is in the way";
    assert!(done.stderr().contains(says), "{}", done.stderr());
    cluster.members[0].signal(Nix::SIGCONT);
    assert!(!scene.path("ran").exists());
}

#[test]
fn a_cluster_that_is_not_there() {
    if Cluster::start(1).is_none() {
        return;
    }
    let scene = Scene::on(&["http://127.0.0.1:1".into()]);
    for arguments in [&["ls"][..], &["run", "-w", "a", "--try", "--", "true"], &["doctor"]] {
        let done = scene.done(arguments);
        assert_eq!(done.code(), 74, "{arguments:?}");
        assert!(done.stderr().contains("no etcd member answered"), "{}", done.stderr());
    }
}

/// Its lease would end, since nobody would renew it.
#[test]
fn no_command_without_its_wrapper() {
    let Some((_cluster, scene)) = scene() else { return };
    let done = scene.done(&["run", "--exec", "-w", "a", "--", "touch", "ran"]);
    assert_eq!(done.code(), 64);
    assert!(done.stderr().contains("--exec is for the lock of one host"), "{}", done.stderr());
    assert!(!scene.path("ran").exists());
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn a_run_that_waits_for_the_one_around_it_is_refused() {
    let Some((_cluster, scene)) = scene() else { return };
    let script = format!("{TREELOCK} run -r a/b -- true; echo $?; read line");
    let mut outer = scene.run(&["-w", "a", "--label", "outer"], &script);
    assert_eq!(outer.line(), "70");
    assert_eq!(scene.counts(), (1, 0), "the inner one has left");
    outer.close_input();
    outer.status();
    let said = outer.stderr();
    assert!(said.contains(" (this run) wants read /a/b and waits for "), "{said}");
    assert!(said.contains(" \"outer\" (pid "), "{said}");
}
