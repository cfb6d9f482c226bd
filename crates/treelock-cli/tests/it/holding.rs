//! `treelock hold` and `treelock release`: locks that last between commands.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    scene::{Done, Running, Scene, TREELOCK, can, is_alive, kill, state, until},
    schema,
    timeless::timeless,
};

/// A keeper in the background, which is killed with its scene.
pub(crate) struct Kept {
    pub(crate) ticket: String,
    pub(crate) pid: u32,
    /// What `hold --json` printed.
    pub(crate) said: Value,
}

impl Kept {
    /// Runs `treelock hold ARGUMENTS`, which is granted.
    #[track_caller]
    pub(crate) fn hold(scene: &Scene, arguments: &[&str]) -> Kept {
        let done = scene.done(&[&["hold", "--json"], arguments].concat());
        assert_eq!((done.code(), &*done.stderr()), (0, ""));
        Kept::of(&done.stdout())
    }

    pub(crate) fn of(printed: &str) -> Kept {
        let said = schema::check("hold --json", printed);
        Kept { ticket: said["ticket"].to_string(), pid: said["pid"].as_u64().unwrap() as u32, said }
    }

    #[track_caller]
    pub(crate) fn until_gone(&self) {
        until("the keeper is gone", || !is_alive(self.pid));
    }
}

/// A process to hold for, which lives until the test ends it.
pub(crate) fn process() -> Running {
    let running = Running::start(&mut Command::new("cat"));
    let comm = format!("/proc/{}/comm", running.id());
    until("it is `cat`", || fs::read_to_string(&comm).unwrap() == "cat\n");
    running
}

pub(crate) fn pid(running: &Running) -> String {
    running.id().to_string()
}

#[test]
fn what_is_held_is_shown_as_such_and_ends_with_its_process() {
    let scene = Scene::new();
    let mut agent = process();
    let kept =
        Kept::hold(&scene, &["-w", "src/a", "-r", "lib", "--pid", &pid(&agent), "-l", "agent-7"]);
    let label = format!("agent-7 for pid {} (cat)", agent.id());
    assert_eq!(kept.said["for_pid"], agent.id());
    assert!(kept.said["token"].as_str().unwrap().parse::<u64>().is_ok_and(|token| token > 1));

    let live = schema::check("ls --json", &scene.done(&["ls", "--json"]).stdout());
    let request = &live["requests"][0];
    assert_eq!(request["label"], label);
    assert_eq!((&request["for_pid"], &request["pid"]), (&agent.id().into(), &kept.pid.into()));
    let by = format!("{label:?} (pid {})", kept.pid);
    let tree = scene.done(&["ls", "src"]).stdout();
    assert_eq!(timeless(&tree), timeless(&format!("/src/a\n└── #1 write held 0.1s {by}\n")));
    let message = format!("write /src is blocked by {by}: write /src/a, held for 0.1s; 1 ahead\n");
    assert_eq!(timeless(&scene.done(&["who", "src"]).stdout()), timeless(&message));
    let who = schema::check("who --json", &scene.done(&["who", "src", "--json"]).stdout());
    assert_eq!(who["blocked"]["for_pid"], agent.id());
    let late = scene.done(&["run", "-w", "src", "--try", "--", "true"]);
    assert_eq!(timeless(&late.stderr()), timeless(&format!("treelock: {message}")));

    agent.kill().unwrap();
    // Nobody has waited for it yet.
    kept.until_gone();
    assert_eq!(scene.counts(), (0, 0));
    agent.status();
}

#[test]
fn what_a_shell_reads() {
    let scene = Scene::new();
    let script = "lock=$($0 hold -w a --pid $$) || exit; eval \"$lock\"
        echo \"$TREELOCK_HOLD $TREELOCK_TOKEN $(cat)\"";
    let mut shell = Command::new("sh");
    scene.environment(shell.args(["-c", script, TREELOCK]));
    let mut shell = Running::start(&mut shell);
    scene.until_counts(1, 0);
    let label = scene.live()[0]["label"].as_str().unwrap().to_owned();
    assert!(label.starts_with(&format!("hold for pid {} (", shell.id())), "{label}");
    shell.close_input();
    let line = shell.line();
    let words: Vec<_> = line.split(' ').collect();
    assert!(words[0] == "1" && words[1].parse::<u64>().is_ok_and(|token| token > 1), "{line}");
    assert_eq!(shell.code(), 0);
    until("it ends with the shell", || scene.counts() == (0, 0));
}

#[test]
fn a_keeper_leaves_everything_behind() {
    let scene = Scene::new();
    let agent = process();
    let kept = Kept::hold(&scene, &["-w", "a", "--pid", &pid(&agent)]);
    let of = |name: &str| fs::read_link(format!("/proc/{}/{name}", kept.pid)).unwrap();
    assert_eq!(of("cwd"), PathBuf::from("/"));
    for number in 0..3 {
        assert_eq!(of(&format!("fd/{number}")), PathBuf::from("/dev/null"));
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", kept.pid)).unwrap();
    let (name, rest) = stat.split_once(") ").unwrap();
    assert!(name.ends_with("(treelock #1"), "{stat}");
    let [_, _, group, session, terminal] = rest.split(' ').take(5).collect::<Vec<_>>()[..] else {
        panic!("{stat}")
    };
    let own = kept.pid.to_string();
    assert_eq!([group, session, terminal], [&own, &own, "0"], "{stat}");
    let words = fs::read_to_string(format!("/proc/{}/cmdline", kept.pid)).unwrap();
    assert!(words.starts_with("treelock: keeper\0hold\0--json\0-w\0a\0--pid\0"), "{words}");
}

/// A descriptor that it kept would keep the lock around it, too.
#[test]
fn a_keeper_does_not_keep_the_lock_around_it() {
    let scene = Scene::new();
    let script = format!("{TREELOCK} hold -w b --ttl 1h --json; read line");
    let mut running = scene.run(&["-w", "a"], &script);
    let kept = Kept::of(&running.line());
    running.kill().unwrap();
    running.status();
    running.close_input(); // and the command ends
    until("the lock around it is free", || scene.counts() == (1, 0));
    assert!(is_alive(kept.pid));
    assert_eq!(scene.live()[0]["label"], "hold for 1h at most");
}

#[test]
fn it_waits_its_turn() {
    let scene = Scene::new();
    let agent = process();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut waiter = Running::start(&mut scene.treelock([
        "hold",
        "-w",
        "a",
        "--json",
        "--timeout",
        "1h",
        "--pid",
        &pid(&agent),
    ]));
    scene.until_counts(1, 1);
    assert_eq!(scene.live()[1]["for_pid"], agent.id());
    assert_eq!(waiter.try_wait().unwrap(), None);
    assert_eq!(holder.finish(), 0);
    let kept = Kept::of(&waiter.line());
    assert_eq!((waiter.code(), scene.counts()), (0, (1, 0)));
    assert!(is_alive(kept.pid));
}

#[test]
fn it_is_not_granted_in_time() {
    let scene = Scene::new();
    let agent = process();
    let mut holder = scene.hold(&["-w", "src/auth", "--label", "agent-8"]);
    let message = "write /src is blocked by \"agent-8\"";
    for (how, code) in [
        (&["--try"][..], 75),
        (&["--timeout", "0"], 75),
        (&["-t", "20ms"], 75),
        (&["-t", "0.02", "-E", "9"], 9),
    ] {
        let done = scene.done(&[&["hold", "-w", "src", "--pid", &pid(&agent)], how].concat());
        assert_eq!((done.code(), &*done.stdout()), (code, ""), "{how:?}");
        assert!(done.stderr().starts_with(&format!("treelock: {message}")), "{}", done.stderr());
    }
    let json = scene.done(&["hold", "-w", "src", "--try", "--ttl", "1h", "--json"]);
    schema::check("run --json", &json.stderr());
    let quiet = scene.done(&["hold", "-w", "src", "--try", "--ttl", "1h", "-q"]);
    assert_eq!((quiet.code(), &*quiet.stdout(), &*quiet.stderr()), (75, "", ""));
    assert_eq!(scene.counts(), (1, 0), "nothing is left of those who gave up");
    assert_eq!(holder.finish(), 0);
}

/// Whoever ends the command that waits, the keeper goes with it.
#[test]
fn the_end_of_a_waiting_command_is_the_end_of_its_request() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    for (signal, code) in [
        (Signal::INT, 130),
        (Signal::TERM, 128 + 15),
        (Signal::HUP, 128 + 1),
        (Signal::USR1, 128 + 10),
    ] {
        let mut waiter = Running::start(&mut scene.treelock(["hold", "-w", "a", "--ttl", "1h"]));
        scene.until_counts(1, 1);
        waiter.signal(signal);
        assert_eq!(waiter.code(), code);
        assert_eq!(scene.counts(), (1, 0), "it is gone before its command");
    }
    let mut waiter = Running::start(&mut scene.treelock(["hold", "-w", "a", "--ttl", "1h"]));
    scene.until_counts(1, 1);
    let keeper = scene.live()[1]["pid"].as_u64().unwrap() as u32;
    waiter.kill().unwrap();
    waiter.status();
    until("the keeper is gone", || !is_alive(keeper));
    assert_eq!((scene.counts(), scene.keepers()), ((1, 0), vec![]));

    // And the other way round.
    let mut waiter = Running::start(&mut scene.treelock(["hold", "-w", "a", "--ttl", "1h"]));
    scene.until_counts(1, 1);
    kill(scene.live()[1]["pid"].as_u64().unwrap() as u32, Signal::KILL);
    assert_eq!(waiter.code(), 128 + 9);
    assert_eq!(holder.finish(), 0);
}

#[test]
fn the_end_of_its_process_ends_the_wait() {
    let scene = Scene::new();
    let mut agent = process();
    let mut holder = scene.hold(&["-w", "a"]);
    let waiting = ["hold", "-w", "a", "--pid", &pid(&agent)];
    let mut waiter = Running::start(&mut scene.treelock(waiting));
    scene.until_counts(1, 1);
    agent.kill().unwrap();
    assert_eq!(waiter.code(), 66);
    let sentence = format!(
        "treelock: process {} does not exist or has ended, so nothing is held for it\n",
        agent.id()
    );
    assert_eq!(waiter.stderr(), sentence);
    assert_eq!(scene.counts(), (1, 0));
    assert_eq!(holder.finish(), 0);
    // It is a zombie still, which nothing can be held for.
    let dead = scene.done(&["hold", "-w", "b", "--pid", &pid(&agent)]);
    assert_eq!((dead.code(), dead.stderr()), (66, sentence));
}

#[test]
fn a_stopped_process_holds() {
    let scene = Scene::new();
    let mut agent = process();
    let kept = Kept::hold(&scene, &["-w", "a", "--pid", &pid(&agent)]);
    agent.signal(Signal::STOP);
    until("it is stopped", || state(agent.id()) == 'T');
    assert_eq!(scene.done(&["run", "-w", "a", "--try", "--", "true"]).code(), 75);
    assert!(is_alive(kept.pid));
    agent.kill().unwrap();
    kept.until_gone();
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn it_ends_when_the_time_is_over() {
    let scene = Scene::new();
    let agent = process();
    let short = Kept::hold(&scene, &["-w", "a", "--ttl", "50ms"]);
    let either = Kept::hold(&scene, &["-w", "b", "--ttl", "0.05", "--pid", &pid(&agent)]);
    let long = Kept::hold(&scene, &["-w", "c", "--ttl", "90m"]);
    // A time that no clock counts is for ever.
    let forever = Kept::hold(&scene, &["-w", "d", "--ttl", "99999999999999999999999999"]);
    short.until_gone();
    either.until_gone();
    assert_eq!(scene.counts(), (2, 0));
    assert_eq!(scene.live()[0]["label"], "hold for 1h 30m at most");
    assert_eq!(scene.live()[0]["for_pid"], Value::Null);
    assert!(is_alive(long.pid) && is_alive(forever.pid));
}

#[test]
fn it_outlives_the_shell_that_started_it() {
    let scene = Scene::new();
    let script = "trap '' TERM INT HUP; exec $0 hold -w a --ttl 1h --json";
    let mut shell = Command::new("setsid");
    scene.environment(shell.args(["-w", "sh", "-c", script, TREELOCK]));
    let done = Done(shell.stdin(Stdio::null()).output().unwrap());
    let kept = Kept::of(&done.stdout());
    assert_eq!((scene.counts(), scene.keepers()), ((1, 0), vec![kept.pid]));
    // Signals that the shell ignored end it nevertheless.
    let released = scene.done(&["release", &kept.ticket]);
    assert_eq!((released.code(), &*released.stdout(), &*released.stderr()), (0, "", ""));
    kept.until_gone();
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn released() {
    let scene = Scene::new();
    let agent = process();
    let kept = Kept::hold(&scene, &["-w", "a", "--pid", &pid(&agent)]);
    let mut waiter = scene.wait(&["-w", "a"]);
    assert_eq!(scene.done(&["release", "#1"]).code(), 0);
    assert_eq!(waiter.code(), 0);
    kept.until_gone();
    let again = scene.done(&["release", "1"]);
    assert_eq!(again.code(), 66);
    assert!(again.stderr().starts_with("treelock: no request has ticket #1; "));

    // One that is stopped goes on, and ends.
    let kept = Kept::hold(&scene, &["-w", "a", "--pid", &pid(&agent)]);
    kill(kept.pid, Signal::STOP);
    until("it is stopped", || state(kept.pid) == 'T');
    assert_eq!(scene.done(&["release", &kept.ticket]).code(), 0);
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn everything_of_one_process_is_released() {
    let scene = Scene::new();
    let (agent, other) = (process(), process());
    let one = Kept::hold(&scene, &["-w", "a", "--pid", &pid(&agent)]);
    let two = Kept::hold(&scene, &["-w", "b", "--pid", &pid(&agent), "--ttl", "1h"]);
    let others = Kept::hold(&scene, &["-w", "c", "--pid", &pid(&other)]);
    assert_eq!(scene.done(&["release", "--pid", &pid(&agent)]).code(), 0);
    assert_eq!(scene.counts(), (1, 0));
    one.until_gone();
    two.until_gone();
    assert!(is_alive(others.pid));
    let again = scene.done(&["release", "--pid", &pid(&agent)]);
    assert_eq!(again.code(), 66);
    let sentence = format!("treelock: nothing is held for process {} on this host; ", agent.id());
    assert!(again.stderr().starts_with(&sentence), "{}", again.stderr());
}

#[test]
fn two_for_one_process_end_with_it() {
    let scene = Scene::new();
    let mut agent = process();
    let one = Kept::hold(&scene, &["-w", "a", "--pid", &pid(&agent)]);
    let two = Kept::hold(&scene, &["-r", "b", "--pid", &pid(&agent)]);
    let again = scene.done(&["hold", "-w", "b", "--pid", &pid(&agent), "--try"]);
    assert_eq!(again.code(), 75, "it is not re-entrant");
    agent.kill().unwrap();
    one.until_gone();
    two.until_gone();
    assert_eq!(scene.counts(), (0, 0));
}

/// Nothing but a keeper is ended, whatever the label of another request says.
#[test]
fn what_is_not_a_hold_is_not_released() {
    let scene = Scene::new();
    let agent = process();
    let label = format!("hold for pid {} (cat)", agent.id());
    let mut holder = scene.hold(&["-w", "a", "--label", &label]);
    let mut waiter = Running::start(&mut scene.treelock(["hold", "-w", "a", "--ttl", "1h"]));
    scene.until_counts(1, 1);
    for arguments in [&["release", "1"][..], &["release", "--pid", &pid(&agent)], &["release", "2"]]
    {
        let done = scene.done(arguments);
        assert_eq!(done.code(), 64, "{arguments:?}");
        assert!(done.stderr().contains("use `treelock break "), "{}", done.stderr());
    }
    assert_eq!(scene.counts(), (1, 1));
    waiter.signal(Signal::TERM);
    waiter.code();
    assert_eq!(holder.finish(), 0);
}

#[test]
fn a_keeper_that_is_killed_or_broken_releases() {
    let scene = Scene::new();
    let agent = process();
    let kept = Kept::hold(&scene, &["-w", "a", "--pid", &pid(&agent)]);
    kill(kept.pid, Signal::KILL);
    scene.until_counts(0, 0);
    let kept = Kept::hold(&scene, &["-w", "a", "--pid", &pid(&agent)]);
    let done = scene.done(&["break", &kept.ticket, "--force"]);
    assert_eq!(done.code(), 0, "{}", done.stderr());
    let by = format!("  kept by pid {}: treelock: keeper hold --json -w a --pid ", kept.pid);
    assert!(done.stdout().contains(&by), "{}", done.stdout());
    kept.until_gone();
}

#[test]
fn a_lock_that_is_lost_ends_its_keeper() {
    let scene = Scene::new();
    let agent = process();
    let kept = Kept::hold(&scene, &["-w", "a", "--pid", &pid(&agent)]);
    fs::remove_dir_all(scene.table()).unwrap();
    kept.until_gone();
    assert_eq!(scene.done(&["release", &kept.ticket]).code(), 66);
}

/// A lock that nobody was told of is not held.
#[test]
fn a_ticket_that_cannot_be_printed_is_not_held() {
    let scene = Scene::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = scene.treelock(["hold", "-w", "a", "--ttl", "1h"]);
    let done = Done(command.stdin(Stdio::null()).stdout(writer).output().unwrap());
    assert_eq!(done.code(), 128 + 13);
    until("it is free", || scene.counts() == (0, 0) && scene.keepers().is_empty());
}

/// A later process of the same number is not the one that is held for.
#[test]
fn a_number_that_is_used_again() {
    let namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    if !can(&[&namespace[..], &["sh", "-c", "echo 50 > /proc/sys/kernel/ns_last_pid"]].concat()) {
        return;
    }
    let scene = Scene::new();
    // The keeper is stopped meanwhile, so that it sees no moment without a process of this number.
    let script = "sleep 600 & old=$!
        keeper=$($0 hold -w a --pid $old --json | sed 's/.*\"pid\":\\([0-9]*\\),.*/\\1/')
        kill -STOP $keeper; kill -KILL $old; wait $old
        echo $((old - 1)) > /proc/sys/kernel/ns_last_pid
        sleep 600 & test $! = $old || exit 3
        kill -CONT $keeper
        while $0 ls --json | grep -q held; do sleep 0.01; done
        kill -0 $old && echo free";
    let mut shell = Command::new(namespace[0]);
    shell.args(&namespace[1..]).args(["sh", "-c", script, TREELOCK]);
    scene.environment(&mut shell);
    let mut shell = Running::start(&mut shell);
    assert_eq!(shell.line(), "free");
    assert_eq!(shell.code(), 0);
}

#[test]
fn what_cannot_be_held_is_explained() {
    let scene = Scene::new();
    let told = |arguments: &[&str], code: i32, sentence: &str| {
        let done = scene.done(arguments);
        assert_eq!(done.code(), code, "{arguments:?}");
        assert!(done.stderr().contains(sentence), "{arguments:?}: {}", done.stderr());
        assert_eq!(done.stdout(), "");
    };
    told(&["hold", "-w", "a"], 64, "say how long to hold: --pid $$ ");
    told(&["hold", "--ttl", "1h"], 64, "nothing to lock");
    told(&["hold", "-w", "a/../b", "--ttl", "1h"], 64, "\"a/../b\" does not name a node");
    told(&["hold", "-w", "a", "--ttl", "0"], 64, "it would be over at once");
    told(&["hold", "-w", "a", "--pid", ""], 64, "a process has a positive number");
    told(&["hold", "-w", "a", "--pid", "0"], 64, "a process has a positive number");
    told(&["hold", "-w", "a", "--ttl", "1h", "-E", "0"], 64, "would say that the lock is held");
    told(&["hold", "-w", "a", "--pid", "2147483647"], 66, "does not exist or has ended");
    told(&["hold", "-w", "a", "--ttl", "1h", "--", "make"], 64, "unexpected argument");
    told(&["release"], 64, "<TICKET>");
    told(&["release", "1", "--pid", "1"], 64, "cannot be used with");
    fs::write(scene.path("file"), "").unwrap();
    let dir = scene.path("file/locks");
    told(&["hold", "-w", "a", "--ttl", "1h", "--dir", dir.to_str().unwrap()], 74, "file/locks");
    // This thread has another number than the process.
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    told(&["hold", "-w", "a", "--pid", &thread], 64, "is the number of a thread");
    let mut own = Command::new("sh");
    scene.environment(own.args(["-c", "exec $0 hold -w a --pid $$", TREELOCK]));
    let own = Done(own.stdin(Stdio::null()).output().unwrap());
    assert_eq!(own.code(), 64);
    assert!(own.stderr().contains("this command itself"), "{}", own.stderr());
    assert_eq!(scene.counts(), (0, 0));
}
