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
    borrow::Borrow,
    cmp::Ordering,
    error::Error,
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
    iter,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use foldhash::{SharedSeed, fast::FoldHasher};
use smallvec::SmallVec;

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
type Record = [u8; 12];

/// Bytes before the records: their number.
const HEAD: usize = 4;

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

    fn parse(text: &[u8]) -> Result<Node, NodeError> {
        let name = trim_slashes(text);
        // A small draft is cheaper to begin.
        let short = if name.len() <= 64 { Node::parse_plain::<192>(name) } else { None };
        match short {
            Some(node) => Ok(node),
            None => Node::parse_any(name, text),
        }
    }

    /// Parse a name that needs no second look: it is good, fits a draft, and has no two slashes on end,
    /// so that its text is the node's.
    #[inline]
    fn parse_plain<const SIZE: usize>(name: &[u8]) -> Option<Node> {
        let mut draft = Draft::<SIZE>::new();
        let (mut at, mut start) = (0, 0);
        while at < name.len() {
            let mut slashes = slashes(word_at(name, at));
            while slashes != 0 {
                let end = at + slashes.trailing_zeros() as usize / 8;
                slashes &= slashes - 1;
                draft.push(&name[start..end], end)?;
                start = end + 1;
            }
            at += size_of::<u64>();
        }
        draft.push(&name[start..], name.len())?;
        draft.finish(name)
    }

    #[cold]
    fn parse_any(name: &[u8], text: &[u8]) -> Result<Node, NodeError> {
        if text.is_empty() {
            return Err(NodeError::new(text, Wrong::Empty));
        }
        if let Some(node) = Node::parse_plain::<2048>(name) {
            return Ok(node);
        }
        let components = name.split(|byte| *byte == b'/').filter(|component| !component.is_empty());
        Node::from_components(components).map_err(|error| NodeError::new(text, error.wrong))
    }
}

/// A node while it is being put together, on the stack: most fit.
struct Draft<const SIZE: usize> {
    bytes: [u8; SIZE],
    /// How many of the bytes are written.
    length: usize,
    hash: u64,
    seed: &'static SharedSeed,
}

impl<const SIZE: usize> Draft<SIZE> {
    #[inline(always)]
    fn new() -> Draft<SIZE> {
        let seed = SharedSeed::global_random();
        Draft { bytes: [0; SIZE], length: HEAD, hash: 0, seed }
    }

    /// Add a component whose text ends at `end`, if it is good and fits.
    #[inline(always)]
    fn push(&mut self, component: &[u8], end: usize) -> Option<()> {
        check(component).ok()?;
        let next = self.length + size_of::<Record>();
        let record = self.bytes.get_mut(self.length..next)?;
        self.hash = prefix_hash(self.hash, component, self.seed);
        record[..8].copy_from_slice(&self.hash.to_ne_bytes());
        record[8..].copy_from_slice(&(end as u32).to_ne_bytes());
        self.length = next;
        Some(())
    }

    /// The node with this text, if it fits.
    #[inline(always)]
    fn finish(&mut self, text: &[u8]) -> Option<Node> {
        let depth = (self.length - HEAD) / size_of::<Record>();
        let end = self.length + text.len();
        self.bytes[..HEAD].copy_from_slice(&(depth as u32).to_ne_bytes());
        self.bytes.get_mut(self.length..end)?.copy_from_slice(text);
        Some(Node(Arc::from(&self.bytes[..end])))
    }
}

#[inline]
fn trim_slashes(mut text: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b'/'] = text {
        text = rest;
    }
    text
}

/// Eight bytes of a text, with zeros behind its end.
#[inline]
fn word_at(text: &[u8], at: usize) -> u64 {
    let rest = &text[at..];
    match (rest.first_chunk(), text.last_chunk()) {
        (Some(word), _) => u64::from_le_bytes(*word),
        (None, Some(last)) => u64::from_le_bytes(*last) >> (u64::BITS as usize - 8 * rest.len()),
        (None, None) => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Which of eight bytes are slashes: the highest bit of each that is one. Finds zero bytes by
/// arithmetic, as Warren's "Hacker's Delight" (section 6-1) does, in a word where slashes are zero.
#[inline]
fn slashes(word: u64) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let word = word ^ u64::from_ne_bytes([b'/'; 8]);
    !(((word & LOW) + LOW) | word | LOW)
}

/// Whether these bytes can be a component.
#[inline]
fn check(component: &[u8]) -> Result<(), Wrong> {
    match component {
        [] => Err(Wrong::EmptyComponent),
        [b'.'] | [b'.', b'.'] => Err(Wrong::Dots),
        _ => Ok(()),
    }
}

/// The hash of a prefix, from that of the prefix above and the last component.
#[inline(always)]
fn prefix_hash(above: u64, component: &[u8], seed: &'static SharedSeed) -> u64 {
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

/// As [`Display`](fmt::Display) prints it.
#[cfg(feature = "serde")]
impl serde::Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Node {
    type Err = NodeError;

    fn from_str(text: &str) -> Result<Node, NodeError> {
        Node::parse(text.as_bytes())
    }
}

/// Anything that names a node. Implement it for your own key type, and requests take it as it is.
///
/// Text and paths split at `/`, with the rules of [`Node`]. A [`Path`] is taken as a name too: it is
/// not made absolute and no link is followed, since that answer may change; what cannot be decided
/// (`..`, a drive prefix, text that is not Unicode on Windows) is refused.
///
/// # Examples
///
/// ```
/// use treelock::{Node, NodeError, Request, ToNode};
///
/// struct Table { schema: String, name: String }
///
/// impl ToNode for Table {
///     fn to_node(&self) -> Result<Node, NodeError> {
///         Node::from_components([&self.schema, &self.name])
///     }
/// }
///
/// let orders = Table { schema: "shop".into(), name: "orders".into() };
/// let request = Request::new().write(&orders)?;
/// assert_eq!(request.to_string(), "write /shop/orders");
/// # Ok::<(), NodeError>(())
/// ```
pub trait ToNode {
    /// Returns the node that this value names.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if it names none.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::ToNode;
    ///
    /// assert_eq!("a/b".to_node()?, std::path::Path::new("/a/b/").to_node()?);
    /// assert!("".to_node().is_err());
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    fn to_node(&self) -> Result<Node, NodeError>;
}

impl<T: ToNode + ?Sized> ToNode for &T {
    fn to_node(&self) -> Result<Node, NodeError> {
        (**self).to_node()
    }
}

impl ToNode for Node {
    fn to_node(&self) -> Result<Node, NodeError> {
        Ok(self.clone())
    }
}

impl ToNode for str {
    #[inline]
    fn to_node(&self) -> Result<Node, NodeError> {
        Node::parse(self.as_bytes())
    }
}

impl ToNode for String {
    fn to_node(&self) -> Result<Node, NodeError> {
        self.as_str().to_node()
    }
}

impl ToNode for Path {
    #[cfg(unix)]
    fn to_node(&self) -> Result<Node, NodeError> {
        use std::os::unix::ffi::OsStrExt;
        Node::parse(self.as_os_str().as_bytes())
    }

    #[cfg(not(unix))]
    fn to_node(&self) -> Result<Node, NodeError> {
        use std::path::{Component, is_separator};
        let refuse = |wrong| NodeError::new(self.to_string_lossy().as_bytes(), wrong);
        if let Some(Component::Prefix(_)) = self.components().next() {
            return Err(refuse(Wrong::Prefix));
        }
        let text = self.to_str().ok_or_else(|| refuse(Wrong::NotUnicode))?;
        if text.is_empty() {
            return Err(refuse(Wrong::Empty));
        }
        Node::from_components(text.split(is_separator).filter(|component| !component.is_empty()))
            .map_err(|error| refuse(error.wrong))
    }
}

impl ToNode for PathBuf {
    fn to_node(&self) -> Result<Node, NodeError> {
        self.as_path().to_node()
    }
}

/// The empty path is refused, as the empty string is: a write on it would be a write on the whole
/// store. Say [`Node::root`] for that.
#[cfg(feature = "object-store")]
impl ToNode for object_store::path::Path {
    fn to_node(&self) -> Result<Node, NodeError> {
        self.as_ref().to_node()
    }
}

macro_rules! try_from {
    ($($type:ty),*) => {$(
        impl TryFrom<$type> for Node {
            type Error = NodeError;

            fn try_from(name: $type) -> Result<Node, NodeError> {
                name.to_node()
            }
        }
    )*};
}

try_from!(&str, &String, String, &Path, &PathBuf, PathBuf);

/// A text that names no node: which text, what is wrong with it, what to do.
///
/// # Examples
///
/// ```
/// let error = "a/../b".parse::<treelock::Node>().unwrap_err();
/// assert_eq!(error.text(), "a/../b");
/// assert_eq!(
///     error.to_string(),
///     r#""a/../b" names no node: it has a component "." or "..", which a name cannot decide; resolve it first"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeError {
    text: Box<[u8]>,
    wrong: Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Empty,
    EmptyComponent,
    Dots,
    TooLong,
    #[cfg(not(unix))]
    Prefix,
    #[cfg(not(unix))]
    NotUnicode,
}

impl NodeError {
    #[cold]
    fn new(text: &[u8], wrong: Wrong) -> NodeError {
        // A refused text of gigabytes need not be kept whole to be recognised.
        NodeError { text: text[..text.len().min(4096)].into(), wrong }
    }

    /// Returns the text that was refused, with `U+FFFD` for what is not UTF-8; at most its first
    /// 4,096 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!("".parse::<treelock::Node>().unwrap_err().text(), "");
    /// ```
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.text.borrow())
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, todo) = match self.wrong {
            Wrong::Empty => ("it is empty (an unset variable?)", "write \"/\" for the whole tree"),
            Wrong::EmptyComponent => ("a component is empty", "leave it out"),
            Wrong::Dots => (
                "it has a component \".\" or \"..\", which a name cannot decide",
                "resolve it first",
            ),
            Wrong::TooLong => ("it is longer than 4 GiB", "use a shorter name"),
            #[cfg(not(unix))]
            Wrong::Prefix => ("it has a drive or share prefix", "give the path below it"),
            #[cfg(not(unix))]
            Wrong::NotUnicode => ("it is not Unicode", "use Node::from_components"),
        };
        write!(f, "{:?} names no node: {what}; {todo}", self.text())
    }
}

impl Error for NodeError {}
