//! A run in a run: what the inner one is told, and that it does not wait for ever.

use std::{fs, os::unix::fs::symlink};

use crate::{
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
            "treelock: this run would wait for ever, because it is inside a run that it waits for:
  #{inner} (this run) wants read /a/b and waits for #{ticket} \"outer\" (pid N), write /a
  #{ticket} \"outer\" (pid N) waits for its command, which this run is part of
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
treelock: this run would wait for ever, because it is inside a run that it waits for:
  #5 (this run) wants read /y and waits for #3 \"second\" (pid N), write /y
  #3 \"second\" (pid N) wants write /z and waits for #2 \"first\" (pid N), write /z
  #2 \"first\" (pid N) wants read /x and waits for #1 \"outer\" (pid N), write /x
  #1 \"outer\" (pid N) waits for its command, which this run is part of
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
