//! Requests, and their expansion into claims.
//!
//! A request is a set of roots, each to read or to write. What the lock table works with are its
//! *claims*: one joined [`Mode`] per node, for every root and every ancestor of one. Roots below a
//! wider root of the same request claim nothing of their own.
//!
//! Claims are kept as *chains*, one per root: the run of nodes from the first one that no earlier
//! chain has, down to the root itself. The first chain begins at the tree's root, and a chain comes
//! after the one it hangs on.
//!
//! If a root has its ancestors given, the request is *flat*: each of its claims is a chain of its own,
//! since the names of the nodes do not say which is above which.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use smallvec::{SmallVec, smallvec};

use crate::{
    mode::Mode,
    node::{Node, NodeError, ToNode},
};

/// What a request does with a sub-tree.
///
/// # Examples
///
/// ```
/// use treelock::Access;
///
/// assert!(!Access::Read.conflicts(Access::Read));
/// assert_eq!(Access::Write.to_string(), "write");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Access {
    /// Shared: others may read too, nobody may write.
    Read,
    /// Exclusive: nobody else may read or write.
    Write,
}

impl Access {
    /// Returns whether two requests that want this and that of one node cannot both have it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Access;
    /// assert!(Access::Read.conflicts(Access::Write));
    /// ```
    #[must_use]
    pub const fn conflicts(self, other: Access) -> bool {
        matches!(self, Access::Write) || matches!(other, Access::Write)
    }

    pub(crate) const fn mode(self) -> Mode {
        match self {
            Access::Read => Mode::Shared,
            Access::Write => Mode::Exclusive,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Access::Read => "read",
            Access::Write => "write",
        })
    }
}

/// A set of roots to read or write: everything that one lock covers, asked for as a whole.
///
/// Built once, then immutable: use it again, and from many tasks at once, at no further cost. One
/// request never conflicts with itself, however its roots overlap. A request with no roots is legal
/// and is granted at once.
///
/// Two requests conflict iff some root of one is, or lies above or below, some root of the other, and
/// at least one of these two is a write.
///
/// # Examples
///
/// ```
/// use treelock::Request;
///
/// let copy = Request::new().read("templates")?.write("sites/blog")?.label("new-site");
/// assert_eq!(copy.to_string(), "read /templates, write /sites/blog");
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[derive(Clone, Default)]
pub struct Request(Roots);

/// The common request, one root and no label, needs no allocation of its own.
#[derive(Clone, Default)]
enum Roots {
    #[default]
    None,
    One(Node, Access),
    Many(Arc<Many>),
}

#[derive(Clone, Default)]
struct Many {
    roots: SmallVec<[(Access, Node); 2]>,
    /// The ancestors of the roots that have them given, by the number of the root.
    given: Vec<(usize, Arc<[Node]>)>,
    label: Option<Arc<str>>,
    claims: OnceLock<Expanded>,
}

impl Request {
    /// Returns a request with no roots.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// assert_eq!(Request::new().roots().count(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Request {
        Request::default()
    }

    /// Adds a sub-tree to read; returns the request with it.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if `root` names no node, as the empty string does.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// let request = Request::new().read("templates")?;
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[inline]
    pub fn read(self, root: impl ToNode) -> Result<Request, NodeError> {
        Ok(self.with(Access::Read, root.to_node()?))
    }

    /// Adds a sub-tree to write; returns the request with it.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if `root` names no node, as the empty string does.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// let rename = Request::new().write("photos/2024")?.write("archive/2024")?;
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[inline]
    pub fn write(self, root: impl ToNode) -> Result<Request, NodeError> {
        Ok(self.with(Access::Write, root.to_node()?))
    }

    /// Adds a root that is a node already, which cannot fail; returns the request with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Access, Node, Request};
    /// let everything = Request::new().with(Access::Write, Node::root());
    /// assert_eq!(everything.to_string(), "write /");
    /// ```
    #[must_use = "a request asks for nothing until a lock acquires it"]
    #[inline]
    pub fn with(self, access: Access, root: Node) -> Request {
        match self.0 {
            Roots::None => Request(Roots::One(root, access)),
            roots => Request(roots).edit(|many| many.roots.push((access, root))),
        }
    }

    /// Adds a root whose place in the tree is not in its name; returns the request with it.
    ///
    /// Above it lie `ancestors`, in any order, and nothing else: not the nodes that its name would put
    /// there, nor [`Node::root`] unless it is one of them. For trees whose nodes are named by a number or
    /// another key of their own, as inodes are. It is the caller's part that all requests agree on the
    /// tree; the lock takes each request's word for the ancestors of its own roots.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Access, Node, Request, TreeLock};
    ///
    /// // Inode 7 lies in 3, which lies in 2.
    /// let inode = |number: u64| Node::from_components([number.to_be_bytes()]);
    /// let (two, three, seven) = (inode(2)?, inode(3)?, inode(7)?);
    /// let file = Request::new().with_ancestors(Access::Write, seven, [two.clone(), three]);
    /// let folder = Request::new().with_ancestors(Access::Read, two, []);
    /// assert!(file.conflict(&folder).is_some());
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use = "a request asks for nothing until a lock acquires it"]
    pub fn with_ancestors(
        self,
        access: Access,
        root: Node,
        ancestors: impl IntoIterator<Item = Node>,
    ) -> Request {
        let ancestors = ancestors.into_iter().collect();
        self.edit(|many| {
            many.given.push((many.roots.len(), ancestors));
            many.roots.push((access, root));
        })
    }

    /// Names who asks, for [`Blocked`](crate::Blocked) and [`Snapshot`](crate::Snapshot); returns the
    /// request with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// let request = Request::new().write("photos")?.label("import-7");
    /// assert_eq!(request.get_label(), Some("import-7"));
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use = "a request asks for nothing until a lock acquires it"]
    pub fn label(self, label: impl Into<Arc<str>>) -> Request {
        let label = label.into();
        self.edit(|many| many.label = Some(label))
    }

    /// Returns the label, if one was given.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// assert_eq!(Request::new().get_label(), None);
    /// ```
    #[must_use]
    pub fn get_label(&self) -> Option<&str> {
        match &self.0 {
            Roots::Many(many) => many.label.as_deref(),
            _ => None,
        }
    }

    /// Returns the roots as they were given, each with its access.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Access, Request};
    /// let request = Request::new().read("a")?;
    /// let (access, node) = request.roots().next().unwrap();
    /// assert_eq!((access, node.to_string()), (Access::Read, "/a".into()));
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn roots(&self) -> impl Iterator<Item = (Access, &Node)> {
        let (one, many) = match &self.0 {
            Roots::None => (None, &[][..]),
            Roots::One(node, access) => (Some((*access, node)), &[][..]),
            Roots::Many(many) => (None, &many.roots[..]),
        };
        one.into_iter().chain(many.iter().map(|(access, node)| (*access, node)))
    }

    /// Returns, for each root in the order of [`roots`](Request::roots), the ancestors that were given with
    /// it by [`with_ancestors`](Request::with_ancestors); `None` where its name says them.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Access, Node, Request};
    /// let (a, b): (Node, Node) = ("a".parse()?, "b".parse()?);
    /// let request = Request::new().read("x")?.with_ancestors(Access::Write, b, [a.clone()]);
    /// assert!(request.given_ancestors().eq([None, Some(&[a][..])]));
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn given_ancestors(&self) -> impl Iterator<Item = Option<&[Node]>> {
        self.placed().map(|placed| placed.above)
    }

    /// Returns a root of `other` that conflicts with a root of this request, and that root of this
    /// one: why the two cannot both be held, or `None` if they can.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// let reader = Request::new().read("a")?;
    /// let writer = Request::new().write("a/b")?;
    /// assert!(reader.conflict(&writer).is_some());
    /// assert!(reader.conflict(&reader).is_none());
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    pub fn conflict<'a>(&'a self, other: &'a Request) -> Option<Conflict<'a>> {
        self.placed().find_map(|own| {
            let its = other.placed().find(|its| own.conflicts(its))?;
            Some(Conflict { own: (own.access, own.node), other: (its.access, its.node) })
        })
    }

    /// The roots with what is above them.
    pub(crate) fn placed(&self) -> impl Iterator<Item = Placed<'_>> {
        let mut given = match &self.0 {
            Roots::Many(many) => &many.given[..],
            _ => &[],
        };
        self.roots().enumerate().map(move |(number, (access, node))| {
            let above = given.split_first().filter(|((root, _), _)| *root == number);
            let above = above.map(|((_, above), rest)| {
                given = rest;
                &above[..]
            });
            Placed { access, node, above }
        })
    }

    /// A root of `other` that conflicts with one of this request, given a node where their claims do.
    pub(crate) fn conflicting_at<'a>(&self, other: &'a Request, at: &Node) -> Option<Placed<'a>> {
        let strongest = |roots: &mut dyn Iterator<Item = Placed<'_>>| roots.map(|r| r.access).max();
        let own_here = strongest(&mut self.placed().filter(|root| root.node == at));
        let own_below = strongest(&mut self.placed().filter(|root| root.is_within(at)));
        let conflicts = |own: Option<Access>, its| own.is_some_and(|own| own.conflicts(its));
        other.placed().filter(|its| its.is_within(at)).find(|its| {
            conflicts(own_here, its.access) || its.node == at && conflicts(own_below, its.access)
        })
    }

    /// Expand the roots now, so that it is not done under the mutex.
    #[inline]
    pub(crate) fn prepare(&self) {
        if let Roots::Many(many) = &self.0 {
            many.expanded();
        }
    }

    pub(crate) fn claims(&self) -> Claims<'_> {
        match &self.0 {
            Roots::None => Claims::None,
            Roots::One(node, access) => Claims::One(node, access.mode()),
            Roots::Many(many) => Claims::Many(many.expanded()),
        }
    }

    fn edit(self, change: impl FnOnce(&mut Many)) -> Request {
        let mut many = match self.0 {
            Roots::None => Arc::default(),
            Roots::One(node, access) => {
                Arc::new(Many { roots: smallvec![(access, node)], ..Many::default() })
            }
            Roots::Many(many) => many,
        };
        let edited = Arc::make_mut(&mut many);
        change(edited);
        edited.claims = OnceLock::new();
        Request(Roots::Many(many))
    }
}

impl Many {
    fn expanded(&self) -> &Expanded {
        self.claims.get_or_init(|| match self.given.is_empty() {
            true => expand(&self.roots),
            false => expand_flat(&self.roots, &self.given),
        })
    }
}

/// A root with its place in the tree.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub(crate) access: Access,
    pub(crate) node: &'a Node,
    /// The ancestors, if they are not those that the name of the node says.
    above: Option<&'a [Node]>,
}

impl<'a> Placed<'a> {
    pub(crate) fn by_name((access, node): (Access, &'a Node)) -> Placed<'a> {
        Placed { access, node, above: None }
    }

    /// Whether it is this node or lies below it.
    pub(crate) fn is_within(&self, node: &Node) -> bool {
        match self.above {
            None => node.contains(self.node),
            Some(above) => self.node == node || above.contains(node),
        }
    }

    pub(crate) fn conflicts(&self, other: &Placed<'_>) -> bool {
        let meet = self.is_within(other.node) || other.is_within(self.node);
        meet && self.access.conflicts(other.access)
    }
}

/// Two roots of two requests that cannot both be held. See [`Request::conflict`].
///
/// # Examples
///
/// ```
/// use treelock::{Access, Request};
///
/// let (reader, writer) = (Request::new().read("a")?, Request::new().write("a/b")?);
/// let conflict = reader.conflict(&writer).unwrap();
/// assert_eq!(conflict.own, (Access::Read, &"a".parse()?));
/// assert_eq!(conflict.other, (Access::Write, &"a/b".parse()?));
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict<'a> {
    /// The root of the request that was asked.
    pub own: (Access, &'a Node),
    /// The root of the other request.
    pub other: (Access, &'a Node),
}

/// The roots, in the order in which they were given: `read /a, write /b`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (access, node)) in self.roots().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{access} {node}")?;
        }
        if self.roots().next().is_none() {
            f.write_str("nothing")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({self}")?;
        if let Some(label) = self.get_label() {
            write!(f, "; {label:?}")?;
        }
        f.write_str(")")
    }
}

/// Any number of roots at once.
///
/// ```
/// # use treelock::{Access, Node, Request};
/// let days: Request = ["mon", "tue"]
///     .iter()
///     .map(|day| Ok((Access::Write, day.parse::<Node>()?)))
///     .collect::<Result<_, treelock::NodeError>>()?;
/// assert_eq!(days.to_string(), "write /mon, write /tue");
/// # Ok::<(), treelock::NodeError>(())
/// ```
impl FromIterator<(Access, Node)> for Request {
    fn from_iter<I: IntoIterator<Item = (Access, Node)>>(roots: I) -> Request {
        roots.into_iter().fold(Request::new(), |request, (access, node)| request.with(access, node))
    }
}

/// The claims of a request, numbered from 0 on, chain by chain.
#[derive(Clone, Copy)]
pub(crate) enum Claims<'a> {
    None,
    One(&'a Node, Mode),
    Many(&'a Expanded),
}

/// The claims that one root adds: at its prefixes from some depth on.
#[derive(Clone, Copy)]
pub(crate) struct Chain<'a> {
    pub(crate) node: &'a Node,
    /// The depth of the chain's first claim; the last one's is the depth of the node.
    depth: usize,
    /// The number of the chain's first claim.
    first: usize,
    modes: Modes<'a>,
}

#[derive(Clone, Copy)]
enum Modes<'a> {
    /// One root alone: its own mode, and the intention on all above.
    Alone(Mode),
    /// Of all claims of the request.
    Joined(&'a [Mode]),
}

impl<'a> Chain<'a> {
    /// The only chain of a request.
    #[inline(always)]
    pub(crate) fn alone(node: &'a Node, mode: Mode) -> Chain<'a> {
        Chain { node, depth: 0, first: 0, modes: Modes::Alone(mode) }
    }

    /// The chain's claims from the deepest up: their numbers and modes.
    #[inline(always)]
    pub(crate) fn upwards(self) -> impl Iterator<Item = (usize, Mode)> + use<'a> {
        let end = self.first + self.node.depth() + 1 - self.depth;
        (self.first..end).rev().map(move |claim| {
            let mode = match self.modes {
                Modes::Alone(mode) if claim + 1 == end => mode,
                Modes::Alone(mode) => mode.intention(),
                Modes::Joined(modes) => modes[claim],
            };
            (claim, mode)
        })
    }
}

impl<'a> Claims<'a> {
    pub(crate) fn len(self) -> usize {
        match self {
            Claims::None => 0,
            Claims::One(node, _) => node.depth() + 1,
            Claims::Many(expanded) => expanded.modes.len(),
        }
    }

    pub(crate) fn mode(self, claim: usize) -> Mode {
        match self {
            Claims::None => unreachable!("no roots, no claims"),
            Claims::One(node, mode) if claim == node.depth() => mode,
            Claims::One(_, mode) => mode.intention(),
            Claims::Many(expanded) => expanded.modes[claim],
        }
    }

    /// The root of a chain, by its number; if the request is not flat.
    pub(crate) fn root(self, chain: usize) -> (Access, &'a Node) {
        let (mode, node) = self.leaf(chain);
        (if mode == Mode::Exclusive { Access::Write } else { Access::Read }, node)
    }

    /// The mode and the node of the last claim of a chain, by its number.
    pub(crate) fn leaf(self, chain: usize) -> (Mode, &'a Node) {
        match self {
            Claims::None => unreachable!("no roots, no chains"),
            Claims::One(node, mode) => (mode, node),
            Claims::Many(expanded) => {
                let Link { node, depth, first } = &expanded.chains[chain];
                (expanded.modes[first + node.depth() - depth], node)
            }
        }
    }

    /// Whether each claim is a chain of its own.
    pub(crate) fn is_flat(self) -> bool {
        matches!(self, Claims::Many(Expanded { is_flat: true, .. }))
    }

    /// The chains, each after the one it hangs on.
    pub(crate) fn chains(self) -> impl Iterator<Item = Chain<'a>> + use<'a> {
        let (one, many) = match self {
            Claims::None => (None, None),
            Claims::One(node, mode) => (Some(Chain::alone(node, mode)), None),
            Claims::Many(expanded) => (None, Some(expanded)),
        };
        one.into_iter().chain(many.into_iter().flat_map(Expanded::chains))
    }
}

/// The claims of a request with several roots.
#[derive(Clone)]
pub(crate) struct Expanded {
    modes: SmallVec<[Mode; 24]>,
    chains: SmallVec<[Link; 2]>,
    is_flat: bool,
}

impl Expanded {
    /// The chains, each after the one it hangs on.
    pub(crate) fn chains(&self) -> impl DoubleEndedIterator<Item = Chain<'_>> + ExactSizeIterator {
        let modes = Modes::Joined(&self.modes);
        self.chains.iter().map(move |Link { node, depth, first }| Chain {
            node,
            depth: *depth,
            first: *first,
            modes,
        })
    }
}

/// A [`Chain`] that owns its node.
#[derive(Clone)]
struct Link {
    node: Node,
    depth: usize,
    first: usize,
}

/// Expand roots into claims, joined per node.
fn expand(roots: &[(Access, Node)]) -> Expanded {
    let mut modes: SmallVec<[Mode; 24]> = SmallVec::new();
    let mut chains: SmallVec<[Link; 2]> = SmallVec::new();
    // The claims from the tree's root to the last root.
    let mut path: SmallVec<[usize; 16]> = SmallVec::new();
    for (access, node) in widest(roots) {
        let intention = access.mode().intention();
        path.truncate(chains.last().map_or(0, |last| last.node.shared_depth(node) + 1));
        for claim in &path {
            modes[*claim] = modes[*claim].join(intention);
        }
        chains.push(Link { node: node.clone(), depth: path.len(), first: modes.len() });
        while path.len() <= node.depth() {
            path.push(modes.len());
            modes.push(intention);
        }
        let own = path[node.depth()];
        modes[own] = modes[own].join(access.mode());
    }
    Expanded { modes, chains, is_flat: false }
}

/// Expand roots of which some have their ancestors given.
fn expand_flat(roots: &[(Access, Node)], given: &[(usize, Arc<[Node]>)]) -> Expanded {
    let mut claims: Vec<(Node, Mode)> = Vec::new();
    let mut given = given.iter().peekable();
    for (number, (access, node)) in roots.iter().enumerate() {
        let intention = access.mode().intention();
        claims.push((node.clone(), access.mode()));
        match given.next_if(|(root, _)| *root == number) {
            Some((_, above)) => claims.extend(above.iter().map(|node| (node.clone(), intention))),
            None => claims.extend(node.ancestors().map(|node| (node, intention))),
        }
    }
    claims.sort_by(|(a, _), (b, _)| a.cmp(b));
    claims.dedup_by(|(node, mode), (kept, joined)| {
        let same = node == kept;
        if same {
            *joined = joined.join(*mode);
        }
        same
    });
    let link = |(first, (node, _)): (usize, &(Node, Mode))| Link {
        node: node.clone(),
        depth: node.depth(),
        first,
    };
    let chains = claims.iter().enumerate().map(link).collect();
    Expanded { modes: claims.iter().map(|(_, mode)| *mode).collect(), chains, is_flat: true }
}

/// The roots that no other root covers, sorted, each node once.
fn widest(roots: &[(Access, Node)]) -> SmallVec<[(Access, &Node); 4]> {
    let mut sorted: SmallVec<[(Access, &Node); 4]> =
        roots.iter().map(|(access, node)| (*access, node)).collect();
    // An ancestor comes first, and of equal nodes the write: what covers comes before the covered.
    sorted.sort_by(|(a, a_node), (b, b_node)| a_node.cmp(b_node).then(b.cmp(a)));
    let mut above: SmallVec<[(Access, &Node); 4]> = SmallVec::new();
    sorted.retain(|&mut (access, node)| {
        while above.last().is_some_and(|(_, top)| !top.contains(node)) {
            above.pop();
        }
        let covered = above.iter().any(|(wider, _)| *wider >= access);
        if !covered {
            above.push((access, node));
        }
        !covered
    });
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(roots: &[(Access, &str)]) -> Vec<(String, Mode)> {
        let roots: Vec<_> = roots.iter().map(|(a, text)| (*a, text.parse().unwrap())).collect();
        let request: Request = roots.into_iter().collect();
        let claims = request.claims();
        let mut named = vec![None; claims.len()];
        for chain in claims.chains() {
            let mut depth = chain.node.depth();
            for (claim, mode) in chain.upwards() {
                let known = named[claim].replace((chain.node.prefix(depth).to_string(), mode));
                assert_eq!(known, None, "claim {claim} stands in two chains");
                depth = depth.saturating_sub(1);
            }
        }
        named.into_iter().map(|named| named.expect("every claim stands in a chain")).collect()
    }

    fn expect(roots: &[(Access, &str)], expected: &[(&str, Mode)]) {
        let expected: Vec<_> = expected.iter().map(|(n, m)| (n.to_string(), *m)).collect();
        assert_eq!(claims(roots), expected);
    }

    use Access::{Read, Write};
    use Mode::{
        Exclusive as X, IntentionExclusive as IX, IntentionShared as IS, Shared as S,
        SharedIntentionExclusive as SIX,
    };

    #[test]
    fn one_root() {
        expect(&[], &[]);
        expect(&[(Write, "/")], &[("/", X)]);
        expect(&[(Read, "a/b")], &[("/", IS), ("/a", IS), ("/a/b", S)]);
    }

    #[test]
    fn a_read_with_a_write_below_is_six() {
        let expected = [("/", IX), ("/a", SIX), ("/a/b", X)];
        expect(&[(Read, "a"), (Write, "a/b")], &expected);
        expect(&[(Write, "a/b"), (Read, "a")], &expected);
    }

    #[test]
    fn covered_roots_claim_nothing() {
        expect(
            &[(Write, "a"), (Read, "a"), (Write, "a/b"), (Read, "a/b/c")],
            &[("/", IX), ("/a", X)],
        );
        expect(&[(Read, "a/b"), (Read, "a"), (Read, "a")], &[("/", IS), ("/a", S)]);
    }

    #[test]
    fn chains_hang_on_what_they_share() {
        expect(
            &[(Write, "a/b/c"), (Read, "a/b/d"), (Read, "e"), (Read, "a-b")],
            &[
                ("/", IX),
                ("/a", IX),
                ("/a/b", IX),
                ("/a/b/c", X),
                ("/a/b/d", S),
                ("/a-b", S),
                ("/e", S),
            ],
        );
    }

    #[test]
    fn the_root_with_others() {
        expect(&[(Read, "/"), (Write, "a")], &[("/", SIX), ("/a", X)]);
    }
}
