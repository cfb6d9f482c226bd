//! What `ls`, `who`, `doctor` and `--json` show.

use std::fs;

use rustix::process::Signal;

use crate::{
    scene::{Running, Scene, until, until_it_listens},
    schema,
    timeless::timeless,
};

#[test]
fn nothing_is_shown_where_nothing_is() {
    let scene = Scene::new();
    let done = scene.done(&["ls"]);
    assert_eq!((done.code(), done.stdout().as_str()), (0, ""));
    let place = format!("dir:{}", scene.table().display());
    assert_eq!(done.stderr(), format!("treelock: nobody holds or waits for anything in {place}\n"));
    assert_eq!(scene.done(&["ls", "--json"]).stdout(), "{\"requests\":[]}\n");
    assert!(!scene.table().exists(), "looking makes nothing");
}

#[test]
fn a_tree_of_nodes() {
    let scene = Scene::new();
    let _first = scene.hold(&["-w", "src/auth", "-r", "src/lib", "--label", "agent-7"]);
    let _second = scene.hold(&["-r", "src/lib/deep/er", "--label", "agent-8"]);
    let _other = scene.hold(&["-r", "docs", "--label", "writer"]);
    let _waiter = scene.wait(&["-w", "src", "--label", "agent-9"]);
    let tree = "\
/
├── /docs
│   └── #3 read held T \"writer\" (pid N)
└── /src
    ├── #4 write waiting T \"agent-9\" (pid N) after #1
    ├── /auth
    │   └── #1 write held T \"agent-7\" (pid N)
    └── /lib
        ├── #1 read held T \"agent-7\" (pid N)
        └── /deep/er
            └── #2 read held T \"agent-8\" (pid N)
";
    assert_eq!(timeless(&scene.done(&["ls"]).stdout()), tree);
    let below = "\
/src
├── #4 write waiting T \"agent-9\" (pid N) after #1
└── /lib
    ├── #1 read held T \"agent-7\" (pid N)
    └── /deep/er
        └── #2 read held T \"agent-8\" (pid N)
";
    assert_eq!(timeless(&scene.done(&["ls", "src/lib/deep"]).stdout()), below);
    let done = scene.done(&["ls", "elsewhere"]);
    assert_eq!(done.stdout(), "");
    assert!(done.stderr().contains("at, above or below /elsewhere in "), "{}", done.stderr());
    let json = schema::check("ls --json", &scene.done(&["ls", "src/lib", "--json"]).stdout());
    let tickets: Vec<_> =
        json["requests"].as_array().unwrap().iter().map(|r| &r["ticket"]).collect();
    assert_eq!(tickets, [1, 2, 4]);
    assert_eq!(json["requests"][2]["waits_for"], 1);
}

#[test]
fn a_root_given_twice_is_shown_once() {
    let scene = Scene::new();
    let _holder = scene.hold(&["-w", "a", "-w", "/a/", "-r", "a", "--label", "it"]);
    let tree = timeless(&scene.done(&["ls"]).stdout());
    let both = "/a\n├── #1 write held T \"it\" (pid N)\n└── #1 read held T \"it\" (pid N)\n";
    assert_eq!(tree, both);
}

#[test]
fn who_would_be_in_the_way() {
    let scene = Scene::new();
    let done = scene.done(&["who", "a"]);
    assert_eq!((done.code(), done.stdout().as_str()), (0, "write /a would be granted at once\n"));
    assert_eq!(
        schema::check("who --json", &scene.done(&["who", "a", "--json"]).stdout())["blocked"],
        { serde_json::Value::Null }
    );
    let holder = scene.hold(&["-r", "a", "--label", "reader"]);
    assert_eq!(scene.done(&["who", "a", "--read"]).code(), 0);
    for how in [&["who", "a"][..], &["who", "--write", "a"], &["who", "/"]] {
        let done = scene.done(how);
        assert_eq!(done.code(), 75);
        let by = format!(" is blocked by \"reader\" (pid {}): read /a, held for ", holder.id());
        assert!(done.stdout().contains(&by), "{}", done.stdout());
    }
    let done = scene.done(&["who", "a/b", "--json"]);
    assert_eq!(done.code(), 75);
    let blocked = &schema::check("who --json", &done.stdout())["blocked"];
    assert_eq!(blocked["wanted"]["node"], "/a/b");
    assert_eq!(blocked["blocker"]["access"], "read");
    assert_eq!(blocked["pid"], holder.id());
    assert_eq!(scene.counts(), (1, 0), "who asks for nothing");
}

#[test]
fn run_says_in_json_who_is_in_the_way() {
    let scene = Scene::new();
    let _holder = scene.hold(&["-w", "a", "--label", "it"]);
    let done = scene.done(&["run", "-r", "a", "--try", "--json", "--", "true"]);
    assert_eq!(done.code(), 75);
    let blocked = &schema::check("run --json", &done.stderr())["blocked"];
    assert_eq!((&blocked["label"], &blocked["ahead"]), (&"it".into(), &1.into()));
    assert_eq!(done.stdout(), "");
}

#[test]
fn the_doctor() {
    let scene = Scene::new();
    assert_eq!(scene.done(&["run", "-w", "a", "--", "true"]).code(), 0);
    let done = scene.done(&["doctor"]);
    assert_eq!(done.code(), 0, "{}", done.stdout());
    assert!(done.stdout().lines().all(|line| line.starts_with("good  ")), "{}", done.stdout());
    let report = schema::check("doctor --json", &scene.done(&["doctor", "--json"]).stdout());
    assert_eq!(report["place"], format!("dir:{}", scene.table().display()));
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(scene.table(), fs::Permissions::from_mode(0o777)).unwrap();
    let done = scene.done(&["doctor"]);
    assert!(
        done.stdout().contains("\nodd ") || done.stdout().contains("\nbad "),
        "{}",
        done.stdout()
    );
    let has_bad = done.stdout().lines().any(|line| line.starts_with("bad "));
    assert_eq!(done.code(), i32::from(has_bad));
}

#[test]
fn looking_creates_nothing() {
    let scene = Scene::new();
    let missing = scene.path("typo/locks");
    let empty = scene.path("empty");
    fs::create_dir(&empty).unwrap();
    for (dir, what) in [
        (&missing, "the directory does not exist, so there is no lock table yet"),
        (&empty, "there is no lock table in it yet"),
    ] {
        let done = scene.done(&["doctor", "--dir", dir.to_str().unwrap()]);
        let (first, advice) =
            done.stdout().split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert_eq!((done.code(), first), (0, format!("odd   {dir:?}: {what}")));
        assert!(advice.contains("the first `treelock run` creates it"), "{advice}");
        for look in [&["doctor", "--json"][..], &["ls"], &["ls", "--json"], &["who", "a"]] {
            let done = scene.done(&[look, &["--dir", dir.to_str().unwrap()]].concat());
            assert_eq!(done.code(), 0, "{look:?}");
        }
        let breaking = ["break", "1", "--force", "--dir", dir.to_str().unwrap()];
        assert_eq!(scene.done(&breaking).code(), 66);
    }
    assert!(!scene.path("typo").exists());
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    let done = scene.done(&["doctor", "--json", "--dir", missing.to_str().unwrap()]);
    let report = schema::check("doctor --json", &done.stdout());
    assert_eq!(report["findings"][0]["severity"], "odd");
}

/// The next event that a listener prints.
fn told(watch: &mut Running) -> (String, serde_json::Value) {
    let event = schema::check("ls --watch --json", &watch.line());
    let what = event["event"].as_str().unwrap().to_owned();
    (what, event)
}

#[test]
fn each_event_is_printed_once() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a", "-r", "b", "--label", "it"]);
    let mut watch = Running::start(&mut scene.treelock(["ls", "--json", "--watch"]));
    let (what, event) = told(&mut watch);
    assert_eq!((what.as_str(), &event["ticket"]), ("live", &1.into()));
    assert_eq!((&event["label"], &event["state"]), (&"it".into(), &"held".into()));
    assert_eq!(event["pid"], holder.id());
    assert_eq!(event["waited_seconds"], 0.0, "it was granted at once");
    assert_eq!(event["roots"][1], serde_json::json!({"access": "read", "node": "/b"}));
    let mut waiter = scene.wait(&["-w", "a/b"]);
    let (what, event) = told(&mut watch);
    assert_eq!((what.as_str(), &event["state"]), ("asked", &"waiting".into()));
    assert_eq!((&event["ticket"], &event["held_seconds"]), (&2.into(), &().into()));
    assert_eq!(holder.finish(), 0);
    let (what, event) = told(&mut watch);
    assert_eq!((what.as_str(), &event["ticket"]), ("left", &1.into()));
    assert!(event["held_seconds"].as_f64().unwrap() > 0.0, "{event}");
    assert_eq!(waiter.code(), 0);
    // Its command ends at once, so its grant may not have been seen.
    let (mut what, mut event) = told(&mut watch);
    if what == "granted" {
        assert_eq!((&event["ticket"], &event["state"]), (&2.into(), &"held".into()));
        (what, event) = told(&mut watch);
    }
    assert_eq!((what.as_str(), &event["ticket"]), ("left", &2.into()));
    assert!(event["waited_seconds"].as_f64().unwrap() > 0.0, "{event}");
    assert!(event["at"].as_f64().unwrap() > 1.7e9, "{event}");
    let _third = scene.hold(&["-w", "a"]);
    assert_eq!(told(&mut watch).0, "asked", "nothing is printed twice");
    assert_eq!(told(&mut watch).0, "granted");
}

#[test]
fn only_events_that_concern_the_node_are_printed() {
    let scene = Scene::new();
    let _first = scene.hold(&["-w", "src/auth"]);
    let _second = scene.hold(&["-w", "docs"]);
    let mut watch = Running::start(&mut scene.treelock(["ls", "docs", "--json", "--watch"]));
    assert_eq!(told(&mut watch).1["ticket"], 2);
    let _third = scene.hold(&["-w", "src/lib"]);
    let _fourth = scene.hold(&["-r", "docs2"]);
    let _fifth = scene.wait(&["-r", "docs/a"]);
    assert_eq!(told(&mut watch).1["ticket"], 5);
}

/// Nothing is written when the reader goes, and nothing may happen for days.
#[test]
fn a_listener_ends_with_its_reader() {
    let scene = Scene::new();
    for how in [&["ls", "--watch", "--json"][..], &["ls", "--watch"]] {
        let _holder = scene.hold(&["-w", "a"]);
        let mut watch = Running::start(&mut scene.treelock(how));
        watch.line();
        watch.close_output();
        assert_eq!(watch.code(), 128 + 13);
        assert_eq!(watch.stderr(), "");
    }
}

#[test]
fn watching_prints_the_tree_whenever_it_changes() {
    let scene = Scene::new();
    let mut watch = Running::start(&mut scene.treelock(["ls", "--watch"]));
    assert!(watch.line().starts_with("nobody holds or waits for anything in "));
    let mut holder = scene.hold(&["-w", "a", "--label", "it"]);
    assert_eq!(watch.line(), "/a");
    assert_eq!(timeless(&watch.line()), "└── #1 write held T \"it\" (pid N)");
    assert_eq!(watch.line(), "");
    assert_eq!(holder.finish(), 0);
    assert!(watch.line().starts_with("nobody"), "nothing is printed while only the ages change");
}

/// Listens while one holds, another waits, and both leave. Returns what `ls --stats` says. It may
/// have heard less than another listener when it is interrupted.
fn statistics_of_two(more: &[&str]) -> Vec<String> {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "src/auth", "-r", "lib"]);
    let mut command = scene.treelock(["ls", "--stats"]);
    let mut listener = Running::start(command.args(more));
    until_it_listens(listener.id());
    let mut watch = Running::start(&mut scene.treelock(["ls", "--json", "--watch"]));
    assert_eq!(told(&mut watch).0, "live");
    let mut waiter = scene.run(&["-w", "src"], "echo $$; read line; exit 0");
    assert_eq!(told(&mut watch).0, "asked");
    assert_eq!(holder.finish(), 0);
    waiter.line();
    for what in ["left", "granted"] {
        assert_eq!(told(&mut watch).0, what);
    }
    assert_eq!(waiter.finish(), 0);
    for _ in 0..3 {
        // Others hear of it meanwhile.
        assert_eq!(told(&mut watch).0, "left");
        let mut last = scene.hold(&["-w", "other"]);
        assert_eq!([told(&mut watch).0, told(&mut watch).0], ["asked", "granted"]);
        assert_eq!(last.finish(), 0);
    }
    listener.signal(Signal::INT);
    assert_eq!(listener.code(), 0);
    std::iter::from_fn(|| listener.try_line()).collect()
}

#[test]
fn statistics_of_what_happens_meanwhile() {
    until("all is heard", || {
        let lines = statistics_of_two(&["--json"]);
        let report = schema::check("ls --stats --json", &lines.concat());
        let find = |name| {
            let mut nodes = report["nodes"].as_array().unwrap().iter();
            nodes.find(|node| node["node"] == name).cloned().unwrap_or_default()
        };
        let (lib, src, auth) = (find("/lib"), find("/src"), find("/src/auth"));
        let has = |node: &serde_json::Value, what: &str| {
            node[what]["count"] == 1 && node[what]["max_seconds"].as_f64().unwrap() > 0.0
        };
        let counts = (&src["requests"], &src["gave_up"]) == (&1.into(), &0.into());
        counts
            && has(&src, "waited")
            && has(&src, "held")
            && has(&auth, "held")
            && has(&lib, "held")
    });
    let lines = statistics_of_two(&[]);
    assert!(lines[0].starts_with("node       requests  gave up  waited: median"), "{lines:?}");
}

#[test]
fn statistics_of_nothing() {
    let scene = Scene::new();
    let done = scene.done(&["ls", "--stats", "--for", "10ms"]);
    assert_eq!((done.code(), done.stdout().as_str()), (0, ""));
    assert_eq!(done.stderr(), "treelock: nobody held or waited for anything\n");
    let done = scene.done(&["ls", "--stats", "--for", "10ms", "--json"]);
    let report = schema::check("ls --stats --json", &done.stdout());
    assert_eq!(report["nodes"].as_array().unwrap().len(), 0);
    assert_eq!(scene.done(&["ls", "--for", "1s"]).code(), 64);
    assert_eq!(scene.done(&["ls", "--stats", "--watch"]).code(), 64);
}
