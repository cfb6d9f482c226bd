//! Nodes: places in a tree, named by the components that lead to them from the root.
//!
//! A node is one shared allocation, so that cloning is a counter and a request that is used again
//! pays nothing again. It holds the number of its prefixes, one record for each (the hash of the
//! prefix and where its text ends), then the text:
//!
//! ```text
//! 2 │ hash("photos") 6 │ hash("photos","2025") 11 │ photos/2025
//! ```
//!
//! The hash of a prefix is seeded with the hash of the prefix before it, so parsing a path hashes
//! every byte once. Hashes only say where to look: two nodes are the same node iff their texts and
//! ends are the same, so a collision costs a comparison and never a lock.

use std::{
    cmp::Ordering,
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
    iter,
    sync::Arc,
};

use foldhash::{SharedSeed, fast::FoldHasher};
use smallvec::SmallVec;

use crate::node_error::{NodeError, Wrong, check};

/// A place in a tree: a sequence of components. The root is the empty sequence.
///
/// Text is split at `/`; `/a/b`, `a/b` and `a//b/` are the same node, and `/` is the root. Any
/// component may hold any bytes (see [`Node::from_components`]) except `.` and `..`, which no lock
/// on names can decide. A node knows its ancestors and nothing of what is below it.
///
/// Cheap to clone (a reference count), to compare and to hash. [`Display`](fmt::Display) is
/// unambiguous: it starts with `/` and escapes, with a backslash, what could be taken for something
/// else.
///
/// # Examples
///
/// ```
/// use treelock::Node;
///
/// let node: Node = "photos/2025".parse()?;
/// assert_eq!(node, "/photos//2025/".parse()?);
/// assert_eq!(node.parent(), Some("photos".parse()?));
/// assert!(Node::root().contains(&node));
/// assert_eq!(node.to_string(), "/photos/2025");
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[derive(Clone)]
pub struct Node(Arc<[u8]>);

/// A prefix: its 64-bit hash, then the 32-bit end of its text.
pub(crate) type Record = [u8; 12];

/// Bytes before the records: their number.
pub(crate) const HEAD: usize = 4;

impl Node {
    /// Returns the root, of which every node is a descendant. A lock on it is a lock on everything.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Node;
    /// assert_eq!(Node::root(), "/".parse()?);
    /// assert_eq!(Node::root().depth(), 0);
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    pub fn root() -> Node {
        Node::assemble(&[], &[])
    }

    /// Returns the node with these components, which may hold any bytes, `/` included.
    ///
    /// No components at all give the root.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if a component is empty, `.` or `..`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Node;
    /// let node = Node::from_components(["tables", "orders/2025"])?;
    /// assert_eq!(node.depth(), 2);
    /// assert_eq!(node.to_string(), r"/tables/orders\/2025");
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn from_components<I>(components: I) -> Result<Node, NodeError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut text: SmallVec<[u8; 256]> = SmallVec::new();
        let mut ends: SmallVec<[u32; 16]> = SmallVec::new();
        for component in components {
            let component = component.as_ref();
            check(component).map_err(|wrong| NodeError::new(component, wrong))?;
            if !text.is_empty() {
                text.push(b'/');
            }
            text.extend_from_slice(component);
            let end = u32::try_from(text.len());
            ends.push(end.map_err(|_| NodeError::new(&text, Wrong::TooLong))?);
        }
        Ok(Node::assemble(&text, &ends))
    }

    /// Returns the node below this one that `component` names.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if the component is empty, `.` or `..`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Node;
    /// let photos: Node = "photos".parse()?;
    /// assert_eq!(photos.child("2025")?, "photos/2025".parse()?);
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn child(&self, component: impl AsRef<[u8]>) -> Result<Node, NodeError> {
        Node::from_components(self.components().chain([component.as_ref()]))
    }

    /// Returns the node above this one, or `None` for the root.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Node;
    /// assert_eq!(Node::root().parent(), None);
    /// ```
    #[must_use]
    pub fn parent(&self) -> Option<Node> {
        Some(self.prefix(self.depth().checked_sub(1)?))
    }

    /// Returns the proper ancestors, the parent first and the root last.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Node;
    /// let node: Node = "a/b".parse()?;
    /// let above: Vec<String> = node.ancestors().map(|node| node.to_string()).collect();
    /// assert_eq!(above, ["/a", "/"]);
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn ancestors(&self) -> impl Iterator<Item = Node> + '_ {
        (0..self.depth()).rev().map(|depth| self.prefix(depth))
    }

    /// Returns the components, from the top down.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Node;
    /// let node: Node = "a/b".parse()?;
    /// assert!(node.components().eq([b"a", b"b"]));
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        let (records, text) = self.parts();
        let mut start = 0;
        records.iter().map(move |record| {
            let component = &text[start..end(record)];
            start = end(record) + 1; // a slash stands between components
            component
        })
    }

    /// Returns how many components the node has; 0 for the root.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Node;
    /// assert_eq!("a/b/c".parse::<Node>()?.depth(), 3);
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn depth(&self) -> usize {
        let head = self.0.first_chunk::<HEAD>().expect("a node has a head");
        u32::from_ne_bytes(*head) as usize
    }

    /// Returns whether this is the root.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Node;
    /// assert!(Node::root().is_root());
    /// ```
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.depth() == 0
    }

    /// Returns whether `other` is this node or lies below it: whether a lock on this node covers it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Node;
    /// let photos: Node = "photos".parse()?;
    /// assert!(photos.contains(&"photos/2025".parse()?));
    /// assert!(!photos.contains(&"photos-old".parse()?));
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    pub fn contains(&self, other: &Node) -> bool {
        other.depth() >= self.depth() && self.shares(other, self.depth())
    }

    /// Whether both nodes, at least `depth` deep, have their first `depth` components in common.
    #[inline]
    pub(crate) fn shares(&self, other: &Node, depth: usize) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) || depth == 0 {
            return true;
        }
        if self.depth() == depth && other.depth() == depth {
            return self.0 == other.0;
        }
        let (records, text) = self.parts();
        let (other_records, other_text) = other.parts();
        let end = end(&records[depth - 1]);
        records[..depth] == other_records[..depth] && text[..end] == other_text[..end]
    }

    /// How many leading components both nodes have in common.
    pub(crate) fn shared_depth(&self, other: &Node) -> usize {
        self.components().zip(other.components()).take_while(|(a, b)| a == b).count()
    }

    /// The hash of the first `depth` components, of which there is at least one.
    #[inline]
    pub(crate) fn hash(&self, depth: usize) -> u64 {
        hash(&self.0[HEAD..].as_chunks().0[depth - 1])
    }

    /// The records of the prefixes, the shortest first, and the text.
    #[inline]
    fn parts(&self) -> (&[Record], &[u8]) {
        let (records, text) = self.0[HEAD..].split_at(self.depth() * size_of::<Record>());
        (records.as_chunks().0, text)
    }

    /// The first `depth` components as a node of its own.
    pub(crate) fn prefix(&self, depth: usize) -> Node {
        let (records, text) = self.parts();
        let end = depth.checked_sub(1).map_or(0, |last| end(&records[last]));
        Node::fill(depth, &text[..end], |own| own.copy_from_slice(&records[..depth]))
    }

    /// Bytes that the node takes.
    pub(crate) fn size(&self) -> usize {
        self.0.len()
    }

    /// Bytes that the first `depth` components would take as a node of their own.
    pub(crate) fn prefix_size(&self, depth: usize) -> usize {
        let end = depth.checked_sub(1).map_or(0, |last| end(&self.parts().0[last]));
        HEAD + depth * size_of::<Record>() + end
    }

    /// Takes bytes that are laid out as the head of this file says.
    #[inline(always)]
    pub(crate) fn from_layout(bytes: &[u8]) -> Node {
        Node(Arc::from(bytes))
    }

    /// The node of this depth and text, whose records `fill` writes.
    #[inline(always)]
    fn fill(depth: usize, text: &[u8], fill: impl FnOnce(&mut [Record])) -> Node {
        let size = HEAD + depth * size_of::<Record>() + text.len();
        let mut node: Arc<[u8]> = iter::repeat_n(0, size).collect();
        let bytes = Arc::get_mut(&mut node).expect("nobody else has it yet");
        let (head, rest) = bytes.split_at_mut(HEAD);
        let (records, own_text) = rest.split_at_mut(depth * size_of::<Record>());
        head.copy_from_slice(&(depth as u32).to_ne_bytes());
        own_text.copy_from_slice(text);
        fill(records.as_chunks_mut().0);
        Node(node)
    }

    /// The node with this text, whose components end at `ends`, with a slash between two.
    #[inline]
    fn assemble(text: &[u8], ends: &[u32]) -> Node {
        let seed = SharedSeed::global_random();
        Node::fill(ends.len(), text, |records| {
            let (mut hash, mut start) = (0, 0);
            for (record, end) in records.iter_mut().zip(ends) {
                hash = prefix_hash(hash, &text[start..*end as usize], seed);
                record[..8].copy_from_slice(&hash.to_ne_bytes());
                record[8..].copy_from_slice(&end.to_ne_bytes());
                start = *end as usize + 1;
            }
        })
    }
}

/// The hash of a prefix, from that of the prefix above and the last component.
#[inline(always)]
pub(crate) fn prefix_hash(above: u64, component: &[u8], seed: &'static SharedSeed) -> u64 {
    let mut hasher = FoldHasher::with_seed(above, seed);
    hasher.write(component);
    hasher.finish()
}

fn hash(record: &Record) -> u64 {
    u64::from_ne_bytes(*record.first_chunk().expect("8 of 12 bytes"))
}

fn end(record: &Record) -> usize {
    u32::from_ne_bytes(*record.last_chunk().expect("4 of 12 bytes")) as usize
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.depth() == other.depth() && self.shares(other, self.depth())
    }
}

impl Eq for Node {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let depth = self.depth();
        state.write_u64(if depth == 0 { 0 } else { self.hash(depth) });
    }
}

impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Node) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By components, so an ancestor comes before its descendants and a sub-tree is one run.
impl Ord for Node {
    fn cmp(&self, other: &Node) -> Ordering {
        self.components().cmp(other.components())
    }
}

/// `/photos/2025`. A backslash escapes what could be taken for something else: `\/` is a slash within
/// a component, `\\` a backslash, `\n` and the like control characters, `\xff` a byte that is not
/// UTF-8. So different nodes never print the same.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_char('/');
        }
        for component in self.components() {
            f.write_char('/')?;
            for chunk in component.utf8_chunks() {
                for char in chunk.valid().chars() {
                    match char {
                        '/' | '\\' => write!(f, "\\{char}")?,
                        char if char.is_control() => write!(f, "{}", char.escape_default())?,
                        char => f.write_char(char)?,
                    }
                }
                for byte in chunk.invalid() {
                    write!(f, "\\x{byte:02x}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({self})")
    }
}

/// As [`Display`](fmt::Display) prints it; it is deserialised from the same text.
#[cfg(feature = "serde")]
impl serde::Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
