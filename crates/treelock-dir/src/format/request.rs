//! Requests as bytes, and how to tell from the bytes alone whether two requests conflict.
//!
//! A request is compared with those that the [index](crate::index) finds for it. A node is stored
//! as its components, each preceded by its length. So a node equals another, or lies above it, iff
//! its bytes are a prefix of the other's. Only a request with given ancestors has to be decoded to
//! be compared, since the bytes of a node do not contain such ancestors.
//!
//! The bytes are those that `postcard` writes for [`Stored`], which reads them. They are written by
//! hand, since every new request is: it takes a fifth of the time.

use std::{cell::OnceCell, ops::Range};

use serde::Deserialize;
use serde_bytes::Bytes;
use smallvec::SmallVec;
use treelock::{Access, Node, Request, engine::RootIndex};

use crate::marks::{Mark, Marks};

/// A request in its stored form.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct Stored<'a> {
    label: Option<&'a str>,
    #[serde(borrow)]
    roots: Vec<StoredRoot<'a>>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct StoredRoot<'a> {
    write: bool,
    #[serde(borrow)]
    node: &'a Bytes,
    /// The ancestors, if they were given.
    above: Option<Vec<&'a Bytes>>,
}

/// Reads a value from the start of some bytes. Returns it and the remaining bytes.
fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    postcard::take_from_bytes(bytes).ok()
}

/// Most requests fit into this many bytes, so they need not be moved as they grow.
const TYPICAL_BYTES: usize = 128;

/// Appends a number, in as many bytes as it needs, with 7 bits each.
fn push_number(mut number: usize, behind: &mut Vec<u8>) {
    while number >= 0x80 {
        behind.push(number as u8 | 0x80);
        number >>= 7;
    }
    behind.push(number as u8);
}

/// Appends bytes, with their length in front.
fn push_bytes(bytes: &[u8], behind: &mut Vec<u8>) {
    push_number(bytes.len(), behind);
    behind.extend_from_slice(bytes);
}

/// Appends a node as its components, each with its length in front, and all with theirs. Returns
/// where the components are.
fn push_node(node: &Node, behind: &mut Vec<u8>) -> Range<usize> {
    push_number(node.components().map(|part| packed_length(part.len())).sum(), behind);
    let start = behind.len();
    node.components().for_each(|component| push_bytes(component, behind));
    start..behind.len()
}

/// Returns the components of a packed node, with `None` for a component that cannot be read. A
/// length in more bytes than it needs cannot be read: packed nodes are compared as bytes, so each
/// node has one form only.
fn components(mut packed: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if packed.is_empty() {
            return None;
        }
        let shortest = |(component, rest): &(&[u8], &[u8])| {
            packed.len() - rest.len() == packed_length(component.len())
        };
        let component = take(packed).filter(shortest);
        packed = component.map_or(&[], |(_, rest)| rest);
        Some(component.map(|(component, _)| component))
    })
}

/// Returns the components of a node that we have packed, each with its length in front.
fn pieces(mut packed: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut length = 0;
        let mut bytes = 0;
        loop {
            let byte = *packed.get(bytes)?;
            length |= usize::from(byte & 0x7f) << (7 * bytes);
            bytes += 1;
            if byte < 0x80 {
                break;
            }
        }
        let (piece, rest) = packed.split_at(bytes + length);
        packed = rest;
        Some(piece)
    })
}

/// Returns the size of a packed component of this many bytes. Each byte of its length has 7 bits.
fn packed_length(component: usize) -> usize {
    let bits = usize::BITS - component.leading_zeros();
    bits.max(1).div_ceil(7) as usize + component
}

/// Returns whether these bytes are a node. [`Node`] decides which components a node may have.
fn is_node(packed: &[u8]) -> bool {
    components(packed).all(|component| !matches!(component, None | Some(b"" | b"." | b"..")))
}

fn unpack(packed: &[u8]) -> Option<Node> {
    let components: Option<Vec<&[u8]>> = components(packed).collect();
    Node::from_components(components?).ok()
}

/// A request that is about to be entered, in its stored form and ready to be compared.
pub(crate) struct Draft<'a> {
    pub(crate) request: &'a Request,
    pub(crate) payload: Vec<u8>,
    roots: SmallVec<[PackedRoot; 2]>,
    /// The roots for comparisons. `None` if any root has given ancestors.
    plain: OnceCell<Option<PlainRoots>>,
    /// For comparisons for which the bytes are not enough.
    index: OnceCell<RootIndex<'a>>,
}

/// Where a root's node and given ancestors are in the payload.
struct PackedRoot {
    write: bool,
    node: Range<usize>,
    above: Option<Vec<Range<usize>>>,
}

/// The roots of a request without given ancestors.
struct PlainRoots {
    all: WidestNodes,
    /// `None` if all are writes.
    writes: Option<WidestNodes>,
}

impl PlainRoots {
    fn new(roots: &[PackedRoot], payload: &[u8]) -> PlainRoots {
        let node = |root: &PackedRoot| payload[root.node.clone()].to_vec();
        let writes = roots.iter().filter(|root| root.write).map(node);
        let writes = (!roots.iter().all(|root| root.write)).then(|| writes.collect());
        let all = roots.iter().map(node).collect();
        PlainRoots { all: WidestNodes::new(all), writes: writes.map(WidestNodes::new) }
    }

    /// Returns whether any of the roots conflicts with this one.
    fn conflict(&self, write: bool, node: &[u8]) -> bool {
        match &self.writes {
            Some(writes) if !write => writes.meet(node),
            _ => self.all.meet(node),
        }
    }
}

/// Packed nodes, sorted, without those that lie below another: what conflicts with one of these
/// conflicts with the other too, if the access is the same.
struct WidestNodes(Vec<Vec<u8>>);

impl WidestNodes {
    fn new(mut nodes: Vec<Vec<u8>>) -> WidestNodes {
        nodes.sort_unstable();
        // A node comes directly before everything below it.
        nodes.dedup_by(|node, before| node.starts_with(before));
        WidestNodes(nodes)
    }

    /// Returns whether any of the nodes is above, at or below this one.
    fn meet(&self, node: &[u8]) -> bool {
        // What is above or at the node is the last one that does not sort behind it; anything else
        // in between would lie below that one.
        let (before, behind) = self.0.split_at(self.0.partition_point(|own| &own[..] <= node));
        before.last().is_some_and(|last| node.starts_with(last))
            || behind.first().is_some_and(|first| first.starts_with(node))
    }
}

impl<'a> Draft<'a> {
    pub(crate) fn new(request: &'a Request) -> Draft<'a> {
        let mut payload = Vec::with_capacity(TYPICAL_BYTES);
        match request.label() {
            Some(label) => {
                payload.push(1);
                push_bytes(label.as_bytes(), &mut payload);
            }
            None => payload.push(0),
        }
        push_number(request.roots().count(), &mut payload);
        let roots =
            request.roots().zip(request.given_ancestors()).map(|((access, node), above)| {
                let write = access == Access::Write;
                payload.push(write.into());
                let node = push_node(node, &mut payload);
                payload.push(above.is_some().into());
                let above = above.map(|above| {
                    push_number(above.len(), &mut payload);
                    above.iter().map(|node| push_node(node, &mut payload)).collect()
                });
                PackedRoot { write, node, above }
            });
        let roots = roots.collect();
        Draft { request, payload, roots, plain: OnceCell::new(), index: OnceCell::new() }
    }

    /// Returns where a request is entered in the index of a table with this key.
    pub(crate) fn marks(&self, key: [u64; 2]) -> SmallVec<[Mark; 8]> {
        let mut marks = Marks::new(key);
        for root in &self.roots {
            let bytes = |range: &Range<usize>| &self.payload[range.clone()];
            let above = root.above.as_ref().map(|above| above.iter().map(bytes));
            marks.add(root.write, pieces(bytes(&root.node)), above);
        }
        marks.finish()
    }

    /// Returns whether it conflicts with the request that is stored in these bytes. Damaged bytes
    /// count as a write on everything.
    pub(crate) fn conflicts(&self, payload: Option<&[u8]>) -> bool {
        let plainly = payload.and_then(|payload| self.plainly_conflicts(payload));
        plainly.unwrap_or_else(|| match payload.and_then(decode) {
            Some(other) => {
                self.index.get_or_init(|| RootIndex::new(self.request)).conflicts_with(&other)
            }
            // What it covers is unknown, and so is which tree its ancestors are of.
            None => self.request.roots().next().is_some(),
        })
    }

    /// Does the same if the bytes alone are enough. Returns `None` if ancestors were given or
    /// something is damaged.
    fn plainly_conflicts(&self, payload: &[u8]) -> Option<bool> {
        let is_plain = || self.roots.iter().all(|root| root.above.is_none());
        let own = self
            .plain
            .get_or_init(|| is_plain().then(|| PlainRoots::new(&self.roots, &self.payload)));
        let own = own.as_ref()?;
        let (_, rest) = take::<Option<&str>>(payload)?;
        let (roots, mut rest) = take::<usize>(rest)?;
        let mut conflicts = false;
        for _ in 0..roots {
            let (other, behind) = take::<StoredRoot<'_>>(rest)?;
            rest = behind;
            if other.above.is_some() || !is_node(other.node) {
                return None;
            }
            conflicts = conflicts || own.conflict(other.write, other.node);
        }
        rest.is_empty().then_some(conflicts)
    }
}

/// Returns the request that is stored in these bytes, if they are intact.
pub(crate) fn decode(payload: &[u8]) -> Option<Request> {
    let (stored, rest): (Stored<'_>, _) = take(payload)?;
    let request = stored.roots.iter().try_fold(Request::new(), enter)?;
    rest.is_empty().then(|| match stored.label {
        Some(label) => request.with_label(label),
        None => request,
    })
}

fn enter(request: Request, root: &StoredRoot<'_>) -> Option<Request> {
    let access = if root.write { Access::Write } else { Access::Read };
    let node = unpack(root.node)?;
    Some(match &root.above {
        None => request.with(access, node),
        Some(above) => {
            let above: Option<Vec<Node>> = above.iter().map(|node| unpack(node)).collect();
            request.with_ancestors(access, node, above?)
        }
    })
}

/// The label of a request whose record cannot be read.
pub(crate) const DAMAGED: &str = "damaged record";

/// Returns the request that a damaged record counts as: a write on everything, which is safe.
pub(crate) fn damaged() -> Request {
    Request::new().with(Access::Write, Node::root()).with_label(DAMAGED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(components: &[&[u8]]) -> Node {
        Node::from_components(components).expect("good components")
    }

    /// Returns requests of all kinds that are close enough to one another to conflict, or just not
    /// to.
    fn requests() -> Vec<Request> {
        let nodes: [&[&[u8]]; 9] = [
            &[],
            &[b"a"],
            &[b"a", b"b"],
            &[b"ab"],
            &[b"a/b"],
            &[b"a", b"\x01b"],
            &[b"\x01a"],
            &[b"\xff\0"],
            &[&[b'x'; 200], b"y"],
        ];
        let mut requests = vec![Request::new(), Request::new().with_label("nobody")];
        for (number, components) in nodes.iter().enumerate() {
            let own = node(components);
            for access in [Access::Read, Access::Write] {
                let plain = Request::new().with(access, own.clone());
                let two = plain.clone().with(Access::Read, node(nodes[(number + 3) % 9]));
                let given = plain.clone().with_ancestors(access, own.clone(), [node(&[b"a"])]);
                requests.extend([plain.with_label("one\u{1f333}"), two, given]);
            }
        }
        requests
    }

    /// What is written by hand is what the library would write, and reads.
    #[test]
    fn the_bytes_are_those_of_the_library() {
        for request in requests() {
            let draft = Draft::new(&request);
            let (stored, rest): (Stored<'_>, _) = take(&draft.payload).expect("what was written");
            assert!(rest.is_empty());
            assert_eq!(postcard::to_stdvec(&stored).expect("memory"), draft.payload, "{request}");
            let read = decode(&draft.payload).expect("what was written");
            assert_eq!(format!("{read:?}"), format!("{request:?}"));
            assert!(read.given_ancestors().eq(request.given_ancestors()));
        }
    }

    #[test]
    fn bytes_and_requests_agree_on_conflicts() {
        let requests = requests();
        let mut found = [0, 0];
        for one in &requests {
            let draft = Draft::new(one);
            for two in &requests {
                let conflicts = one.conflict(two).is_some();
                let payload = Draft::new(two).payload;
                assert_eq!(draft.conflicts(Some(&payload)), conflicts, "{one} and {two}");
                if let Some(plainly) = draft.plainly_conflicts(&payload) {
                    assert_eq!(plainly, conflicts, "{one} and {two}");
                    found[usize::from(plainly)] += 1;
                }
            }
        }
        assert!(found.iter().all(|count| *count > 100), "bytes are rarely enough: {found:?}");
    }

    /// Marsaglia's xorshift: any numbers will do.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) % limit
        }

        fn node(&mut self) -> Node {
            let names = ["a", "a-", "b"];
            let depth = 1 + self.below(4);
            let components = (0..depth).map(|_| names[self.below(3) as usize]);
            Node::from_components(components).expect("good components")
        }

        fn request(&mut self, roots: u64, given: u64) -> Request {
            (0..roots).fold(Request::new(), |request, _| {
                let access = if self.below(3) == 0 { Access::Write } else { Access::Read };
                let node = self.node();
                if self.below(100) < given {
                    let above: Vec<Node> = (0..self.below(3)).map(|_| self.node()).collect();
                    request.with_ancestors(access, node, above)
                } else {
                    request.with(access, node)
                }
            })
        }
    }

    /// The definition of a conflict: all pairs of roots.
    fn pairs_conflict(one: &Request, two: &Request) -> bool {
        let within = |(node, above): (&Node, Option<&[Node]>), other: &Node| match above {
            Some(above) => node == other || above.contains(other),
            None => other.contains(node),
        };
        one.roots().zip(one.given_ancestors()).any(|((access, node), above)| {
            two.roots().zip(two.given_ancestors()).any(|((its_access, its), its_above)| {
                (access == Access::Write || its_access == Access::Write)
                    && (within((node, above), its) || within((its, its_above), node))
            })
        })
    }

    /// Whatever the numbers of roots, the answer is that of all pairs.
    #[test]
    fn many_roots_conflict_as_their_pairs_do() {
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let mut found = [0, 0];
        for round in 0..4000 {
            let given = [0, 0, 5, 40][round % 4];
            let [few, many] =
                [random.below(4), random.below(if round % 10 == 0 { 300 } else { 5 })];
            let (few, many) = (random.request(few, given), random.request(many, given));
            let expected = pairs_conflict(&few, &many);
            for (one, two) in [(&few, &many), (&many, &few)] {
                let payload = Draft::new(two).payload;
                let conflicts = Draft::new(one).conflicts(Some(&payload));
                assert_eq!(conflicts, expected, "{one:?} and {two:?}");
            }
            found[usize::from(expected)] += 1;
        }
        assert!(found.iter().all(|count| *count > 500), "{found:?}");
    }

    /// Many roots must not be compared pair by pair: that would be 400,000,000 pairs.
    #[test]
    fn twenty_thousand_roots_are_compared_at_once() {
        let many = |above: &str| {
            let node = |i: u64| format!("{above}/{}/{i}", i % 7);
            Request::new().writes((0..20_000).map(node)).expect("good nodes")
        };
        let (one, two) = (many("one"), many("two"));
        let given = two.clone().with_ancestors(Access::Read, node(&[b"x"]), [node(&[b"y"])]);
        let draft = Draft::new(&one);
        let start = std::time::Instant::now();
        for other in [&two, &given] {
            let payload = Draft::new(other).payload;
            assert!(!draft.conflicts(Some(&payload)));
            assert!(!Draft::new(other).conflicts(Some(&draft.payload)));
        }
        assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
    }

    /// A length that is stored in more bytes than it needs is damage, since the bytes of the node
    /// would differ from those of the same node in its usual form.
    #[test]
    fn a_node_has_one_form() {
        assert!(is_node(b"\x01a") && unpack(b"\x01a").is_some());
        assert!(!is_node(b"\x81\x00a") && unpack(b"\x81\x00a").is_none());
        for length in [1, 127, 128, 16_383, 16_384] {
            let node = node(&[&vec![b'x'; length]]);
            let mut packed = Vec::new();
            let all = push_node(&node, &mut packed);
            assert_eq!(
                pieces(&packed[all.clone()]).flatten().copied().collect::<Vec<_>>(),
                packed[all.clone()]
            );
            assert_eq!(unpack(&packed[all]), Some(node));
        }
    }

    /// A damaged record means the same when it is compared as when it is shown.
    #[test]
    fn bytes_and_requests_agree_on_damage() {
        let ours = Request::new().write("a/b").expect("a valid node");
        let draft = Draft::new(&ours);
        let (mut whole, mut broken) = (0, 0);
        for request in requests() {
            let payload = Draft::new(&request).payload;
            for (at, value) in
                (0..payload.len()).flat_map(|at| [0, 1, 2, 0x2e, 0xff].map(|v| (at, v)))
            {
                let mut payload = payload.clone();
                payload[at] = value;
                let read = decode(&payload);
                *if read.is_some() { &mut whole } else { &mut broken } += 1;
                let shown = read.unwrap_or_else(damaged);
                assert_eq!(draft.conflicts(Some(&payload)), ours.conflict(&shown).is_some());
            }
            for length in 0..payload.len() {
                assert!(
                    decode(&payload[..length]).is_none()
                        && draft.conflicts(Some(&payload[..length]))
                );
            }
        }
        assert!(whole > 100 && broken > 100, "{whole} whole, {broken} broken");
        assert!(draft.conflicts(None));
        // Also with roots that lie below nothing by name.
        let [seven, three]: [Node; 2] = ["7", "3"].map(|name| name.parse().expect("a valid node"));
        let numbered = Request::new().with_ancestors(Access::Write, seven, [three]);
        assert!(Draft::new(&numbered).conflicts(None));
        assert!(!Draft::new(&Request::new()).conflicts(None), "no roots, no conflict");
    }
}
