//! Requests as bytes, and how to tell from the bytes alone whether two requests conflict.
//!
//! Every new request is compared with all requests in the table, so the comparison must be cheap. A
//! node is stored as its components, each preceded by its length. So a node equals another, or lies
//! above it, iff its bytes are a prefix of the other's. Only a request with given ancestors has to
//! be decoded to be compared, since the bytes of a node do not contain such ancestors.

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;
use treelock::{Access, Node, Request};

/// A request in its stored form.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    label: Option<&'a str>,
    #[serde(borrow)]
    roots: Vec<StoredRoot<'a>>,
}

#[derive(Serialize, Deserialize)]
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

/// Returns the components of a node, each preceded by its length.
fn pack(node: &Node) -> Vec<u8> {
    let packed = Vec::with_capacity(TYPICAL_BYTES);
    node.components().fold(packed, |packed, component| append(Bytes::new(component), packed))
}

/// Most nodes and most requests fit into this many bytes, so they need not be moved as they grow.
const TYPICAL_BYTES: usize = 128;

fn append(what: &(impl Serialize + ?Sized), behind: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(what, behind).expect("memory takes everything")
}

/// Returns the components of a packed node, with `None` for a component that cannot be read.
fn components(mut packed: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        if packed.is_empty() {
            return None;
        }
        let component = take(packed);
        packed = component.map_or(&[], |(_, rest)| rest);
        Some(component.map(|(component, _)| component))
    })
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
    /// For each root, whether it is a write, and its node. `None` if any root has given ancestors.
    plain: Option<Vec<(bool, Vec<u8>)>>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(request: &'a Request) -> Draft<'a> {
        let write = |access| access == Access::Write;
        let roots: Vec<(bool, Vec<u8>)> =
            request.roots().map(|(access, node)| (write(access), pack(node))).collect();
        let above = |above: &[Node]| above.iter().map(pack).collect();
        let above: Vec<Option<Vec<Vec<u8>>>> =
            request.given_ancestors().map(|given| given.map(above)).collect();
        let payload = encode(request.label(), &roots, &above);
        let plain = above.iter().all(Option::is_none).then_some(roots);
        Draft { request, payload, plain }
    }

    /// Returns whether it conflicts with the request that is stored in these bytes. Damaged bytes
    /// count as a write on everything.
    pub(crate) fn conflicts(&self, payload: Option<&[u8]>) -> bool {
        let plainly = payload.and_then(|payload| self.plainly_conflicts(payload));
        plainly.unwrap_or_else(|| {
            let other = payload.and_then(decode).unwrap_or_else(damaged);
            self.request.conflict(&other).is_some()
        })
    }

    /// Does the same if the bytes alone are enough. Returns `None` if ancestors were given or
    /// something is damaged.
    fn plainly_conflicts(&self, payload: &[u8]) -> Option<bool> {
        let own = self.plain.as_ref()?;
        let (_, rest) = take::<Option<&str>>(payload)?;
        let (roots, mut rest) = take::<usize>(rest)?;
        let mut conflicts = false;
        for _ in 0..roots {
            let (other, behind) = take::<StoredRoot<'_>>(rest)?;
            rest = behind;
            if other.above.is_some() || !is_node(other.node) {
                return None;
            }
            conflicts |= own.iter().any(|(write, node)| {
                (*write || other.write)
                    && (node.starts_with(other.node.as_ref()) || other.node.starts_with(node))
            });
        }
        rest.is_empty().then_some(conflicts)
    }
}

fn encode(
    label: Option<&str>,
    roots: &[(bool, Vec<u8>)],
    above: &[Option<Vec<Vec<u8>>>],
) -> Vec<u8> {
    let roots = roots.iter().zip(above).map(|((write, node), above)| {
        let above = above.as_ref().map(|above| above.iter().map(|node| Bytes::new(node)).collect());
        StoredRoot { write: *write, node: Bytes::new(node), above }
    });
    let stored = Stored { label, roots: roots.collect() };
    append(&stored, Vec::with_capacity(TYPICAL_BYTES))
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
        assert!(!Draft::new(&Request::new()).conflicts(None), "no roots, no conflict");
    }
}
