//! Deaths: of the wrapper, the command, of those who wait. The lock is free when, and only when,
//! nobody works under it any more.

use rustix::process::Signal;

use crate::scene::{Scene, is_alive, kill, state, until};

#[test]
fn a_command_keeps_the_lock_when_its_wrapper_is_killed() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut waiter = scene.wait(&["-r", "a/b"]);
    holder.kill().unwrap();
    holder.status();
    assert!(is_alive(holder.command));
    assert_eq!(scene.done(&["run", "-w", "a", "--try", "--", "true"]).code(), 75);
    assert_eq!(scene.counts(), (1, 1));
    holder.close_input(); // and the command ends
    assert_eq!(waiter.code(), 0);
    assert_eq!(scene.done(&["run", "-w", "a", "--try", "--", "true"]).code(), 0);
}

/// The process that made the request is dead, so its number helps nobody.
#[test]
fn who_keeps_the_lock_is_named_when_the_wrapper_is_killed() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a", "--label", "it"]);
    holder.kill().unwrap();
    let named = |keeper: u32| {
        assert_eq!(scene.live()[0]["pid"], keeper);
        let keeper = format!("\"it\" (pid {keeper})");
        let tree = scene.done(&["ls"]).stdout();
        assert!(tree.contains(&keeper), "{tree}");
        let who = scene.done(&["who", "a"]).stdout();
        assert!(who.contains(&keeper), "{who}");
        let refused = scene.done(&["run", "-w", "a", "-t", "10ms", "--", "true"]).stderr();
        assert!(refused.contains(&keeper), "{refused}");
        let refused = scene.done(&["run", "-w", "a", "--try", "--json", "--", "true"]).stderr();
        assert!(refused.contains(&keeper.replace('"', "\\\"")), "{refused}");
    };
    // A zombie keeps nothing: nobody has waited for the wrapper.
    until("it is dead", || state(holder.id()) == 'Z');
    named(holder.command);
    holder.status();
    named(holder.command);
    // What it has left behind keeps it as well.
    let mut running = scene.run(&["-w", "b", "--label", "it"], "sleep 600 & echo $!; read line");
    let daemon: u32 = running.line().parse().unwrap();
    running.kill().unwrap();
    running.status();
    running.close_input(); // and the command ends
    let keeper = || scene.live().iter().map(|it| it["pid"].as_u64()).collect::<Vec<_>>();
    until("only that is left", || keeper().contains(&Some(daemon.into())));
    kill(daemon, Signal::KILL);
}

/// Scripts and programs use the small numbers for their own.
#[test]
fn a_command_inherits_one_descriptor_out_of_its_way() {
    let scene = Scene::new();
    let done = scene.done(&["run", "-w", "a", "--", "find", "/proc/self/fd", "-printf", "%f %l\n"]);
    let table = scene.table().canonicalize().unwrap().join("table");
    let is_table = |line: &&str| line.ends_with(&format!(" {}", table.display()));
    let shown = done.stdout();
    let numbers: Vec<_> = shown.lines().filter(is_table).map(|line| line.split_once(' ')).collect();
    let [Some((number, _))] = numbers[..] else { panic!("{shown}") };
    assert!(number.parse::<u32>().unwrap() >= 100, "{shown}");
}

#[test]
fn a_killed_command_releases() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    kill(holder.command, Signal::KILL);
    assert_eq!(holder.code(), 128 + 9);
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn those_behind_a_killed_waiter_go_on() {
    let scene = Scene::new();
    let mut reader = scene.hold(&["-r", "a"]);
    let mut writer = scene.wait(&["-w", "a"]);
    let mut behind = scene.wait(&["-r", "a"]);
    let mut writer_behind = scene.wait(&["-w", "a"]);
    writer.kill().unwrap();
    assert_eq!(behind.code(), 0, "nothing stands between the two readers any more");
    writer.status();
    scene.until_counts(1, 1);
    assert_eq!(reader.finish(), 0);
    assert_eq!(writer_behind.code(), 0);
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn wrapper_and_command_killed_together_release() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut waiter = scene.wait(&["-w", "a"]);
    kill(holder.command, Signal::STOP); // so that the wrapper is not told before it dies
    holder.kill().unwrap();
    kill(holder.command, Signal::KILL);
    holder.status();
    assert_eq!(waiter.code(), 0);
    until("nothing is left", || scene.counts() == (0, 0));
    assert_eq!(scene.done(&["run", "-w", "/", "--try", "--", "true"]).code(), 0);
}

#[test]
fn what_a_command_leaves_running_does_not_keep_the_lock() {
    let scene = Scene::new();
    let script = "sleep 600 >/dev/null 2>&1 & echo $!";
    let mut running = scene.run(&["-w", "a"], script);
    let daemon = running.line().parse().unwrap();
    assert_eq!(running.code(), 0);
    assert!(is_alive(daemon));
    assert_eq!(scene.done(&["run", "-w", "a", "--try", "--", "true"]).code(), 0);
    kill(daemon, Signal::KILL);
}

#[test]
fn what_a_command_leaves_running_keeps_the_lock_if_no_wrapper_can_release_it() {
    let scene = Scene::new();
    let script = "sleep 600 >/dev/null 2>&1 & echo $!; read line; exit 0";
    let mut running = scene.run(&["-w", "a"], script);
    let daemon = running.line().parse().unwrap();
    running.kill().unwrap();
    running.status();
    running.close_input(); // and the command ends
    assert_eq!(scene.counts(), (1, 0));
    assert_eq!(scene.done(&["run", "-w", "a", "--try", "--", "true"]).code(), 75);
    kill(daemon, Signal::KILL);
    until("it is free", || scene.counts() == (0, 0));
}

#[test]
fn many_killed_at_random_leave_nothing() {
    let scene = Scene::new();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut running: Vec<_> = (0..20).map(|_| scene.run(&["-w", "a"], "exec sleep 0.01")).collect();
    for _ in 0..10 {
        let victim = rng.usize(0..running.len());
        // The command of a killed wrapper ends by itself soon.
        let _ = running.swap_remove(victim).kill();
    }
    running.iter_mut().for_each(|running| assert_eq!(running.code(), 0));
    until("nothing is left", || scene.counts() == (0, 0));
}
