//! `treelock break` and `treelock doctor` on a cluster.

use std::fs;

use super::{host, scene};
use crate::{
    scene::{Scene, until},
    schema,
};

#[test]
fn a_request_is_taken_away() {
    let Some((_cluster, scene)) = scene() else { return };
    let mut holder = scene.hold(&["-w", "a", "--label", "it", "--ttl", "1h"]);
    let mut waiter = scene.wait(&["-w", "a/b"]);
    let ticket = scene.live()[0]["ticket"].to_string();
    let unasked = scene.done(&["break", &ticket]);
    assert_eq!(unasked.code(), 64);
    assert!(unasked.stderr().contains("use --force"), "{}", unasked.stderr());
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
    assert_eq!(running.code(), 70);
    let said = fs::read_to_string(scene.path("said")).unwrap();
    assert!(said.contains("because it is inside a run that it waits for"), "{said}");
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
    let place = format!("etcd://{}", cluster.endpoints()[0]);
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
    assert!(done.stdout().starts_with("epoch 1 of etcd://http://"), "{}", done.stdout());
    assert_eq!(holder.code(), 128 + 15, "its command is told to end");
    assert!(token() > before + (1 << 40), "far above all that were");
    let on_one_host = Scene::new().done(&["doctor", "--begin-epoch", "--force"]);
    assert_eq!(on_one_host.code(), 64);
}
