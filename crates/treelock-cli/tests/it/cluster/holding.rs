//! `treelock hold` and `treelock release` on a cluster.

use std::process::Command;

use nix::sys::signal::Signal as Nix;
use rustix::process::Signal;

use super::{host, scene};
use crate::{
    holding::{Kept, pid, process},
    scene::{Running, is_alive, kill, until},
    schema,
    server::Cluster,
};

/// The lock of the cluster, with this lease.
fn with_lease(cluster: &Cluster, ttl: &str) -> String {
    let members: Vec<_> =
        cluster.endpoints().iter().map(|member| member.replace("http://", "")).collect();
    format!("etcd://{}/default?ttl={ttl}", members.join(","))
}

#[test]
fn it_is_held_and_ends_as_on_one_host() {
    let Some((_cluster, scene)) = scene() else { return };
    let (mut agent, other) = (process(), process());
    let kept = Kept::hold(&scene, &["-w", "src/a", "--pid", &pid(&agent), "--label", "agent-7"]);
    let live = schema::check("ls --json", &scene.done(&["ls", "--json"]).stdout());
    let request = &live["requests"][0];
    assert_eq!(request["label"], format!("agent-7 for pid {} (cat)", agent.id()));
    assert_eq!((&request["for_pid"], &request["pid"]), (&agent.id().into(), &kept.pid.into()));
    assert_eq!((&request["host"], &request["ticket"]), (&host().into(), &kept.said["ticket"]));
    let late = scene.done(&["hold", "-w", "src", "--try", "--json", "--ttl", "1h"]);
    assert_eq!(late.code(), 75);
    let blocked = &schema::check("run --json", &late.stderr())["blocked"];
    assert_eq!(blocked["for_pid"], agent.id());

    let mut waiter = Running::start(&mut scene.treelock([
        "hold",
        "-w",
        "src",
        "--json",
        "--timeout",
        "1h",
        "--pid",
        &pid(&other),
    ]));
    scene.until_counts(1, 1);
    agent.kill().unwrap();
    let next = Kept::of(&waiter.line());
    assert_eq!(waiter.code(), 0);
    kept.until_gone();
    let token = |kept: &Kept| kept.said["token"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(token(&next) > token(&kept));

    let released = scene.done(&["release", &next.ticket]);
    assert_eq!((released.code(), &*released.stderr()), (0, ""));
    assert_eq!(scene.counts(), (0, 0));
    next.until_gone();
    assert_eq!(scene.done(&["release", &next.ticket]).code(), 66);
}

/// Here `--ttl` is no lease, which could not be so short.
#[test]
fn it_ends_when_the_time_is_over() {
    let Some((_cluster, scene)) = scene() else { return };
    let kept = Kept::hold(&scene, &["-w", "a", "--ttl", "50ms"]);
    kept.until_gone();
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn the_end_of_a_waiting_command_is_the_end_of_its_request() {
    let Some((_cluster, scene)) = scene() else { return };
    let mut holder = scene.hold(&["-w", "a"]);
    let mut waiter = Running::start(&mut scene.treelock(["hold", "-w", "a", "--ttl", "1h"]));
    scene.until_counts(1, 1);
    waiter.signal(Signal::TERM);
    assert_eq!(waiter.code(), 128 + 15);
    assert_eq!(scene.counts(), (1, 0));
    let mut waiter = Running::start(&mut scene.treelock(["hold", "-w", "a", "--ttl", "1h"]));
    scene.until_counts(1, 1);
    waiter.kill().unwrap();
    scene.until_counts(1, 0);
    until("the keeper is gone", || scene.keepers().is_empty());
    assert_eq!(holder.finish(), 0);
}

#[test]
fn a_keeper_that_is_killed_leaves_its_lease() {
    let Some((cluster, scene)) = scene() else { return };
    let agent = process();
    let url = with_lease(&cluster, "2s");
    let mut hold = scene.treelock(["hold", "--url", &url, "-w", "a", "--json", "--pid"]);
    let mut hold = Running::start(hold.arg(pid(&agent)).env_remove("TREELOCK_ETCD"));
    let kept = Kept::of(&hold.line());
    assert_eq!(hold.code(), 0);
    kill(kept.pid, Signal::KILL);
    kept.until_gone();
    scene.until_counts(0, 0);
    assert!(is_alive(agent.id()));
}

#[test]
fn a_keeper_whose_lock_is_lost_ends() {
    let Some((cluster, scene)) = scene() else { return };
    let agent = process();
    let kept = Kept::hold(&scene, &["-w", "a", "--pid", &pid(&agent)]);
    assert_eq!(scene.done(&["break", &kept.ticket, "--force"]).code(), 0);
    kept.until_gone();
    assert_eq!(scene.done(&["release", &kept.ticket]).code(), 66, "as a script finds out");

    let url = with_lease(&cluster, "2s");
    let kept = Kept::hold(&scene, &["--url", &url, "-w", "a", "--pid", &pid(&agent)]);
    cluster.members[0].signal(Nix::SIGSTOP);
    kept.until_gone();
    cluster.members[0].signal(Nix::SIGCONT);
    scene.until_counts(0, 0);
}

#[test]
fn a_hold_of_another_host_is_not_released() {
    let Some((cluster, scene)) = scene() else { return };
    let _kept = Kept::hold(&scene, &["-w", "a", "--ttl", "1h"]);
    // The same, as another host would write it.
    let entry = r#"{"nonce":1,"host":"elsewhere","pid":1,"since":1,"label":"hold for pid 7"}"#;
    let mut etcdctl = Command::new("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &cluster.endpoints()[0]]);
    etcdctl.args(["put", "/treelock/default/W/b/!1.0", entry]);
    if !etcdctl.output().is_ok_and(|output| output.status.success()) {
        return eprintln!("not tested, since there is no etcdctl");
    }
    let ticket = scene.live()[1]["ticket"].to_string();
    let done = scene.done(&["release", &ticket]);
    assert_eq!(done.code(), 77, "{}", done.stderr());
    assert!(done.stderr().contains("belongs to pid 1 on elsewhere"), "{}", done.stderr());
    assert_eq!(scene.done(&["release", "--pid", "7"]).code(), 66, "another host's process 7");
}
