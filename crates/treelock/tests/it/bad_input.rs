//! What is refused, with which words, and what is one node (C17).

use std::path::Path;

use proptest::prelude::*;
use treelock::{Node, Request, ToNode, TreeLock, Wait};

const EMPTY: &str = "it is empty (an unset variable?); write \"/\" for the whole tree";
const DOTS: &str =
    "it has a component \".\" or \"..\", which a name cannot decide; resolve it first";

/// A text and the error it gets.
const REFUSED: &[(&str, &str)] = &[
    ("", EMPTY),
    (".", DOTS),
    ("..", DOTS),
    ("/.", DOTS),
    ("./a", DOTS),
    ("a/.", DOTS),
    ("a/./b", DOTS),
    ("a/../b", DOTS),
    ("../a", DOTS),
    ("a//..//b", DOTS),
    ("/../", DOTS),
    ("1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/../20", DOTS),
];

#[test]
fn texts_that_name_no_node() {
    for (text, wrong) in REFUSED {
        let error = text.parse::<Node>().unwrap_err();
        assert_eq!(error.to_string(), format!("{text:?} names no node: {wrong}"));
        assert_eq!(error.text(), *text);
        assert_eq!(Node::try_from(*text).unwrap_err(), error);
        assert_eq!(Node::try_from(text.to_string()).unwrap_err(), error);
        assert_eq!(Node::try_from(Path::new(text)).unwrap_err(), error);
        assert_eq!(Request::new().write(text).unwrap_err(), error);
        assert_eq!(Request::new().read(Path::new(text)).unwrap_err(), error);
    }
}

#[test]
fn components_that_are_none() {
    let refused =
        |component: &str| Node::from_components(["a", component]).unwrap_err().to_string();
    assert_eq!(refused(""), "\"\" names no node: a component is empty; leave it out");
    assert_eq!(refused("."), format!("\".\" names no node: {DOTS}"));
    assert_eq!(refused(".."), format!("\"..\" names no node: {DOTS}"));
    assert!(Node::root().child("").is_err());
    assert!(Node::root().child("..").is_err());
}

/// Texts of one node each, with what it prints as.
const SAME: &[(&[&str], &str)] = &[
    (&["/", "//", "////"], "/"),
    (&["/a/b", "a/b", "a//b/", "//a/b//", "a///b"], "/a/b"),
    (&["...", "/.../"], "/..."),
    (&["a b", "/a b/"], "/a b"),
    (&["ä/ß"], "/ä/ß"),
    (&["..a/.b"], "/..a/.b"),
    (&["c:\\x"], "/c:\\\\x"),
    (&["a\nb\0"], "/a\\nb\\u{0}"),
    (&["%2F"], "/%2F"),
];

#[test]
fn texts_of_one_node() {
    for (texts, shown) in SAME {
        for text in *texts {
            let node: Node = text.parse().unwrap();
            assert_eq!(node, texts[0].parse().unwrap());
            assert_eq!(node.to_string(), *shown, "{text:?}");
            assert_eq!(format!("{node:?}"), format!("Node({shown})"));
        }
    }
}

#[cfg(unix)]
#[test]
fn paths_may_hold_any_bytes() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let path = Path::new(OsStr::from_bytes(b"/a\xff/b"));
    let node = path.to_node().unwrap();
    assert_eq!(node, Node::from_components([&b"a\xff"[..], b"b"]).unwrap());
    assert_eq!(node.to_string(), r"/a\xff/b");
}

/// Nothing bounds depth and length but memory.
#[test]
fn deep_and_long() {
    let deep = vec!["x"; 10_000].join("/");
    let node: Node = deep.parse().unwrap();
    assert_eq!(node.depth(), 10_000);
    let long: Node = "y".repeat(1 << 20).parse().unwrap();
    let lock = TreeLock::new();
    let request = Request::new().write(&node).unwrap().read(&long).unwrap();
    let _guard = lock.try_acquire(&request).wait().unwrap();
    assert!(lock.try_acquire(&Request::new().read("x/x").unwrap()).wait().is_err());
    assert!(lock.try_acquire(&Request::new().read("y").unwrap()).wait().is_ok());
}

/// A component with a slash is not two components, though the texts look alike.
#[test]
fn slashes_within_components() {
    let one = Node::from_components(["a/b"]).unwrap();
    let two = Node::from_components(["a", "b"]).unwrap();
    assert_ne!(one, two);
    assert_ne!(one.to_string(), two.to_string());
    assert!(!two.contains(&one) && !one.contains(&two));
    let lock = TreeLock::new();
    let request = |node: &Node| Request::new().write(node).unwrap();
    let _guard = lock.try_acquire(&request(&one)).wait().unwrap();
    assert!(lock.try_acquire(&request(&two)).wait().is_ok());
    let (long, longer) = (["a", "b/c", "d"], ["a", "b", "c/d"]);
    assert_ne!(Node::from_components(long).unwrap(), Node::from_components(longer).unwrap());
}

fn component() -> impl Strategy<Value = Vec<u8>> {
    let bytes =
        prop_oneof![Just(b'a'), Just(b'b'), Just(b'/'), Just(b'\\'), Just(b'.'), any::<u8>()];
    proptest::collection::vec(bytes, 1..4).prop_filter("dots", |c| c != b"." && c != b"..")
}

fn components() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(component(), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..Default::default() })]

    /// Nothing panics, whatever the text, and a node says its components.
    #[test]
    fn any_text_is_a_node_or_an_error(text in r"([./a-c]|\PC){0,24}") {
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        match text.parse::<Node>() {
            Ok(node) => {
                prop_assert!(node.components().eq(parts.iter().map(|part| part.as_bytes())));
                prop_assert_eq!(node, Node::from_components(parts).unwrap());
            }
            Err(error) => {
                prop_assert!(text.is_empty() || parts.iter().any(|part| [".", ".."].contains(part)));
                prop_assert_eq!(error.text(), text.as_str());
            }
        }
    }

    /// Equality, order, hash, containment and `Display` say what the components say.
    #[test]
    fn nodes_are_their_components(a in components(), b in components()) {
        use std::hash::{BuildHasher, RandomState};
        let (one, other) = (Node::from_components(&a).unwrap(), Node::from_components(&b).unwrap());
        prop_assert_eq!(one == other, a == b);
        prop_assert_eq!(one.cmp(&other), a.cmp(&b));
        prop_assert_eq!(one.to_string() == other.to_string(), a == b, "{} {}", one, other);
        prop_assert_eq!(one.contains(&other), b.starts_with(&a));
        let hasher = RandomState::new();
        prop_assert_eq!(hasher.hash_one(&one), hasher.hash_one(Node::from_components(&a).unwrap()));
        let above: Vec<Node> = one.ancestors().collect();
        prop_assert_eq!(above.len(), one.depth());
        for (up, ancestor) in above.iter().enumerate() {
            prop_assert_eq!(ancestor, &Node::from_components(&a[..a.len() - 1 - up]).unwrap());
        }
        prop_assert_eq!(one.parent(), above.first().cloned());
    }
}
