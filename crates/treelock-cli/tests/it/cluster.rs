//! The lock between machines, by the command: on real servers, which the tests start themselves.

use std::{
    ffi::OsStr,
    fs,
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::Signal as Nix,
};
use rustix::process::Signal;
use treelock::Request;
use treelock_etcd::{EtcdLock, Options};

use crate::{
    exclusion::{Fate, play},
    scene::{Done, Running, Scene, is_alive, kill, until, until_it_listens},
    schema,
    server::Cluster,
    timeless::timeless,
};

/// A cluster of one, and a scene that uses it.
fn scene() -> Option<(Cluster, Scene)> {
    let cluster = Cluster::start(1)?;
    let scene = Scene::on(&cluster.endpoints());
    Some((cluster, scene))
}

/// This host, as the lock shows it.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[test]
fn what_conflicts_is_never_inside_together() {
    let Some((_cluster, scene)) = scene() else { return };
    play(&scene, 16, 0x6574_6364, &[Fate::Lives, Fate::Lives, Fate::CommandKilled]);
}

#[test]
fn it_is_shown_as_on_one_host() {
    let Some((_cluster, scene)) = scene() else { return };
    let nobody = scene.done(&["ls"]);
    assert_eq!((nobody.code(), &*nobody.stdout()), (0, ""));
    assert!(nobody.stderr().contains("anything in etcd http://127.0.0.1:"), "{}", nobody.stderr());
    let mut holder = scene.hold(&["-w", "src/auth", "-r", "src/lib", "--label", "agent-7"]);
    let mut waiter = scene.wait(&["-w", "src", "--label", "agent-8"]);
    let live = schema::check("ls --json", &scene.done(&["ls", "--json"]).stdout());
    let requests = live["requests"].as_array().unwrap();
    let ticket = |number: usize| requests[number]["ticket"].as_u64().unwrap();
    assert_eq!(requests[0]["pid"], holder.id());
    assert_eq!(requests[0]["host"], host());
    assert_eq!(requests[1]["waits_for"], ticket(0));
    let tree = timeless(&scene.done(&["ls"]).stdout()).replace(&host(), "HOST");
    let expected = format!(
        "/src\n├── #{two} write waiting T \"agent-8\" (pid N on HOST) after #{one}\n\
         ├── /auth\n│   └── #{one} write held T \"agent-7\" (pid N on HOST)\n\
         └── /lib\n    └── #{one} read held T \"agent-7\" (pid N on HOST)\n",
        one = ticket(0),
        two = ticket(1),
    );
    assert_eq!(tree, timeless(&expected));
    let who = scene.done(&["who", "src/lib/x"]);
    assert_eq!(who.code(), 75);
    assert!(who.stdout().contains("is blocked by \"agent-7\""), "{}", who.stdout());
    schema::check("who --json", &scene.done(&["who", "src", "--json"]).stdout());
    let tried = scene.done(&["run", "-r", "src/auth", "--try", "--json", "--", "true"]);
    assert_eq!(tried.code(), 75);
    let blocked = &schema::check("run --json", &tried.stderr())["blocked"];
    assert_eq!((&blocked["label"], &blocked["pid"]), (&"agent-7".into(), &holder.id().into()));
    for how in [&["--timeout", "200ms"][..], &["--try"]] {
        let late = scene.done(&[&["run", "-w", "src/lib"], how, &["--", "touch", "ran"]].concat());
        assert_eq!(late.code(), 75, "{}", late.stderr());
        assert!(late.stderr().contains("is blocked by \"agent-7\""), "{}", late.stderr());
    }
    assert!(!scene.path("ran").exists());
    assert_eq!(scene.counts(), (1, 1), "nothing is left of those who gave up");
    assert_eq!(holder.finish(), 0);
    assert_eq!(waiter.code(), 0);
    assert_eq!(scene.counts(), (0, 0), "given back before the command has ended");
}

#[test]
fn the_command_has_its_token_and_its_code() {
    let Some((_cluster, scene)) = scene() else { return };
    let token = || {
        let done = scene.done(&["run", "-w", "a", "--", "sh", "-c", "echo $TREELOCK_TOKEN"]);
        done.stdout().trim().parse::<u64>().unwrap()
    };
    let first = token();
    assert!(token() > first);
    for (command, code) in [
        (&["sh", "-c", "exit 7"][..], 7),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["no-such-command"], 127),
        (&["."], 126),
    ] {
        let done = scene.done(&[&["run", "-w", "a", "--"], command].concat());
        assert_eq!(done.code(), code, "{}", done.stderr());
    }
    let missing = scene.done(&["run", "-w", "a", "--", "no-such-command"]);
    assert_eq!(missing.stderr(), "treelock: \"no-such-command\": command not found\n");
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn namespaces_do_not_see_each_other() {
    let Some((_cluster, scene)) = scene() else { return };
    let _holder = scene.hold(&["-w", "/", "--namespace", "one"]);
    assert_eq!(scene.done(&["run", "-w", "/", "--try", "--", "true"]).code(), 0);
    let one = ["run", "-w", "/", "--try", "--namespace", "one", "--", "true"];
    assert_eq!(scene.done(&one).code(), 75);
    let mut from_environment = scene.treelock(["who", "a"]);
    let done = Done(from_environment.env("TREELOCK_NAMESPACE", "one").output().unwrap());
    assert_eq!(done.code(), 75);
}

#[test]
fn signals_are_forwarded() {
    let Some((_cluster, scene)) = scene() else { return };
    let script = "trap 'kill -KILL $!; exit 3' USR1; sleep 600 & echo up; wait";
    let mut running = scene.run(&["-w", "a"], script);
    assert_eq!(running.line(), "up");
    running.signal(Signal::USR1);
    assert_eq!(running.code(), 3);
    assert_eq!(scene.counts(), (0, 0));
}

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
            .contains("etcd does not answer; the place in the line is free in about 3600 s")
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
    let says = "the time is over, and etcd does not say who is in the way";
    assert!(done.stderr().contains(says), "{}", done.stderr());
    cluster.members[0].signal(Nix::SIGCONT);
    assert!(!scene.path("ran").exists());
}

/// etcd is gone: the command is told, and killed if it does not end, before the lease can have ended.
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
    // What was renewed last may have been renewed just now, and etcd cannot give it away earlier than this.
    let bound = Duration::from_secs(10);
    assert!(stopped.elapsed() < bound, "etcd may have given the lock away by now");
    assert_eq!(killed.code(), Some(128 + 9));
    let said = running.stderr();
    assert!(said.contains("the lock is lost: its lease may have ended"), "{said}");
    assert!(said.contains("the command did not end, and is killed"), "{said}");
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

/// What is done without the lock is no success, whatever the command thinks of it.
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

/// One that is granted and stands still, as it does when nobody reads what it says, may have lost the lock.
#[test]
fn a_lock_that_is_lost_before_the_command_is_started_starts_none() {
    let Some((cluster, scene)) = scene() else { return };
    let lock = EtcdLock::new(&Options::new(cluster.endpoints()));
    // Of this process, which runs treelock: so it says whom it waits for.
    let long = Request::new().write("a").unwrap().label("x".repeat(100_000));
    let blocker = lock.blocking().acquire(&long).unwrap();
    let (mut said, writer) = small_pipe();
    let mut command = scene.treelock(["run", "-w", "a", "--ttl", "1h", "--", "touch", "ran"]);
    command.env("TREELOCK_TOKEN", "1");
    let mut running = Running::start_with_stderr(&mut command, writer.into());
    // It speaks, and stands still until somebody reads the rest.
    said.read_exact(&mut [0]).unwrap();
    blocker.release_blocking();
    scene.until_counts(1, 0);
    let ticket = scene.live()[0]["ticket"].to_string();
    assert_eq!(scene.done(&["break", &ticket, "--force"]).code(), 0);
    let mut rest = String::new();
    // What is started has it too, and the end of it all comes when nobody has.
    drop(command);
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(running.code(), 74, "{}", rest.len());
    assert!(rest.contains("the lock was lost before the command was started"));
    assert!(!scene.path("ran").exists());
}

/// The command line may hold what others must not see.
#[test]
fn the_label_of_who_gives_none_is_the_program() {
    let Some((_cluster, scene)) = scene() else { return };
    let treelock = crate::scene::TREELOCK;
    let done = scene.done(&["run", "-w", "a", "--", treelock, "ls", "--json", "--", "a"]);
    assert_eq!(done.code(), 0, "{}", done.stderr());
    let listing = schema::check("ls --json", &done.stdout());
    assert_eq!(listing["requests"][0]["label"], "treelock");
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

#[test]
fn a_request_is_taken_away() {
    let Some((_cluster, scene)) = scene() else { return };
    let mut holder = scene.hold(&["-w", "a", "--label", "it", "--ttl", "1h"]);
    let mut waiter = scene.wait(&["-w", "a/b"]);
    let ticket = scene.live()[0]["ticket"].to_string();
    let unasked = scene.done(&["break", &ticket]);
    assert_eq!(unasked.code(), 64);
    assert!(unasked.stderr().contains("say --force"), "{}", unasked.stderr());
    let done = scene.done(&["break", &ticket, "--force"]);
    assert_eq!(done.code(), 0, "{}", done.stderr());
    let text = done.stdout();
    assert!(text.starts_with(&format!("#{ticket} held for ")), "{text}");
    assert!(text.contains(&format!("by \"it\" (pid {} on {}): write /a\n", holder.id(), host())));
    assert!(text.contains("only its fencing token keeps it"), "{text}");
    assert!(text.ends_with(&format!("\ntaken away; #{ticket} is free now\n")), "{text}");
    assert_eq!(waiter.code(), 0, "it goes on");
    assert_eq!(holder.code(), 128 + 15, "its command was told to end");
    assert!(holder.stderr().contains("the lock is lost: "));
    assert_eq!(scene.done(&["break", &ticket, "--force"]).code(), 66);

    let _holder = scene.hold(&["-w", "a"]);
    let mut waiter = scene.wait(&["-w", "a"]);
    let ticket = scene.live()[1]["ticket"].to_string();
    let done = scene.done(&["break", &ticket, "--force", "--json"]);
    let broken = schema::check("break --json", &done.stdout());
    assert_eq!((&broken["free"], &broken["request"]["state"]), (&true.into(), &"waiting".into()));
    assert_eq!(waiter.code(), 74);
    assert!(waiter.stderr().contains("ask again"));
}

/// An entry whose session is not there: whatever becomes of it, what is said of it is true.
#[test]
fn what_is_not_taken_away_is_not_called_free() {
    let Some((cluster, scene)) = scene() else { return };
    let entry = r#"{"nonce":1,"host":"h","pid":1,"since":1}"#;
    let mut etcdctl = std::process::Command::new("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &cluster.endpoints()[0]]);
    etcdctl.args(["put", "/treelock/default/W/b/!1.0", entry]);
    let mut put = etcdctl.output();
    until("it runs", || {
        put = etcdctl.output();
        !put.as_ref().is_ok_and(|output| !output.status.success())
    });
    if put.is_err() {
        return eprintln!("not tested, since there is no etcdctl");
    }
    let ticket = scene.live()[0]["ticket"].to_string();
    let done = scene.done(&["break", &ticket, "--force"]);
    let is_free = scene.live().is_empty();
    assert_eq!(done.code(), i32::from(!is_free), "{}", done.stdout());
    let says = if is_free { "is free now\n" } else { "is NOT free: " };
    assert!(done.stdout().contains(&format!("#{ticket} {says}")), "{}", done.stdout());
    if !is_free {
        let done = scene.done(&["break", &ticket, "--force", "--json"]);
        assert_eq!(schema::check("break --json", &done.stdout())["free"], false);
    }
}

#[test]
fn the_run_that_it_is_part_of_is_spared_and_recognised() {
    let Some((_cluster, scene)) = scene() else { return };
    let script = format!(
        "ticket=$({treelock} ls --json | tr -dc '0-9,' | cut -d, -f1); \
         {treelock} break $ticket 2>out; echo $? >code; exec {treelock} run -w a/b -- true 2>said",
        treelock = crate::scene::TREELOCK,
    );
    let mut running = scene.run(&["-w", "a"], &script);
    until("it refused", || fs::read(scene.path("code")).is_ok_and(|code| code == b"64\n"));
    let said = fs::read_to_string(scene.path("out")).unwrap();
    assert!(said.contains("this command runs under that ticket"), "{said}");
    until("it says what it waits for", || {
        let said = fs::read_to_string(scene.path("said")).unwrap_or_default();
        said.contains("that is the run that this one is part of")
    });
    kill(crate::scene::children(running.id())[0], Signal::TERM);
    assert_eq!(running.code(), 128 + 15);
}

#[test]
fn the_doctor() {
    let Some((cluster, scene)) = scene() else { return };
    let _holder = scene.hold(&["-w", "a"]);
    let done = scene.done(&["doctor"]);
    let has_bad = done.stdout().lines().any(|line| line.starts_with("bad "));
    assert_eq!(done.code(), i32::from(has_bad), "{}", done.stdout());
    assert!(
        done.stdout().contains("good  1 request is live, and 1 session\n"),
        "{}",
        done.stdout()
    );
    let report = schema::check("doctor --json", &scene.done(&["doctor", "--json"]).stdout());
    let place = format!("etcd {}, namespace \"default\"", cluster.endpoints()[0]);
    assert_eq!(report["place"], place);
}

#[test]
fn an_epoch() {
    let Some((_cluster, scene)) = scene() else { return };
    let token = || {
        let done = scene.done(&["run", "-w", "a", "--", "sh", "-c", "echo $TREELOCK_TOKEN"]);
        done.stdout().trim().parse::<u64>().unwrap()
    };
    let before = token();
    let mut holder = scene.hold(&["-w", "b", "--ttl", "1h"]);
    let unasked = scene.done(&["doctor", "--begin-epoch"]);
    assert_eq!(unasked.code(), 64);
    let done = scene.done(&["doctor", "--begin-epoch", "--force"]);
    assert_eq!(done.code(), 0, "{}", done.stderr());
    assert!(done.stdout().starts_with("epoch 1 of etcd http://"), "{}", done.stdout());
    assert_eq!(holder.code(), 128 + 15, "its command is told to end");
    assert!(token() > before + (1 << 40), "far above all that were");
    let on_one_host = Scene::new().done(&["doctor", "--begin-epoch", "--force"]);
    assert_eq!(on_one_host.code(), 64);
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

#[test]
fn which_lock_is_meant() {
    let Some((cluster, scene)) = scene() else { return };
    let endpoint = &cluster.endpoints()[0];
    let _holder = scene.hold(&["-w", "a"]);
    let host = Scene::new();
    let who = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = host.treelock(arguments);
        Done(command.envs(environment.iter().copied()).output().unwrap())
    };
    // Variables for etcdctl move nobody to a cluster.
    let etcdctl = [("ETCDCTL_ENDPOINTS", &**endpoint), ("ETCDCTL_USER", "nobody:secret")];
    assert_eq!(who(&["who", "a"], &etcdctl).code(), 0);
    // An option counts for more than the environment.
    assert_eq!(who(&["who", "a", "--etcd", endpoint], &[]).code(), 75);
    let bare = endpoint.strip_prefix("http://").unwrap();
    assert_eq!(who(&["--etcd", bare, "who", "a"], &[]).code(), 75);
    assert_eq!(who(&["who", "a", "--etcd", "env"], &etcdctl[..1]).code(), 75);
    let dir = host.table();
    let dir = dir.to_str().unwrap();
    assert_eq!(who(&["who", "a", "--dir", dir], &[("TREELOCK_ETCD", endpoint)]).code(), 0);
    for (arguments, environment, says) in [
        (&["ls", "--etcd", endpoint, "--dir", dir][..], &[][..], "--dir and --etcd name two"),
        (&["ls"], &[("TREELOCK_ETCD", &**endpoint)], "TREELOCK_DIR and TREELOCK_ETCD name two"),
        (&["ls", "--namespace", "x"], &[], "--namespace is for a cluster"),
        (&["ls", "--etcd", ""], &[], "has no endpoints"),
        (&["ls", "--etcd", "env"], &[], "ETCDCTL_ENDPOINTS is empty or not set"),
        (&["ls", "--etcd", endpoint, "--ttl", "1s"], &[], "two at least"),
        (&["ls", "--etcd", endpoint, "--user", "me"], &[], "has no password"),
        (&["ls", "--etcd", endpoint, "--namespace", ""], &[], "the namespace is empty"),
        (&["ls", "--etcd", endpoint, "--namespace", "a/W"], &[], "has a slash"),
        (&["ls", "--etcd", "unix://x:1"], &[], "neither http:// nor https://"),
        (&["ls", "--etcd", bare, "--cert", "c"], &[], "give both --cert and --key"),
        (&["ls", "--etcd", bare, "--cacert", "no-such"], &[], "no-such cannot be read"),
        (&["ls", "--etcd", bare], &[("ETCDCTL_CACERT", "no-such")], "no-such cannot be read"),
    ] {
        let done = who(arguments, environment);
        assert_eq!(done.code(), 64, "{arguments:?}");
        assert!(done.stderr().contains(says), "{arguments:?}: {}", done.stderr());
    }
}

/// Lets the cluster ask everybody for a password; `root` has `right`.
fn with_password(cluster: &Cluster) {
    let etcdctl = |arguments: &[&str]| {
        let mut command = std::process::Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &cluster.endpoints()[0]]);
        command.args(arguments).output().is_ok_and(|output| output.status.success())
    };
    until("it runs", || etcdctl(&["user", "add", "root:right"]));
    assert!(etcdctl(&["user", "grant-role", "root", "root"]));
    assert!(etcdctl(&["auth", "enable"]));
}

#[test]
fn passwords() {
    let Some((cluster, scene)) = scene() else { return };
    if !crate::scene::can(&["etcdctl", "version"]) {
        return;
    }
    with_password(&cluster);
    let with = |user: &str, password: Option<&str>, arguments: &[&str]| {
        let mut command = scene.treelock(arguments);
        command.env("ETCDCTL_USER", user);
        if let Some(password) = password {
            command.env("ETCDCTL_PASSWORD", password);
        }
        Done(command.output().unwrap())
    };
    let run = ["run", "-w", "a", "--", "true"];
    assert_eq!(with("root:right", None, &run).code(), 0);
    assert_eq!(with("root", Some("right"), &run).code(), 0);
    let by_option = ["run", "-w", "a", "--user", "root", "--password", "right", "--", "true"];
    assert_eq!(scene.done(&by_option).code(), 0);
    for arguments in [&run[..], &["ls"], &["doctor"]] {
        let wrong = with("root", Some("wr0ng-secret"), arguments);
        assert_eq!(wrong.code(), 74, "{arguments:?}");
        assert!(wrong.stderr().contains("see that user and password are right"));
        assert!(!wrong.stderr().contains("wr0ng-secret"), "{}", wrong.stderr());
    }
    let shown = with("root:right", None, &["doctor", "--json"]).stdout();
    assert!(!shown.contains("right"), "{shown}");
    // Who works under the lock need not be able to break all locks.
    let script = "echo ${ETCDCTL_USER-none} ${ETCDCTL_PASSWORD-none}";
    let shows = ["run", "-w", "a", "--", "sh", "-c", script];
    assert_eq!(with("root:right", None, &shows).stdout(), "none none\n");
    assert_eq!(with("root", Some("right"), &shows).stdout(), "root none\n");
    let no_text = OsStr::from_bytes(b"\xff-secret");
    let mut command = scene.treelock(["ls"]);
    command.env("ETCDCTL_USER", "root").env("ETCDCTL_PASSWORD", no_text);
    let done = Done(command.output().unwrap());
    let said = "treelock: what --password or ETCDCTL_PASSWORD says is no UTF-8\n";
    assert_eq!((done.code(), &*done.stderr()), (64, said));
    // What the processes of this host are shown with.
    let mut command = scene.treelock(["run", "-w", "a", "--", "sh", "-c", "echo up; read line"]);
    let mut running = Running::start(command.env("ETCDCTL_USER", "root:right"));
    assert_eq!(running.line(), "up");
    let shown = fs::read_to_string(format!("/proc/{}/cmdline", running.id())).unwrap();
    assert!(shown.contains("treelock") && !shown.contains("right"), "{shown}");
    assert_eq!(running.finish(), 1, "of `read`, at the end of its input");
}

/// An authority, and a certificate of it for members and clients alike, in this scene's directory.
const CERTIFICATES: &str = "set -e
new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
openssl req -x509 $new -keyout ca.key -out ca.crt -days 1 -subj /CN=tests
openssl req $new -keyout own.key -out own.csr -subj /CN=member
echo subjectAltName=IP:127.0.0.1 > names
openssl x509 -req -in own.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out own.crt -days 1 -extfile names";

#[test]
fn certificates() {
    let host = Scene::new();
    let mut openssl = std::process::Command::new("sh");
    let made = openssl.args(["-c", CERTIFICATES]).current_dir(host.dir()).output().unwrap();
    if !made.status.success() {
        return eprintln!("not tested, since there is no openssl: {made:?}");
    }
    let file = |name: &str| host.path(name).display().to_string();
    let (ca, cert, key) = (file("ca.crt"), file("own.crt"), file("own.key"));
    let arguments = [
        format!("--cert-file={cert}"),
        format!("--key-file={key}"),
        "--client-cert-auth".into(),
        format!("--trusted-ca-file={ca}"),
    ];
    let Some(cluster) = Cluster::start_with(1, "https", &arguments) else { return };
    let scene = Scene::on(&cluster.endpoints());
    let options = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    let by_option = [&["run", "-w", "a"], &options[..], &["--", "true"]].concat();
    until("it runs", || scene.done(&by_option).code() == 0);
    // As etcdctl has them, and an endpoint that does not say https.
    let bare = cluster.endpoints()[0].replace("https://", "");
    let mut command = scene.treelock(["who", "a"]);
    command.env("TREELOCK_ETCD", bare).env("ETCDCTL_CACERT", &ca);
    command.env("ETCDCTL_CERT", &cert).env("ETCDCTL_KEY", &key);
    let done = Done(command.output().unwrap());
    assert_eq!((done.code(), &*done.stderr()), (0, ""));
    // What is set and empty is as good as not set.
    let mut command = scene.treelock([&["who", "a"], &options[..]].concat());
    command.env("ETCDCTL_USER", "").env("ETCDCTL_PASSWORD", "");
    assert_eq!(Done(command.output().unwrap()).code(), 0);
    let mut command = scene.treelock([&["who", "a"], &options[..2]].concat());
    command.env("ETCDCTL_CERT", "").env("ETCDCTL_KEY", "");
    assert_eq!(Done(command.output().unwrap()).code(), 74);
    let without = scene.done(&["ls", "--cacert", &ca]);
    assert_eq!(without.code(), 74);
    assert!(without.stderr().contains("certificate"), "{}", without.stderr());
}
