//! Nodes: places in a tree, named by the components that lead to them from the root.
//!
//! A node is one pointer to one shared allocation, since guards, requests and the nodes in memory
//! each have one. Cloning it increments a counter, and using a request again
//! costs nothing more. It holds the number of its prefixes, one record for each (the hash of the
//! prefix and where its text ends), then the text:
//!
//! ```text
//! 2 │ hash("photos") 6 │ hash("photos","2025") 11 │ photos/2025
//! ```
//!
//! The hash of a prefix is seeded with the hash of the prefix before it, so parsing a path hashes
//! every byte once. Hashes only say where to look: two nodes are equal iff their texts and ends are
//! equal. A collision costs one comparison and never affects a lock.

use std::{
    cmp::Ordering,
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
};

use foldhash::{SharedSeed, fast::FoldHasher};
use smallvec::{SmallVec, smallvec};
use triomphe::ThinArc;

use crate::node_error::{NodeError, Wrong, check};

/// A place in a tree: a sequence of components. The root is the empty sequence.
///
/// Text is split at `/`; `/a/b`, `a/b` and `a//b/` are the same node, and `/` is the root. A
/// component may contain any bytes (see [`Node::from_components`]) but may not be `.` or `..`,
/// which cannot be resolved by name alone. A node knows its ancestors but not its descendants.
///
/// A node is cheap to clone (a reference count), to compare and to hash. [`Display`](fmt::Display)
/// is unambiguous: it starts with `/` and escapes ambiguous characters with a backslash.
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
pub struct Node(ThinArc<(), u8>);

/// A prefix: its 64-bit hash, then the 32-bit end of its text.
pub(crate) type Record = [u8; 12];

/// The size of the head, in bytes: the number of records, which comes before them.
pub(crate) const HEAD: usize = 4;

impl Node {
    /// Returns the root, the ancestor of every other node. A lock on it locks everything.
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

    /// Returns the node with these components, which may contain any bytes, including `/`.
    ///
    /// An empty sequence gives the root.
    ///
    /// # Errors
    ///
    /// Returns [`NodeError`] if a component is empty, `.` or `..`.
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

    /// Returns the child of this node that `component` names.
    ///
    /// # Errors
    ///
    /// Returns [`NodeError`] if the component is empty, `.` or `..`.
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
            start = end(record) + 1; // a slash separates components
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
        let head = self.bytes().first_chunk::<HEAD>().expect("a node has a head");
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

    /// Returns whether `other` is this node or lies below it, so that a lock on this node covers
    /// it.
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

    /// Returns whether both nodes, which are at least `depth` deep, have their first `depth`
    /// components in common.
    #[inline]
    pub(crate) fn shares(&self, other: &Node, depth: usize) -> bool {
        if std::ptr::eq(self.bytes(), other.bytes()) || depth == 0 {
            return true;
        }
        if self.depth() == depth && other.depth() == depth {
            return self.bytes() == other.bytes();
        }
        let (records, text) = self.parts();
        let (other_records, other_text) = other.parts();
        let end = end(&records[depth - 1]);
        records[..depth] == other_records[..depth] && text[..end] == other_text[..end]
    }

    /// Returns how many leading components the two nodes have in common.
    pub(crate) fn shared_depth(&self, other: &Node) -> usize {
        self.components().zip(other.components()).take_while(|(a, b)| a == b).count()
    }

    /// Returns the hash of the first `depth` components; `depth` must be at least one.
    #[inline]
    pub(crate) fn hash(&self, depth: usize) -> u64 {
        hash(&self.bytes()[HEAD..].as_chunks().0[depth - 1])
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// Returns the records of the prefixes, the shortest first, and the text.
    #[inline]
    fn parts(&self) -> (&[Record], &[u8]) {
        let (records, text) = self.bytes()[HEAD..].split_at(self.depth() * size_of::<Record>());
        (records.as_chunks().0, text)
    }

    /// Returns the first `depth` components as a separate node.
    pub(crate) fn prefix(&self, depth: usize) -> Node {
        let (records, text) = self.parts();
        let end = depth.checked_sub(1).map_or(0, |last| end(&records[last]));
        Node::fill(depth, &text[..end], |own| own.copy_from_slice(&records[..depth]))
    }

    /// Returns how many bytes the node takes.
    pub(crate) fn size(&self) -> usize {
        self.bytes().len()
    }

    /// Returns how many bytes the first `depth` components would take as a separate node.
    pub(crate) fn prefix_size(&self, depth: usize) -> usize {
        let end = depth.checked_sub(1).map_or(0, |last| end(&self.parts().0[last]));
        HEAD + depth * size_of::<Record>() + end
    }

    /// Copies bytes that are laid out as described at the head of this file.
    #[inline(always)]
    pub(crate) fn from_layout(bytes: &[u8]) -> Node {
        Node(ThinArc::from_header_and_slice((), bytes))
    }

    /// Returns a node of this depth with this text, whose records are written by `fill`.
    #[inline(always)]
    fn fill(depth: usize, text: &[u8], fill: impl FnOnce(&mut [Record])) -> Node {
        let size = HEAD + depth * size_of::<Record>() + text.len();
        let mut bytes: SmallVec<[u8; 512]> = smallvec![0; size];
        let (head, rest) = bytes.split_at_mut(HEAD);
        let (records, own_text) = rest.split_at_mut(depth * size_of::<Record>());
        head.copy_from_slice(&(depth as u32).to_ne_bytes());
        own_text.copy_from_slice(text);
        fill(records.as_chunks_mut().0);
        Node::from_layout(&bytes)
    }

    /// Returns the node with this text, whose components end at `ends` and are separated by
    /// slashes.
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

/// Returns the hash of a prefix, from the hash of the prefix above it and the last component.
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

/// Orders by components, so an ancestor comes before its descendants and a sub-tree is contiguous.
impl Ord for Node {
    fn cmp(&self, other: &Node) -> Ordering {
        self.components().cmp(other.components())
    }
}

/// Prints like `/photos/2025`. A backslash escapes whatever would be ambiguous: `\/` is a slash
/// within a component, `\\` a backslash, `\n` and so on are control characters, and `\xff` is a
/// byte that is not UTF-8. So different nodes never print the same text.
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

/// Serialises as [`Display`](fmt::Display) prints it, and is deserialised from the same text.
#[cfg(feature = "serde")]
impl serde::Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
