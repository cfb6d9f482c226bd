//! What one lock covers, requested as a whole: a [`Request`].

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use smallvec::{SmallVec, smallvec};

use crate::{
    access::Access,
    claims::{Claims, Expanded, expand, expand_flat},
    name::ToNode,
    node::Node,
    node_error::NodeError,
    root::Placed,
    root_index::RootIndex,
};

/// Two requests with more pairs of roots than this are compared by sorting one of them.
const COMPARED_PAIRS_MAX: usize = 256;

/// A set of roots to read or write: everything that one lock covers, requested as a whole.
///
/// A request is immutable once built. Use it again, and from many tasks at once, at no further
/// cost. A request never conflicts with itself, however its roots overlap. A request with no roots
/// is valid and is granted at once.
///
/// Two requests conflict iff some root of one equals, contains or lies within some root of the
/// other, and at least one of these two is a write.
///
/// # Examples
///
/// ```
/// use treelock::Request;
///
/// let copy = Request::new().read("templates")?.write("sites/blog")?.with_label("new-site");
/// assert_eq!(copy.to_string(), "read /templates, write /sites/blog");
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[derive(Clone, Default)]
pub struct Request(Roots);

/// The common request, with one root and no label, needs no allocation of its own.
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
    /// The given ancestors, each with the number of its root.
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

    /// Adds a sub-tree to read, and returns the extended request.
    ///
    /// # Errors
    ///
    /// Returns [`NodeError`] if `root` does not name a node; the empty string does not.
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

    /// Adds a sub-tree to write, and returns the extended request.
    ///
    /// # Errors
    ///
    /// Returns [`NodeError`] if `root` does not name a node; the empty string does not.
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

    /// Adds several sub-trees to read, and returns the extended request.
    ///
    /// # Errors
    ///
    /// Returns [`NodeError`] for the first root that does not name a node; the empty string does
    /// not.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// let request = Request::new().reads(["templates", "themes"])?;
    /// assert_eq!(request.to_string(), "read /templates, read /themes");
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn reads<R: ToNode>(
        self,
        roots: impl IntoIterator<Item = R>,
    ) -> Result<Request, NodeError> {
        roots.into_iter().try_fold(self, |request, root| request.read(root))
    }

    /// Adds several sub-trees to write, and returns the extended request.
    ///
    /// # Errors
    ///
    /// Returns [`NodeError`] for the first root that does not name a node; the empty string does
    /// not.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// let rename = Request::new().writes(["photos/2024", "archive/2024"])?;
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn writes<R: ToNode>(
        self,
        roots: impl IntoIterator<Item = R>,
    ) -> Result<Request, NodeError> {
        roots.into_iter().try_fold(self, |request, root| request.write(root))
    }

    /// Adds a root that is already a node, which cannot fail, and returns the extended request.
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

    /// Adds a root whose name does not say where it is in the tree, and returns the extended
    /// request.
    ///
    /// Its ancestors are exactly `ancestors`, in any order. The ancestors that its name would imply
    /// do not count, and neither does [`Node::root`] unless it is listed. This is for trees whose
    /// nodes are named by a number or some other key, such as inodes. The caller must ensure that
    /// all requests agree on the tree; the lock trusts each request about the ancestors of its own
    /// roots.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Access, Node, Request, TreeLock};
    ///
    /// // Inode 7 is in 3, which is in 2.
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

    /// Sets the label, which identifies the request in [`Blocked`](crate::Blocked) and
    /// [`Snapshot`](crate::Snapshot), and returns the labelled request.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// let request = Request::new().write("photos")?.with_label("import-7");
    /// assert_eq!(request.label(), Some("import-7"));
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use = "a request asks for nothing until a lock acquires it"]
    pub fn with_label(self, label: impl Into<Arc<str>>) -> Request {
        let label = label.into();
        self.edit(|many| many.label = Some(label))
    }

    /// Returns the label, if one was given.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// assert_eq!(Request::new().label(), None);
    /// ```
    #[must_use]
    pub fn label(&self) -> Option<&str> {
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
    pub fn roots(&self) -> impl Iterator<Item = (Access, &Node)> + Clone {
        let (one, many) = match &self.0 {
            Roots::None => (None, &[][..]),
            Roots::One(node, access) => (Some((*access, node)), &[][..]),
            Roots::Many(many) => (None, &many.roots[..]),
        };
        one.into_iter().chain(many.iter().map(|(access, node)| (*access, node)))
    }

    /// Returns, for each root in the order of [`roots`](Request::roots), the ancestors that were
    /// given with it by [`with_ancestors`](Request::with_ancestors), or `None` if they follow from
    /// its name.
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

    /// Returns a root of this request and a root of `other` that conflict, which is why the two
    /// requests cannot both be held; or `None` if they can.
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
        let pairs = self.count().saturating_mul(other.count());
        let index = (pairs > COMPARED_PAIRS_MAX).then(|| RootIndex::new(other));
        let may_conflict = |own: &Placed<'_>| index.as_ref().is_none_or(|it| it.conflicts(own));
        self.placed().filter(may_conflict).find_map(|own| {
            let its = other.placed().find(|its| own.conflicts(its))?;
            Some(Conflict { own: (own.access, own.node), other: (its.access, its.node) })
        })
    }

    /// Returns whether a holder of this request also holds everything that `other` names: each root
    /// of `other` lies within a root of this request whose access is at least as strong.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// let held = Request::new().write("photos")?.read("templates")?;
    /// assert!(held.covers(&Request::new().read("photos/2025")?));
    /// assert!(!held.covers(&Request::new().write("templates/blog")?));
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    pub fn covers(&self, other: &Request) -> bool {
        let is_covered = |root: Placed<'_>| {
            self.placed().any(|own| own.access >= root.access && root.is_within(own.node))
        };
        other.placed().all(is_covered)
    }

    fn count(&self) -> usize {
        match &self.0 {
            Roots::None => 0,
            Roots::One(..) => 1,
            Roots::Many(many) => many.roots.len(),
        }
    }

    /// Returns the roots with their given ancestors.
    pub(crate) fn placed(&self) -> impl Iterator<Item = Placed<'_>> + Clone {
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

    /// Returns a root of `other` that conflicts with one of this request, given a node where their
    /// claims conflict.
    pub(crate) fn conflicting_at<'a>(&self, other: &'a Request, at: &Node) -> Option<Placed<'a>> {
        let strongest = |roots: &mut dyn Iterator<Item = Placed<'_>>| roots.map(|r| r.access).max();
        let own_here = strongest(&mut self.placed().filter(|root| root.node == at));
        let own_below = strongest(&mut self.placed().filter(|root| root.is_within(at)));
        let conflicts = |own: Option<Access>, its| own.is_some_and(|own| own.conflicts(its));
        other.placed().filter(|its| its.is_within(at)).find(|its| {
            conflicts(own_here, its.access) || its.node == at && conflicts(own_below, its.access)
        })
    }

    /// Expands the roots now, to avoid doing it under the mutex.
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

impl<'a> RootIndex<'a> {
    /// Sorts the roots of a request.
    ///
    /// # Examples
    ///
    /// See [`RootIndex`].
    #[must_use]
    pub fn new(request: &'a Request) -> RootIndex<'a> {
        RootIndex::of_roots(request.placed())
    }

    /// Returns whether any of the roots conflicts with a root of another request, as
    /// [`Request::conflict`] does.
    ///
    /// # Examples
    ///
    /// See [`RootIndex`].
    #[must_use]
    pub fn conflicts_with(&self, other: &Request) -> bool {
        other.placed().any(|root| self.conflicts(&root))
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
    /// The root of the request on which [`Request::conflict`] was called.
    pub own: (Access, &'a Node),
    /// The root of the other request.
    pub other: (Access, &'a Node),
}

/// Prints the roots in the order in which they were given: `read /a, write /b`.
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
        if let Some(label) = self.label() {
            write!(f, "; {label:?}")?;
        }
        f.write_str(")")
    }
}

/// Compares the roots, in their order, and the labels.
impl PartialEq for Request {
    fn eq(&self, other: &Request) -> bool {
        self.label() == other.label() && self.placed().eq(other.placed())
    }
}

impl Eq for Request {}

impl Hash for Request {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.label().hash(state);
        self.placed().for_each(|root| root.hash(state));
    }
}

/// Collects any number of roots at once.
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
