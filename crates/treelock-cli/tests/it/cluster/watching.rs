//! `treelock ls --watch` and `--stats` on a cluster.

use super::{host, scene};
use crate::{
    scene::{Running, until},
    schema,
    terminal::Terminal,
};

#[test]
fn every_event_is_printed_however_short_the_request() {
    let Some((_cluster, scene)) = scene() else { return };
    let mut holder = scene.hold(&["-w", "a", "--label", "it"]);
    let mut watch = Running::start(&mut scene.treelock(["ls", "--json", "--watch"]));
    let told = |watch: &mut Running| schema::check("ls --watch --json", &watch.line());
    let live = told(&mut watch);
    assert_eq!((&live["event"], &live["state"]), (&"live".into(), &"held".into()));
    assert_eq!((&live["label"], &live["host"]), (&"it".into(), &host().into()));
    assert_eq!(live["waited_seconds"], serde_json::Value::Null, "etcd does not know");
    for _ in 0..10 {
        assert_eq!(scene.done(&["run", "-w", "b", "--", "true"]).code(), 0);
        let events = ["asked", "granted", "left"].map(|what| (what, told(&mut watch)));
        for (what, event) in &events {
            assert_eq!(
                (&event["event"], &event["roots"][0]["node"]),
                (&(*what).into(), &"/b".into())
            );
            assert_eq!(event["ticket"], events[0].1["ticket"]);
        }
    }
    assert_eq!(holder.finish(), 0);
    assert_eq!(told(&mut watch)["ticket"], live["ticket"]);
}

#[test]
fn a_request_is_taken_away_from_the_view() {
    let Some((cluster, scene)) = scene() else { return };
    let mut holder = scene.hold(&["-w", "a", "--label", "it", "--ttl", "1h"]);
    let mut waiter = scene.wait(&["-w", "a/b", "--label", "behind"]);
    let endpoints = cluster.endpoints().join(",");
    let mut terminal = Terminal::start(&scene, &["ls", "--watch", "--etcd", &endpoints]);
    terminal.until_shown("1 held  1 waiting");
    terminal.type_in("b");
    terminal.until_shown("so that others can get the lock? [y/N]");
    terminal.type_in("y");
    terminal.until_shown("taken away; #");
    assert_eq!(waiter.code(), 0, "it goes on");
    terminal.until_shown("0 held  0 waiting");
    assert_eq!(holder.code(), 128 + 15);
    terminal.type_in("q");
    assert_eq!(terminal.code(), 0);
}

#[test]
fn a_cluster_that_is_gone_is_shown_and_the_view_goes_on() {
    let Some((mut cluster, scene)) = scene() else { return };
    let mut holder = scene.hold(&["-w", "a", "--label", "it", "--ttl", "1h"]);
    let endpoints = cluster.endpoints().join(",");
    let mut terminal = Terminal::start(&scene, &["ls", "--watch", "--etcd", &endpoints]);
    terminal.until_shown("\"it\"");
    cluster.members[0].kill();
    terminal.until_shown("cannot listen to the locks");
    cluster.members[0].start_again();
    assert_eq!(holder.finish(), 0);
    terminal.until_shown("0 held  0 waiting");
    until("it is forgotten", || terminal.screen().contains("q leave"));
    terminal.type_in("q");
    assert_eq!(terminal.code(), 0);
}
