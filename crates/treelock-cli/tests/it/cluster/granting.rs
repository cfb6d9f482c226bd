//! Granting on a cluster, and what the command under the lock finds.

use rustix::process::Signal;

use super::{host, scene};
use crate::{
    exclusion::{Fate, play},
    scene::Done,
    schema,
    timeless::timeless,
};

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
    assert!(
        nobody.stderr().contains("anything in etcd://http://127.0.0.1:"),
        "{}",
        nobody.stderr()
    );
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
