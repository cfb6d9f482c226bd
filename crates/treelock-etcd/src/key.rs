//! Where requests are in etcd's keyspace: [`Space`].
//!
//! ```text
//! <space>/M                                  the version of all this, and the epoch of the tokens
//! <space>/S/<session>                        a session, bound to its lease
//! <space>/S/<session>/<slot>                 the ticket of an entry that somebody else deleted
//! <space>/R/<node>!<session>.<slot>          a read root of a live request
//! <space>/W/<node>!<session>.<slot>          a write root
//! <space>/N/!<session>.<slot>                a request without roots, which is in nobody's way
//! ```
//!
//! A node is written as its components, escaped, each with a `/` behind it. So one node lies above
//! another, or is the same, iff its text is a beginning of the other's; and as `!` never begins a
//! component, everything from `node!` to `node"` is at the node itself, and everything that begins
//! with its text is there or below. A sub-tree is one range of keys, and that is all that a request
//! has to look at, apart from one small range for each ancestor.

use std::collections::BTreeSet;

use treelock::{Access, Node, Request};

/// What an entry's key says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// `None` of a request without roots.
    pub(crate) root: Option<(Access, Node)>,
    pub(crate) session: String,
    pub(crate) slot: u64,
}

/// A range of keys: from the first, without the second.
pub(crate) type Range = (Vec<u8>, Vec<u8>);

/// The keys of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Space(Vec<u8>);

/// The letters of the entries.
const READS: u8 = b'R';
const WRITES: u8 = b'W';
const NOTHING: u8 = b'N';

/// What follows a node: the slot of the request in its session.
const SLOT_MARK: u8 = b'!';
/// The byte after that, where the keys at a node end.
const AFTER_SLOT_MARK: u8 = b'"';

fn needs_escape(byte: u8) -> bool {
    matches!(byte, 0..=0x21 | b'%' | b'/' | 0x7f)
}

/// Returns the text of a node in keys; empty for the root.
pub(crate) fn encode(node: &Node) -> Vec<u8> {
    let mut text = Vec::new();
    for component in node.components() {
        for byte in component {
            if needs_escape(*byte) {
                text.extend(format!("%{byte:02X}").bytes());
            } else {
                text.push(*byte);
            }
        }
        text.push(b'/');
    }
    text
}

/// Returns the node of a text; `None` if it is not one.
pub(crate) fn decode(text: &[u8]) -> Option<Node> {
    let Some(components) = text.strip_suffix(b"/") else {
        return text.is_empty().then(Node::root);
    };
    let components: Option<Vec<Vec<u8>>> =
        components.split(|byte| *byte == b'/').map(unescape).collect();
    Node::from_components(components?).ok()
}

fn unescape(component: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = component;
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let (digits, behind) = behind.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    Some(bytes)
}

/// Returns the text of a root, as a value holds it.
pub(crate) fn root_text((access, node): (Access, &Node)) -> String {
    let letter = if access == Access::Write { 'W' } else { 'R' };
    // Only bytes above 0x7f are left as they are; JSON has no bytes.
    let text = encode(node).into_iter().map(|byte| match byte {
        0x80.. => format!("%{byte:02X}"),
        byte => char::from(byte).into(),
    });
    format!("{letter}/{}", text.collect::<String>())
}

/// Returns the root of a text; `None` if it is not one.
pub(crate) fn read_root_text(text: &str) -> Option<(Access, Node)> {
    let (access, node) = text.split_once('/')?;
    let access = match access {
        "R" => Access::Read,
        "W" => Access::Write,
        _ => return None,
    };
    Some((access, decode(node.as_bytes())?))
}

/// Returns whether the ancestors that were given for a root are those that its name says.
pub(crate) fn are_its_own(node: &Node, given: &[Node]) -> bool {
    let own: BTreeSet<Node> = std::iter::successors(node.parent(), Node::parent).collect();
    own == given.iter().cloned().collect()
}

/// Returns the roots of a request that say all that it locks: none that lies in a wider one, and
/// one for each node.
pub(crate) fn essential(request: &Request) -> Vec<(Access, Node)> {
    let mut roots: Vec<_> = request
        .roots()
        .map(|(access, node)| (encode(node), std::cmp::Reverse(access), node))
        .collect();
    // So a wider root comes before those in it, and of two of one node the write.
    roots.sort_unstable();
    let mut above: Vec<(Vec<u8>, Access)> = Vec::new();
    let mut essential = BTreeSet::new();
    for (text, std::cmp::Reverse(access), node) in roots {
        while above.last().is_some_and(|(wider, _)| !text.starts_with(wider)) {
            above.pop();
        }
        if above.iter().all(|(_, wider)| *wider < access) {
            essential.insert((access, node.clone()));
        }
        above.push((text, access));
    }
    essential.into_iter().collect()
}

impl Space {
    /// Returns the keys that begin with this prefix.
    pub(crate) fn new(prefix: &str) -> Space {
        Space(prefix.trim_end_matches('/').into())
    }

    fn under(&self, letter: u8) -> Vec<u8> {
        [&self.0[..], &[b'/', letter, b'/']].concat()
    }

    fn of(&self, access: Access) -> Vec<u8> {
        self.under(if access == Access::Write { WRITES } else { READS })
    }

    /// Returns the key of what holds for the whole namespace.
    pub(crate) fn meta(&self) -> Vec<u8> {
        [&self.0[..], b"/M"].concat()
    }

    /// Returns the key of a session.
    pub(crate) fn session(&self, session: &str) -> Vec<u8> {
        [&self.under(b'S')[..], session.as_bytes()].concat()
    }

    /// Returns the key that says that somebody else deleted an entry.
    pub(crate) fn revoked(&self, session: &str, slot: u64) -> Vec<u8> {
        [&self.session(session)[..], b"/", slot.to_string().as_bytes()].concat()
    }

    /// Returns the range of the session's key and of the messages to it.
    pub(crate) fn session_range(&self, session: &str) -> Range {
        let key = self.session(session);
        // The byte after the slash, which comes before every digit.
        let end = [&key[..], b"0"].concat();
        (key, end)
    }

    /// Reads a message to a session: which slot lost its entry; `None` of the session's own key.
    pub(crate) fn read_revoked(&self, session: &str, key: &[u8]) -> Option<u64> {
        let slot = key.strip_prefix(&self.session(session)[..])?.strip_prefix(b"/")?;
        str::from_utf8(slot).ok()?.parse().ok()
    }

    /// Returns whether a key is a session's own.
    pub(crate) fn is_session(&self, key: &[u8]) -> bool {
        key.strip_prefix(&self.under(b'S')[..]).is_some_and(|id| !id.contains(&b'/'))
    }

    /// Returns the range of all keys.
    pub(crate) fn all(&self) -> Range {
        ([&self.0[..], b"/"].concat(), [&self.0[..], &[b'/' + 1]].concat())
    }

    /// Returns the ranges of all sessions and entries.
    pub(crate) fn live(&self) -> [Range; 4] {
        let end = |letter| [&self.0[..], &[b'/', letter, b'/' + 1]].concat();
        [b'S', READS, WRITES, NOTHING].map(|letter| (self.under(letter), end(letter)))
    }

    /// Returns the key of one root of a live request.
    pub(crate) fn entry(&self, access: Access, node: &Node, session: &str, slot: u64) -> Vec<u8> {
        let place = format!("{}{session}.{slot}", char::from(SLOT_MARK));
        [&self.of(access)[..], &encode(node), place.as_bytes()].concat()
    }

    /// Returns the keys of a live request with these roots.
    pub(crate) fn keys(&self, roots: &[(Access, Node)], session: &str, slot: u64) -> Vec<Vec<u8>> {
        if roots.is_empty() {
            let place = format!("{}{session}.{slot}", char::from(SLOT_MARK));
            return vec![[&self.under(NOTHING)[..], place.as_bytes()].concat()];
        }
        roots.iter().map(|(access, node)| self.entry(*access, node, session, slot)).collect()
    }

    /// Reads an entry's key; `None` if it is not one.
    pub(crate) fn read(&self, key: &[u8]) -> Option<Name> {
        let both = [Access::Read, Access::Write].into_iter();
        let under = |access| Some((Some(access), key.strip_prefix(&self.of(access)[..])?));
        let nothing = || Some((None, key.strip_prefix(&self.under(NOTHING)[..])?));
        let (access, rest) = both.filter_map(under).next().or_else(nothing)?;
        let at = rest.iter().rposition(|byte| *byte == SLOT_MARK)?;
        let place = str::from_utf8(&rest[at + 1..]).ok()?;
        let (session, slot) = place.rsplit_once('.')?;
        let node = decode(&rest[..at])?;
        let root = access.map(|access| (access, node));
        Some(Name { root, session: session.into(), slot: slot.parse().ok()? })
    }

    /// Returns the ranges that contain exactly the keys of requests that conflict with one of these
    /// roots.
    pub(crate) fn conflicts(&self, roots: &[(Access, Node)]) -> Vec<Range> {
        let (mut points, mut trees) = (BTreeSet::new(), BTreeSet::new());
        for (access, node) in roots {
            let others = match access {
                Access::Read => &[Access::Write][..],
                Access::Write => &[Access::Read, Access::Write],
            };
            for other in others {
                let text = [self.of(*other), encode(node)].concat();
                let slash = |(at, byte): (usize, &u8)| (*byte == b'/').then_some(at + 1);
                let above = text.iter().enumerate().filter_map(slash);
                // The slashes of the namespace come first; the whole text is the node itself.
                let above = above.filter(|end| (self.0.len() + 3..text.len()).contains(end));
                points.extend(above.map(|end| point(&text[..end])));
                trees.insert(tree(text));
            }
        }
        let trees: Vec<Range> = trees.into_iter().collect();
        // What lies in a sub-tree is looked at there. Those are in order, so the wider one is the
        // last before.
        let mut ranges: Vec<Range> = Vec::new();
        for one in trees {
            if ranges.last().is_none_or(|wider| wider.1 < one.1) {
                ranges.push(one);
            }
        }
        let trees = ranges.len();
        for one in points {
            let before = ranges[..trees].partition_point(|tree| tree.0 <= one.0);
            if before == 0 || ranges[before - 1].1 < one.1 {
                ranges.push(one);
            }
        }
        ranges
    }

    /// Returns the ranges of all entries.
    pub(crate) fn entries(&self) -> Vec<Range> {
        self.live()[1..].to_vec()
    }
}

/// Returns the range of the entries at the node with this text.
fn point(text: &[u8]) -> Range {
    ([text, &[SLOT_MARK]].concat(), [text, &[AFTER_SLOT_MARK]].concat())
}

/// Returns the range of the entries at the node with this text, and below.
fn tree(text: Vec<u8>) -> Range {
    let mut end = text.clone();
    // It ends with a slash, so the next text of the same length ends with the byte after that.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    (text, end)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn node() -> impl Strategy<Value = Node> {
        const COMPONENTS: &[&[u8]] =
            &[b"a", b"b", b"a!", b"a/b", b"%41", b"\x7f", b"\xff", b"\"", b"A"];
        let component = select(COMPONENTS);
        vec(component, 0..=4)
            .prop_map(|components| Node::from_components(components).expect("good"))
    }

    fn request() -> impl Strategy<Value = Request> {
        let root = (node(), any::<bool>());
        vec(root, 0..=4).prop_map(|roots| {
            roots.into_iter().fold(Request::new(), |request, (node, write)| {
                request.with(if write { Access::Write } else { Access::Read }, node)
            })
        })
    }

    proptest! {
        /// The ranges that a request looks at hold a key of another iff the two conflict.
        #[test]
        fn ranges_are_conflicts(one in request(), two in request()) {
            let space = Space::new("/treelock/test");
            let ranges = space.conflicts(&essential(&one));
            let key = |(access, node)| space.entry(access, &node, "s1", 7);
            let keys = essential(&two).into_iter().map(key);
            let met = keys.into_iter().any(|key| {
                ranges.iter().any(|(first, end)| *first <= key && key < *end)
            });
            prop_assert_eq!(met, one.conflict(&two).is_some(), "{} and {}", one, two);
        }

        #[test]
        fn keys_are_read_back(node in node(), write in any::<bool>(), slot in any::<u64>()) {
            let access = if write { Access::Write } else { Access::Read };
            let space = Space::new("x");
            let key = space.entry(access, &node, "5f.a", slot);
            let name = Name { root: Some((access, node)), session: "5f.a".into(), slot };
            prop_assert_eq!(space.read(&key), Some(name));
        }

        #[test]
        fn roots_come_back_from_values(node in node(), write in any::<bool>()) {
            let access = if write { Access::Write } else { Access::Read };
            prop_assert_eq!(read_root_text(&root_text((access, &node))), Some((access, node)));
        }

        #[test]
        fn nodes_come_back(node in node()) {
            let text = encode(&node);
            prop_assert!(!text.iter().any(|byte| *byte <= b'!' || *byte == 0x7f));
            prop_assert_eq!(decode(&text), Some(node));
        }

        /// What is left of a request locks what all of it does.
        #[test]
        fn essential_roots_lock_the_same(one in request(), other in request()) {
            let essential = essential(&one);
            let less = essential.iter().fold(Request::new(), |request, (access, node)| {
                request.with(*access, node.clone())
            });
            prop_assert_eq!(less.conflict(&other).is_some(), one.conflict(&other).is_some());
            prop_assert!(essential.len() <= one.roots().count());
        }

        #[test]
        fn any_bytes_are_read_as_something(key in vec(any::<u8>(), 0..40)) {
            let space = Space::new("");
            let _ = (space.read(&key), decode(&key));
        }
    }
}
