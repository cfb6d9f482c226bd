//! What the verbs and values answer, where the model does not look: texts, fields, serialisation.

use std::time::Duration;

use treelock::{Access, Node, Request, State, TreeLock};
use treelock_conformance::{Polled, Task};

/// More than the lock's clock is coarse.
const TICK: Duration = Duration::from_millis(20);

/// C14, C15: the label, the conflicting root and access, held or waiting, since when, how many are ahead.
#[test]
fn blocked_says_who() {
    let lock = TreeLock::new();
    let request = Request::new().read("x").unwrap().write("a/b/c").unwrap().label("agent-7");
    let guard = lock.try_acquire(&request).unwrap();
    std::thread::sleep(TICK * 2);
    let wanted = Request::new().write("y").unwrap().read("a").unwrap();
    let blocked = lock.try_acquire(&wanted).unwrap_err();
    assert_eq!(blocked.label.as_deref(), Some("agent-7"));
    assert_eq!(blocked.wanted.to_string(), "read /a");
    assert_eq!(blocked.blocker.to_string(), "write /a/b/c");
    assert_eq!((blocked.state, blocked.ahead, blocked.ticket), (State::Held, 1, 1));
    assert!(blocked.age >= TICK, "{:?}", blocked.age);
    drop(guard);
    assert!(lock.try_acquire(&wanted).is_ok());
}

#[test]
fn blocked_reads_well() {
    let lock = TreeLock::new();
    let _guard = lock.try_acquire(&Request::new().write("a").unwrap()).unwrap();
    let mut blocked = lock.try_acquire(&Request::new().read("a/b").unwrap()).unwrap_err();
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

/// A waiting request's age begins anew when it is granted.
#[test]
fn held_since_the_grant() {
    let lock = TreeLock::new();
    let guard = lock.try_acquire(&Request::new().write("a").unwrap()).unwrap();
    let mut task = Polled::new(lock.acquire(&Request::new().write("a").unwrap()));
    assert!(task.poll().is_none());
    std::thread::sleep(TICK * 4);
    assert!(lock.snapshot().entries[1].age >= TICK * 3);
    let before = std::time::Instant::now();
    drop(guard);
    let held = &lock.snapshot().entries[0];
    assert_eq!(held.state, State::Held);
    assert!(held.age <= before.elapsed() + TICK, "counted from the grant, not from the first poll");
}

/// A label with line breaks and escapes stays on its line.
#[test]
fn a_snapshot_is_a_line_a_request() {
    let lock = TreeLock::new();
    let label = "a\nb\u{1b}[31m\tc";
    let root = Node::from_components([&b"x\ny"[..], b"\xff/"]).unwrap();
    let request = Request::new().with(Access::Write, root).label(label);
    let _guard = lock.try_acquire(&request).unwrap();
    let text = lock.snapshot().to_string();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.ends_with(r"a\nb\u{1b}[31m\tc  write /x\ny/\xff\/"), "{text}");
}

#[test]
fn locks_are_independent_and_handles_are_not() {
    let (one, other) = (TreeLock::new(), TreeLock::default());
    let request = Request::new().write("/").unwrap();
    let _guard = one.try_acquire(&request).unwrap();
    assert!(other.try_acquire(&request).is_ok());
    assert!(one.clone().try_acquire(&request).is_err());
    assert_eq!(format!("{one:?}"), "TreeLock { held: 1, waiting: 0 }");
}

/// C3: one request may be used by many at once, and again.
#[test]
fn a_request_is_a_value() {
    let lock = TreeLock::new();
    let request = Request::new().read("a").unwrap().read("b").unwrap();
    let guards: Vec<_> = (0..10).map(|_| lock.try_acquire(&request).unwrap()).collect();
    assert_eq!(lock.snapshot().held().count(), 10);
    drop(guards);
    // Building on does not change what was built before.
    let more = request.clone().write("c").unwrap();
    assert_eq!(request.to_string(), "read /a, read /b");
    assert_eq!(more.to_string(), "read /a, read /b, write /c");
    let _guard = lock.try_acquire(&request).unwrap();
    assert!(lock.try_acquire(&more).is_ok());
}

#[cfg(feature = "serde")]
#[test]
fn snapshots_and_errors_serialise() {
    let lock = TreeLock::new();
    let request = Request::new().write("a/b").unwrap().read("c").unwrap().label("me");
    let _guard = lock.try_acquire(&request).unwrap();
    let mut snapshot = lock.snapshot();
    snapshot.entries[0].age = Duration::from_millis(1500);
    let expected = serde_json::json!({ "entries": [{
        "ticket": 1,
        "state": "held",
        "age": { "secs": 1, "nanos": 500_000_000 },
        "label": "me",
        "roots": [
            { "access": "write", "node": "/a/b" },
            { "access": "read", "node": "/c" },
        ],
        "waits_for": null,
        "process": null,
    }]});
    assert_eq!(serde_json::to_value(&snapshot).unwrap(), expected);
    let mut blocked = lock.try_acquire(&Request::new().read("a").unwrap()).unwrap_err();
    blocked.age = Duration::from_secs(2);
    let expected = serde_json::json!({
        "wanted": { "access": "read", "node": "/a" },
        "blocker": { "access": "write", "node": "/a/b" },
        "label": "me",
        "ticket": 1,
        "state": "held",
        "age": { "secs": 2, "nanos": 0 },
        "ahead": 1,
        "process": null,
    });
    assert_eq!(serde_json::to_value(&blocked).unwrap(), expected);
}

/// A tree of numbers: what lies above a number is not in its name.
fn numbered(access: Access, root: u8, above: &[u8]) -> Request {
    let node = |number: u8| Node::from_components([[number]]).expect("a good component");
    Request::new().with_ancestors(access, node(root), above.iter().map(|number| node(*number)))
}

#[test]
fn given_ancestors_are_taken_as_they_are() {
    let lock = TreeLock::new();
    let guard = lock.try_acquire(&numbered(Access::Write, 7, &[2, 3])).expect("a new lock is free");
    assert!(lock.try_acquire(&numbered(Access::Read, 4, &[2, 3])).is_ok(), "a neighbour");
    assert!(lock.try_acquire(&numbered(Access::Write, 4, &[3])).is_ok(), "elsewhere");
    assert!(
        lock.try_acquire(&Request::new().with(Access::Write, Node::root())).is_ok(),
        "no names"
    );
    for (root, above) in [(2, &[][..]), (3, &[2]), (7, &[2, 3]), (9, &[7, 3, 2])] {
        let blocked = lock.try_acquire(&numbered(Access::Read, root, above)).expect_err("in line");
        assert_eq!(blocked.ahead, 1);
        assert_eq!(
            blocked.wanted.node,
            *numbered(Access::Read, root, above).roots().next().unwrap().1
        );
        assert_eq!(blocked.blocker.access, Access::Write);
    }
    drop(guard);
    assert!(lock.try_acquire(&numbered(Access::Write, 2, &[])).is_ok());
}

#[test]
fn roots_by_name_and_with_given_ancestors_meet() {
    let node = |text: &str| text.parse::<Node>().expect("a good name");
    let lock = TreeLock::new();
    // `x` is below `a/b` because its request says so; `a/b` is below `a` by its name, but not here.
    let given = Request::new().with_ancestors(Access::Write, node("x"), [node("a/b")]);
    let guard = lock.try_acquire(&given).expect("a new lock is free");
    let blocked = lock.try_acquire(&Request::new().with(Access::Read, node("a/b"))).unwrap_err();
    assert_eq!(
        blocked.to_string().split(',').next(),
        Some("read /a/b is blocked by request #1: write /x")
    );
    assert!(lock.try_acquire(&Request::new().with(Access::Write, node("a"))).is_ok());
    assert!(lock.try_acquire(&Request::new().with(Access::Write, node("a/b/c"))).is_ok());
    drop(guard);
    // Nor does the search for blockers take it for one that is below.
    let _reader = lock.try_acquire(&given).expect("free again");
    let _writer =
        lock.try_acquire(&Request::new().with(Access::Write, node("a/c"))).expect("beside");
    let blocked = lock.try_acquire(&Request::new().with(Access::Write, node("a"))).unwrap_err();
    assert_eq!((blocked.ahead, blocked.blocker.node), (1, node("a/c")));
}

#[test]
fn a_pending_future_says_who_is_in_the_way() {
    let lock = TreeLock::new();
    let request = Request::new().with(Access::Write, Node::root()).label("first");
    let guard = lock.try_acquire(&request).expect("a new lock is free");
    let mut acquire = Box::pin(lock.acquire(&request));
    assert_eq!(acquire.blocked(), None, "not asked yet");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(acquire.as_mut().poll(&mut context).is_pending());
    assert_eq!(acquire.blocked().and_then(|blocked| blocked.label).as_deref(), Some("first"));
    drop(guard);
    assert_eq!(acquire.blocked(), None, "granted");
    assert!(acquire.as_mut().poll(&mut context).is_ready());
}

#[test]
fn who_comes_later_is_not_in_the_way() {
    let lock = TreeLock::new();
    let request = Request::new().with(Access::Write, "a".parse().expect("a good name"));
    let _guard = lock.try_acquire(&request).expect("a new lock is free");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut first = Box::pin(lock.acquire(&request));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut later = Box::pin(lock.acquire(&request));
    assert!(later.as_mut().poll(&mut context).is_pending());
    assert_eq!(first.blocked().map(|blocked| (blocked.ahead, blocked.ticket)), Some((1, 1)));
    assert_eq!(later.blocked().map(|blocked| (blocked.ahead, blocked.ticket)), Some((2, 1)));
}

#[test]
fn each_root_has_its_own_given_ancestors() {
    let node = |number: u8| Node::from_components([[number]]).expect("a good component");
    let alone = |number| Request::new().with_ancestors(Access::Read, node(number), []);
    let several = Request::new()
        .with_ancestors(Access::Write, node(11), [node(1)])
        .with(Access::Write, node(12))
        .with_ancestors(Access::Write, node(13), [node(3)])
        .with_ancestors(Access::Write, node(14), [node(4)]);
    let lock = TreeLock::new();
    let guard = lock.try_acquire(&several).expect("a new lock is free");
    for (above, root) in [(1, 11), (12, 12), (3, 13), (4, 14)] {
        let blocked = lock.try_acquire(&alone(above)).expect_err("in the way");
        assert_eq!((blocked.wanted.node, blocked.blocker.node), (node(above), node(root)));
        let reader = alone(above);
        let conflict = several.conflict(&reader).expect("they conflict");
        assert_eq!(conflict.own, (Access::Write, &node(root)));
    }
    assert!(lock.try_acquire(&alone(2)).is_ok());
    drop(guard);
    for (above, root) in [(1, 11), (3, 13), (4, 14)] {
        let _reader = lock.try_acquire(&alone(above)).expect("free again");
        let blocked = lock.try_acquire(&several).expect_err("in the way");
        assert_eq!((blocked.wanted.node, blocked.blocker.node), (node(root), node(above)));
    }
}

#[test]
fn a_request_that_was_used_can_be_added_to() {
    let lock = TreeLock::new();
    let used = Request::new().read("a").unwrap().write("b").unwrap();
    drop(lock.try_acquire(&used).expect("a new lock is free"));
    let more = used.clone().write("c").unwrap();
    let given = used.clone().with_ancestors(Access::Write, "d".parse().unwrap(), []);
    for (request, node) in [(more, "c"), (given, "d")] {
        let _guard = lock.try_acquire(&request).expect("free again");
        assert!(lock.try_acquire(&Request::new().read(node).unwrap()).is_err());
        assert!(lock.try_acquire(&Request::new().read("b").unwrap()).is_err());
    }
    let _guard = lock.try_acquire(&used).expect("free again");
    assert!(lock.try_acquire(&Request::new().read("c").unwrap()).is_ok(), "the first is as before");
}
