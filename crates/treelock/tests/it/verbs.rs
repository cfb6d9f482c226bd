//! What the verbs and values return, where the model does not look: texts, fields, serialisation.

use std::time::Duration;

use treelock::{Access, Node, NodeError, Request, State, TreeLock, Wait};
#[cfg(feature = "serde")]
use treelock::{FenceGate, FencingToken};
use treelock_conformance::{Polled, Task};

/// More than the error of the lock's coarse clock.
const TICK: Duration = Duration::from_millis(20);

/// C14, C15: the error says the label, the conflicting root and access, whether the blocker is held
/// or waiting and since when, and how many are ahead.
#[test]
fn blocked_says_who() {
    let lock = TreeLock::new();
    let request = Request::new().read("x").unwrap().write("a/b/c").unwrap().with_label("agent-7");
    let guard = lock.try_acquire(&request).wait().unwrap();
    std::thread::sleep(TICK * 2);
    let wanted = Request::new().write("y").unwrap().read("a").unwrap();
    let blocked = lock.try_acquire(&wanted).wait().unwrap_err();
    assert_eq!(blocked.label.as_deref(), Some("agent-7"));
    assert_eq!(blocked.wanted.to_string(), "read /a");
    assert_eq!(blocked.blocker.to_string(), "write /a/b/c");
    assert_eq!((blocked.state, blocked.ahead, blocked.ticket), (State::Held, 1, 1));
    assert!(blocked.age >= TICK, "{:?}", blocked.age);
    drop(guard);
    assert!(lock.try_acquire(&wanted).wait().is_ok());
}

#[test]
fn blocked_reads_well() {
    let lock = TreeLock::new();
    let _guard = lock.try_acquire(&Request::new().write("a").unwrap()).wait().unwrap();
    let mut blocked = lock.try_acquire(&Request::new().read("a/b").unwrap()).wait().unwrap_err();
    let mut shown = |age| {
        blocked.age = Duration::from_millis(age);
        blocked.to_string()
    };
    let start = "read /a/b is blocked by request #1: write /a, held for ";
    assert_eq!(shown(99), format!("{start}0.0s; 1 ahead"));
    assert_eq!(shown(59_999), format!("{start}59.9s; 1 ahead"));
    assert_eq!(shown(60_000), format!("{start}1m 00s; 1 ahead"));
    assert_eq!(shown(7_500_000), format!("{start}2h 05m; 1 ahead"));
}

/// The age of a waiting request starts again when it is granted.
#[test]
fn held_since_the_grant() {
    let lock = TreeLock::new();
    let guard = lock.try_acquire(&Request::new().write("a").unwrap()).wait().unwrap();
    let mut task = Polled::new(lock.acquire(&Request::new().write("a").unwrap()));
    assert!(task.poll().is_none());
    std::thread::sleep(TICK * 4);
    assert!(lock.snapshot().wait().entries[1].age >= TICK * 3);
    let before = std::time::Instant::now();
    drop(guard);
    let held = &lock.snapshot().wait().entries[0];
    assert_eq!(held.state, State::Held);
    assert!(held.age <= before.elapsed() + TICK, "counted from the grant, not from the first poll");
}

/// A label with line breaks and escapes stays on one line.
#[test]
fn a_snapshot_is_a_line_a_request() {
    let lock = TreeLock::new();
    let label = "a\nb\u{1b}[31m\tc";
    let root = Node::from_components([&b"x\ny"[..], b"\xff/"]).unwrap();
    let request = Request::new().with(Access::Write, root).with_label(label);
    let _guard = lock.try_acquire(&request).wait().unwrap();
    let text = lock.snapshot().wait().to_string();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.ends_with(r"a\nb\u{1b}[31m\tc  write /x\ny/\xff\/"), "{text}");
}

#[test]
fn locks_are_independent_and_handles_are_not() {
    let (one, other) = (TreeLock::new(), TreeLock::default());
    let request = Request::new().write("/").unwrap();
    let _guard = one.try_acquire(&request).wait().unwrap();
    assert!(other.try_acquire(&request).wait().is_ok());
    assert!(one.clone().try_acquire(&request).wait().is_err());
    assert_eq!(format!("{one:?}"), "TreeLock { held: 1, waiting: 0 }");
}

/// C3: one request may be used by many callers at once, and again.
#[test]
fn a_request_is_a_value() {
    let lock = TreeLock::new();
    let request = Request::new().read("a").unwrap().read("b").unwrap();
    let guards: Vec<_> = (0..10).map(|_| lock.try_acquire(&request).wait().unwrap()).collect();
    assert_eq!(lock.snapshot().wait().held().count(), 10);
    drop(guards);
    // Extending a copy does not change the original.
    let more = request.clone().write("c").unwrap();
    assert_eq!(request.to_string(), "read /a, read /b");
    assert_eq!(more.to_string(), "read /a, read /b, write /c");
    let _guard = lock.try_acquire(&request).wait().unwrap();
    assert!(lock.try_acquire(&more).wait().is_ok());
}

#[cfg(feature = "serde")]
#[test]
fn snapshots_and_errors_serialise() {
    let lock = TreeLock::new();
    let request = Request::new().write("a/b").unwrap().read("c").unwrap().with_label("me");
    let _guard = lock.try_acquire(&request).wait().unwrap();
    let mut snapshot = lock.snapshot().wait();
    snapshot.entries[0].age = Duration::from_millis(1500);
    let expected = serde_json::json!({ "entries": [{
        "ticket": 1,
        "state": "held",
        "age": 1.5,
        "label": "me",
        "roots": [
            { "access": "write", "node": "/a/b" },
            { "access": "read", "node": "/c" },
        ],
        "waits_for": null,
        "process": null,
    }]});
    assert_eq!(serde_json::to_value(&snapshot).unwrap(), expected);
    let mut blocked = lock.try_acquire(&Request::new().read("a").unwrap()).wait().unwrap_err();
    blocked.age = Duration::from_secs(2);
    let expected = serde_json::json!({
        "wanted": { "access": "read", "node": "/a" },
        "blocker": { "access": "write", "node": "/a/b" },
        "label": "me",
        "ticket": 1,
        "state": "held",
        "age": 2.0,
        "ahead": 1,
        "process": null,
    });
    assert_eq!(serde_json::to_value(&blocked).unwrap(), expected);
}

/// Values that a resource stores can be read back.
#[cfg(feature = "serde")]
#[test]
fn nodes_and_tokens_deserialise() {
    let node = Node::from_components([&b"a/b"[..], b"\xff\\"]).unwrap();
    let text = serde_json::to_string(&node).unwrap();
    assert_eq!(serde_json::from_str::<Node>(&text).unwrap(), node);
    let error = serde_json::from_str::<Node>(r#""a/b""#).unwrap_err().to_string();
    assert!(error.starts_with(r#""a/b" does not name a node"#), "{error}");
    let mut gate = FenceGate::default();
    gate.check(Access::Write, FencingToken::new(7)).unwrap();
    let text = serde_json::to_string(&gate).unwrap();
    assert_eq!(text, r#"{"max_read":0,"max_write":7}"#);
    assert_eq!(serde_json::from_str::<FenceGate>(&text).unwrap(), gate);
}

/// Two requests are equal if they have the same roots, in the same order, and the same label.
#[test]
fn requests_are_values_and_keys() {
    let request = || Request::new().read("a").unwrap().write("b").unwrap();
    let listed = Request::new().reads(["a"]).unwrap().writes(["b"]).unwrap();
    assert_eq!(request(), listed);
    assert_ne!(request(), request().with_label("x"));
    assert_ne!(request(), Request::new().write("b").unwrap().read("a").unwrap());
    assert_ne!(numbered(Access::Read, 7, &[1]), numbered(Access::Read, 7, &[2]));
    assert!(std::collections::HashSet::from([request()]).contains(&listed));
    assert!(Request::new().reads(["a", ""]).is_err());
}

#[test]
fn a_request_covers_what_lies_within_its_roots() {
    let held = Request::new().write("a").unwrap().read("b").unwrap();
    let covers = |request: Result<Request, NodeError>| held.covers(&request.unwrap());
    assert!(held.covers(&held) && held.covers(&Request::new()));
    assert!(covers(Request::new().read("a/x").unwrap().write("a/y")));
    assert!(covers(Request::new().read("b/x")));
    assert!(!covers(Request::new().write("b/x")), "only read there");
    assert!(!covers(Request::new().read("/")), "wider");
    assert!(!covers(Request::new().read("a").unwrap().read("c")), "one of them is not");
    let numbers = numbered(Access::Write, 2, &[]);
    assert!(numbers.covers(&numbered(Access::Read, 7, &[3, 2])));
    assert!(!numbers.covers(&numbered(Access::Read, 7, &[3])));
}

/// Returns a request in a tree of numbers, where the name of a number does not imply its ancestors.
fn numbered(access: Access, root: u8, above: &[u8]) -> Request {
    let node = |number: u8| Node::from_components([[number]]).expect("a valid component");
    Request::new().with_ancestors(access, node(root), above.iter().map(|number| node(*number)))
}

#[test]
fn given_ancestors_are_taken_as_they_are() {
    let lock = TreeLock::new();
    let guard =
        lock.try_acquire(&numbered(Access::Write, 7, &[2, 3])).wait().expect("a new lock is free");
    assert!(lock.try_acquire(&numbered(Access::Read, 4, &[2, 3])).wait().is_ok(), "a neighbour");
    assert!(lock.try_acquire(&numbered(Access::Write, 4, &[3])).wait().is_ok(), "elsewhere");
    assert!(
        lock.try_acquire(&Request::new().with(Access::Write, Node::root())).wait().is_ok(),
        "no names"
    );
    for (root, above) in [(2, &[][..]), (3, &[2]), (7, &[2, 3]), (9, &[7, 3, 2])] {
        let blocked =
            lock.try_acquire(&numbered(Access::Read, root, above)).wait().expect_err("in line");
        assert_eq!(blocked.ahead, 1);
        assert_eq!(
            blocked.wanted.node,
            *numbered(Access::Read, root, above).roots().next().unwrap().1
        );
        assert_eq!(blocked.blocker.access, Access::Write);
    }
    drop(guard);
    assert!(lock.try_acquire(&numbered(Access::Write, 2, &[])).wait().is_ok());
}

#[test]
fn roots_by_name_and_with_given_ancestors_meet() {
    let node = |text: &str| text.parse::<Node>().expect("a valid name");
    let lock = TreeLock::new();
    // `x` is below `a/b` because its request says so. `a/b` is below `a` by its name, but not here.
    let given = Request::new().with_ancestors(Access::Write, node("x"), [node("a/b")]);
    let guard = lock.try_acquire(&given).wait().expect("a new lock is free");
    let blocked =
        lock.try_acquire(&Request::new().with(Access::Read, node("a/b"))).wait().unwrap_err();
    assert_eq!(
        blocked.to_string().split(',').next(),
        Some("read /a/b is blocked by request #1: write /x")
    );
    assert!(lock.try_acquire(&Request::new().with(Access::Write, node("a"))).wait().is_ok());
    assert!(lock.try_acquire(&Request::new().with(Access::Write, node("a/b/c"))).wait().is_ok());
    drop(guard);
    // Nor does the search for blockers mistake it for one that is below.
    let _reader = lock.try_acquire(&given).wait().expect("free again");
    let _writer =
        lock.try_acquire(&Request::new().with(Access::Write, node("a/c"))).wait().expect("beside");
    let blocked =
        lock.try_acquire(&Request::new().with(Access::Write, node("a"))).wait().unwrap_err();
    assert_eq!((blocked.ahead, blocked.blocker.node), (1, node("a/c")));
}

#[test]
fn a_pending_future_says_who_is_in_the_way() {
    let lock = TreeLock::new();
    let request = Request::new().with(Access::Write, Node::root()).with_label("first");
    let guard = lock.try_acquire(&request).wait().expect("a new lock is free");
    let mut acquire = Box::pin(lock.acquire(&request));
    assert_eq!(acquire.blocked().wait(), None, "not asked yet");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(acquire.as_mut().poll(&mut context).is_pending());
    assert_eq!(
        acquire.blocked().wait().and_then(|blocked| blocked.label).as_deref(),
        Some("first")
    );
    drop(guard);
    assert_eq!(acquire.blocked().wait(), None, "granted");
    assert!(acquire.as_mut().poll(&mut context).is_ready());
}

#[test]
fn who_comes_later_is_not_in_the_way() {
    let lock = TreeLock::new();
    let request = Request::new().with(Access::Write, "a".parse().expect("a valid name"));
    let _guard = lock.try_acquire(&request).wait().expect("a new lock is free");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut first = Box::pin(lock.acquire(&request));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut later = Box::pin(lock.acquire(&request));
    assert!(later.as_mut().poll(&mut context).is_pending());
    assert_eq!(first.blocked().wait().map(|blocked| (blocked.ahead, blocked.ticket)), Some((1, 1)));
    assert_eq!(later.blocked().wait().map(|blocked| (blocked.ahead, blocked.ticket)), Some((2, 1)));
}

#[test]
fn each_root_has_its_own_given_ancestors() {
    let node = |number: u8| Node::from_components([[number]]).expect("a valid component");
    let alone = |number| Request::new().with_ancestors(Access::Read, node(number), []);
    let several = Request::new()
        .with_ancestors(Access::Write, node(11), [node(1)])
        .with(Access::Write, node(12))
        .with_ancestors(Access::Write, node(13), [node(3)])
        .with_ancestors(Access::Write, node(14), [node(4)]);
    let lock = TreeLock::new();
    let guard = lock.try_acquire(&several).wait().expect("a new lock is free");
    for (above, root) in [(1, 11), (12, 12), (3, 13), (4, 14)] {
        let blocked = lock.try_acquire(&alone(above)).wait().expect_err("in the way");
        assert_eq!((blocked.wanted.node, blocked.blocker.node), (node(above), node(root)));
        let reader = alone(above);
        let conflict = several.conflict(&reader).expect("they conflict");
        assert_eq!(conflict.own, (Access::Write, &node(root)));
    }
    assert!(lock.try_acquire(&alone(2)).wait().is_ok());
    drop(guard);
    for (above, root) in [(1, 11), (3, 13), (4, 14)] {
        let _reader = lock.try_acquire(&alone(above)).wait().expect("free again");
        let blocked = lock.try_acquire(&several).wait().expect_err("in the way");
        assert_eq!((blocked.wanted.node, blocked.blocker.node), (node(root), node(above)));
    }
}

#[test]
fn a_request_that_was_used_can_be_added_to() {
    let lock = TreeLock::new();
    let used = Request::new().read("a").unwrap().write("b").unwrap();
    drop(lock.try_acquire(&used).wait().expect("a new lock is free"));
    let more = used.clone().write("c").unwrap();
    let given = used.clone().with_ancestors(Access::Write, "d".parse().unwrap(), []);
    for (request, node) in [(more, "c"), (given, "d")] {
        let _guard = lock.try_acquire(&request).wait().expect("free again");
        assert!(lock.try_acquire(&Request::new().read(node).unwrap()).wait().is_err());
        assert!(lock.try_acquire(&Request::new().read("b").unwrap()).wait().is_err());
    }
    let _guard = lock.try_acquire(&used).wait().expect("free again");
    assert!(
        lock.try_acquire(&Request::new().read("c").unwrap()).wait().is_ok(),
        "the first is as before"
    );
}
