//! `run --exec`: the command without a wrapper.

use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Signal;

use crate::scene::{Running, Scene, TREELOCK, is_alive, kill, until};

/// Starts a command that holds /a until its standard input is closed.
fn exec(scene: &Scene, how: &[&str]) -> Running {
    let mut running = scene.run(&[&["-w", "a"], how].concat(), "echo $$; read line; exit 3");
    running.command = running.line().parse().unwrap();
    running
}

#[test]
fn it_becomes_the_command() {
    let scene = Scene::new();
    for how in ["-F", "--exec"] {
        let mut running = exec(&scene, &[how]);
        assert_eq!(running.command, running.id());
        assert_eq!(scene.live()[0]["pid"], running.id());
        assert_eq!(crate::scene::children(running.id()), [0; 0]);
        assert_eq!(scene.done(&["run", "-F", "-w", "a", "--try", "--", "true"]).code(), 75);
        assert_eq!(running.finish(), 3);
        assert_eq!(scene.counts(), (0, 0));
    }
    let mut running = exec(&scene, &["-F"]);
    running.signal(Signal::TERM);
    assert_eq!(running.status().signal(), Some(15), "nobody is in between");
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn it_may_wait_before() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut waiter = scene.wait(&["-F", "-w", "a"]);
    assert_eq!(holder.finish(), 0);
    assert_eq!((waiter.line().as_str(), waiter.code()), ("granted", 0));
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn what_it_leaves_running_keeps_the_lock() {
    let scene = Scene::new();
    let mut running = scene.run(&["-F", "-w", "a"], "sleep 600 >/dev/null 2>&1 & echo $!");
    let daemon: u32 = running.line().parse().unwrap();
    assert_eq!(running.code(), 0);
    assert!(is_alive(daemon));
    assert_eq!(scene.live()[0]["pid"], daemon);
    assert_eq!(scene.done(&["run", "-w", "a", "--try", "--", "true"]).code(), 75);
    kill(daemon, Signal::KILL);
    until("it is free", || scene.counts() == (0, 0));
}

#[test]
fn it_knows_its_token_and_ticket() {
    let scene = Scene::new();
    let script = "test -n \"$TREELOCK_TOKEN\" && echo ${TREELOCK_TICKET##*#}";
    let done = scene.done(&["run", "-F", "-w", "a", "--", "sh", "-c", script]);
    assert_eq!((done.code(), &*done.stdout()), (0, "1\n"));
    let inner = ["run", "-F", "-w", "a", "--", TREELOCK, "run", "-r", "a", "--", "true"];
    assert_eq!(scene.done(&inner).code(), 70, "it would wait for itself");
}

#[test]
fn a_command_that_cannot_be_started_releases() {
    let scene = Scene::new();
    let done = scene.done(&["run", "-F", "-w", "a", "--", "no-such-command"]);
    assert_eq!(done.code(), 127);
    assert_eq!(done.stderr(), "treelock: \"no-such-command\": command not found\n");
    assert_eq!(scene.counts(), (0, 0));
}
