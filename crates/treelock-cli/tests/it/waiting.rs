//! What a waiting `run` says where there is no terminal, and with `--quiet` and `--verbose`.

use std::{
    io::{BufRead as _, BufReader},
    process::ChildStderr,
};

use crate::{
    scene::{Running, Scene},
    timeless::timeless,
};

fn stderr_of(running: &mut Running) -> BufReader<ChildStderr> {
    BufReader::new(running.stderr.take().unwrap())
}

fn line(stderr: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    timeless(&line)
}

const WAITING: &str =
    "treelock: waiting T, 1 ahead, for \"agent-7\" (pid N): write /src/auth held for T\n";

#[test]
fn who_waits_long_says_so_without_a_terminal() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "src/auth", "--label", "agent-7"]);
    let mut waiter = scene.wait(&["-w", "src"]);
    let mut quiet = scene.wait(&["-w", "src", "--quiet"]);
    let mut stderr = stderr_of(&mut waiter);
    assert_eq!(line(&mut stderr), WAITING);
    assert_eq!(line(&mut stderr), WAITING, "and again");
    assert_eq!(holder.finish(), 0);
    assert_eq!((waiter.code(), quiet.code()), (0, 0));
    assert_eq!(stderr.lines().count(), 0);
    assert_eq!(quiet.stderr(), "");
}

#[test]
fn verbose_says_it_at_once() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "src/auth", "--label", "agent-7"]);
    let mut waiter = scene.wait(&["-w", "src", "-r", "lib", "--verbose"]);
    let mut stderr = stderr_of(&mut waiter);
    assert_eq!(line(&mut stderr), WAITING);
    assert_eq!(holder.finish(), 0);
    assert_eq!(line(&mut stderr), "treelock: granted after T: #2, write /src, read /lib\n");
    assert_eq!(line(&mut stderr), "treelock: released after T: #2, write /src, read /lib\n");
    assert_eq!(line(&mut stderr), "");
    assert_eq!(waiter.code(), 0);
    let done = scene.done(&["run", "-v", "-w", "a", "--", "true"]);
    let said =
        "treelock: granted after T: #3, write /a\ntreelock: released after T: #3, write /a\n";
    assert_eq!((done.code(), timeless(&done.stderr())), (0, said.into()));
}

/// Nobody reads what it says, and it goes on.
#[test]
fn a_full_pipe_does_not_stop_a_waiter() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let (reader, writer) = std::io::pipe().unwrap();
    fill(&writer);
    let mut command = scene.treelock(["run", "-v", "-w", "a", "--", "echo", "granted"]);
    let mut waiter = Running::start_with_stderr(&mut command, writer.into());
    scene.until_counts(1, 1);
    assert_eq!(holder.finish(), 0);
    assert_eq!(waiter.line(), "granted");
    assert_eq!(waiter.code(), 0);
    drop(reader);
}

/// Writes to a pipe until it takes no more.
fn fill(pipe: &std::io::PipeWriter) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while std::io::Write::write(&mut &*pipe, &[b'x'; 4096]).is_ok() {}
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
}
