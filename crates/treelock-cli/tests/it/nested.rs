//! A run in a run, and one of a process that something is held for: what they are told, and that
//! they do not wait for ever.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{self, Command},
};

use crate::{
    holding::Kept,
    scene::{Done, Running, Scene, TREELOCK},
    timeless::timeless,
};

/// Runs `treelock run INNER` inside a run that holds /a.
fn nested(scene: &Scene, inner: &str) -> Done {
    let script = format!("{TREELOCK} run {inner} -- echo granted");
    scene.done(&["run", "-w", "a", "--label", "outer", "--", "sh", "-c", &script])
}

#[test]
fn what_conflicts_with_the_outer_one_is_refused() {
    let scene = Scene::new();
    for limit in ["", " --timeout 1h"] {
        let done = nested(&scene, &format!("-r a/b{limit}"));
        assert_eq!(done.code(), 70);
        let ticket: u32 = if limit.is_empty() { 1 } else { 3 };
        let inner = ticket + 1;
        let expected = format!(
            "\
treelock: this request would wait for ever, because it is inside a run that it waits for:
  #{inner} (this request) wants read /a/b and waits for #{ticket} \"outer\" (pid N), write /a
  #{ticket} \"outer\" (pid N) waits for its command, which this request is part of
  request everything in the outer run
"
        );
        assert_eq!(timeless(&done.stderr()), expected);
        assert_eq!(done.stdout(), "");
        assert_eq!(scene.counts(), (0, 0));
    }
    // Who does not wait is told what is in the way, as always.
    let done = nested(&scene, "-r a/b --try");
    assert_eq!(done.code(), 75);
    assert!(done.stderr().contains("read /a/b is blocked by \"outer\" "), "{}", done.stderr());
    assert_eq!(done.stderr().lines().count(), 1);
    let done = nested(&scene, "-r b");
    assert_eq!((done.stdout().as_str(), done.stderr().as_str()), ("granted\n", ""));
}

/// Starts a run that holds these roots, and inside it another one when its input is closed.
fn outer(scene: &Scene, arguments: &[&str], inner: &str) -> Running {
    let script = format!("echo up; read line; {TREELOCK} run {inner} -- echo granted; echo $?");
    let mut running = scene.run(arguments, &script);
    assert_eq!(running.line(), "up");
    running
}

#[test]
fn a_chain_to_the_outer_one_is_told() {
    let scene = Scene::new();
    let mut outer = outer(&scene, &["-w", "x", "-l", "outer"], "-r y");
    let mut first = scene.wait(&["-r", "x", "-w", "z", "-l", "first"]);
    let mut second = scene.wait(&["-w", "z", "-w", "y", "-l", "second"]);
    let mut behind = scene.wait(&["-r", "y/below", "-l", "in nobody's way"]);
    outer.close_input();
    assert_eq!(outer.line(), "70");
    let expected = "\
treelock: this request would wait for ever, because it is inside a run that it waits for:
  #5 (this request) wants read /y and waits for #3 \"second\" (pid N), write /y
  #3 \"second\" (pid N) wants write /z and waits for #2 \"first\" (pid N), write /z
  #2 \"first\" (pid N) wants read /x and waits for #1 \"outer\" (pid N), write /x
  #1 \"outer\" (pid N) waits for its command, which this request is part of
  request everything in the outer run
";
    assert_eq!(outer.code(), 0);
    assert_eq!(timeless(&outer.stderr()), expected);
    assert_eq!((first.code(), second.code(), behind.code()), (0, 0, 0));
}

#[test]
fn who_waits_for_others_waits() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "y"]);
    let mut outer = outer(&scene, &["-w", "x"], "-r y");
    let mut behind = scene.wait(&["-w", "x/below"]);
    outer.close_input();
    scene.until_counts(2, 2);
    assert_eq!(holder.finish(), 0);
    assert_eq!((outer.line(), outer.line()), ("granted".into(), "0".into()));
    assert_eq!((outer.code(), behind.code()), (0, 0));
}

#[test]
fn every_enclosing_run_counts_and_none_of_another_lock() {
    let scene = Scene::new();
    // The outermost is in the way of the innermost; a run on another lock is between them.
    let script = format!(
        "{TREELOCK} run --dir other -w a -- {TREELOCK} run -w b -- {TREELOCK} run -r a -- true"
    );
    let done = scene.done(&["run", "-w", "a", "--", "sh", "-c", &script]);
    assert_eq!(done.code(), 70, "{}", done.stderr());
    assert!(done.stderr().contains("#1 \"sh -c"), "{}", done.stderr());
    // The same number in another lock is not the one around.
    let other = scene.path("third");
    let other = other.to_str().unwrap();
    let mut holder = scene.hold(&["--dir", other, "-w", "a"]);
    let script = format!("{TREELOCK} run --dir third -r a -t 10ms -- true");
    assert_eq!(scene.done(&["run", "-w", "a", "--", "sh", "-c", &script]).code(), 75);
    assert_eq!(holder.finish(), 0);
}

#[test]
fn a_lock_has_several_names() {
    let scene = Scene::new();
    fs::create_dir(scene.path("with space %20")).unwrap();
    symlink("with space %20", scene.path("link")).unwrap();
    for (outer, inner) in [("link", "with space %20"), ("with space %20", "link")] {
        let inner = ["run", "--dir", inner, "-w", "a", "--", "true"];
        let run = [&["run", "--dir", outer, "-w", "a", "--", TREELOCK][..], &inner].concat();
        assert_eq!(scene.done(&run).code(), 70, "{outer}");
    }
}

#[test]
fn the_command_knows_its_tickets() {
    let scene = Scene::new();
    let script = format!(
        "echo $TREELOCK_TICKET; echo ${{TREELOCK_TICKET##*#}}; \
         {TREELOCK} run -w b -- sh -c 'echo $TREELOCK_TICKET'"
    );
    let done = scene.done(&["run", "-w", "a", "--", "sh", "-c", &script]);
    let place = format!("dir:{}", scene.table().display());
    assert_eq!(done.stdout(), format!("{place}#1\n1\n{place}#1 {place}#2\n"));
}

#[test]
fn what_others_put_into_the_variable_does_no_harm() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    for value in ["", " ", "#", "7", "#7", "dir:#1", "dir:/no/such#1", "no lock#1", "\u{e9}#\u{e9}"]
    {
        let mut run = scene.treelock(["run", "-w", "a", "-t", "10ms", "--", "true"]);
        let done = Done(run.env("TREELOCK_TICKET", value).output().unwrap());
        assert_eq!(done.code(), 75, "{value:?}: {}", done.stderr());
    }
    assert_eq!(holder.finish(), 0);
}

/// Runs a script in the scene, in which `$0` is the command.
fn shell(scene: &Scene, script: &str) -> Running {
    let mut shell = Command::new("sh");
    scene.environment(shell.args(["-c", script, TREELOCK]));
    Running::start(&mut shell)
}

#[test]
fn what_is_held_for_a_process_is_refused_to_it() {
    let scene = Scene::new();
    let script = "$0 hold -q -w a --pid $$ -l agent
        $0 run -r a/b -- echo granted; echo $?
        sh -c '$0 run -r a/b -- echo granted; exit $?' $0; echo $?
        $0 hold -w a --pid $$ --ttl 1h; echo $?
        $0 run -q -r a/b --try -- echo granted; echo $?
        $0 release 1
        $0 run -r a/b -- echo granted";
    let mut shell = shell(&scene, script);
    let printed: Vec<_> = (0..5).map(|_| shell.line()).collect();
    assert_eq!(printed, ["70", "70", "70", "75", "granted"]);
    let expected = |ticket, wants| {
        format!(
            "treelock: this request would wait for what is held for it:
  #{ticket} (this request) wants {wants} and waits for #1 \"agent for pid N (sh)\" (pid N), write /a
  #1 \"agent for pid N (sh)\" (pid N) is held for pid N, which this request is part of
  request everything in one hold, or release #1 before
"
        )
    };
    let all = [expected(2, "read /a/b"), expected(3, "read /a/b"), expected(4, "write /a")];
    assert_eq!(timeless(&shell.stderr()), all.concat());
    assert_eq!(scene.counts(), (0, 0));
}

/// What is held for a time only ends by itself, so it is waited for.
#[test]
fn what_is_held_for_a_time_is_waited_for() {
    let scene = Scene::new();
    let script = "$0 hold -q -w a --pid $$ --ttl 300ms; $0 run -q -r a/b -- echo granted";
    assert_eq!(shell(&scene, script).line(), "granted");
}

#[test]
fn a_chain_to_what_is_held_for_a_process_is_told() {
    let scene = Scene::new();
    let above = process::id().to_string();
    let kept = Kept::hold(&scene, &["-w", "x", "--pid", &above]);
    // For another process, so it just waits.
    let mut first = shell(&scene, "setsid -f $0 run -w x -w y -l first -- echo granted");
    assert_eq!(first.code(), 0);
    scene.until_counts(1, 1);
    let done = scene.done(&["run", "-r", "y", "--", "true"]);
    assert_eq!(done.code(), 70);
    assert!(done.stderr().contains(" wants read /y and waits for #2 \"first\" (pid "));
    assert!(done.stderr().contains(&format!(" is held for pid {above}, which this request ")));
    assert_eq!(scene.done(&["release", &kept.ticket]).code(), 0);
    assert_eq!(first.line(), "granted");
}

/// A label is a text, which anybody can give to anything.
#[test]
fn only_a_hold_is_held_for_a_process() {
    let scene = Scene::new();
    let label = format!("hold for pid {}", process::id());
    let mut holder = scene.hold(&["-w", "a", "--label", &label]);
    assert_eq!(scene.live()[0]["for_pid"], process::id());
    assert_eq!(scene.done(&["run", "-w", "a", "-t", "10ms", "--", "true"]).code(), 75);
    assert_eq!(holder.finish(), 0);
    // What is held for a process beside this one ends some time.
    let mut other = Running::start(&mut Command::new("cat"));
    Kept::hold(&scene, &["-w", "a", "--pid", &other.id().to_string()]);
    let mut waiter = scene.wait(&["-w", "a"]);
    assert_eq!(other.finish(), 0);
    assert_eq!(waiter.code(), 0);
}
