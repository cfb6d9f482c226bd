//! One root of a request: as the lock works with it, [`Placed`], and as it is shown, [`Root`].

use std::fmt;

use crate::{access::Access, node::Node, print::Print};

/// A root with its place in the tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Placed<'a> {
    pub(crate) access: Access,
    pub(crate) node: &'a Node,
    /// The ancestors, if they are not those that the name of the node says.
    pub(crate) above: Option<&'a [Node]>,
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

/// One root of a request, as it is shown.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock, Wait};
///
/// let lock = TreeLock::new();
/// let _guard = lock.acquire(&Request::new().write("a")?).wait();
/// assert_eq!(lock.snapshot().wait().entries[0].roots[0].to_string(), "write /a");
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Root {
    /// Whether the sub-tree is read or written.
    pub access: Access,
    /// The root of the sub-tree.
    pub node: Node,
}

impl Root {
    pub(crate) fn new((access, node): (Access, &Node)) -> Root {
        Root { access, node: node.clone() }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &Node::fmt)
    }
}

impl Root {
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, print: Print<'_>) -> fmt::Result {
        write!(f, "{} ", self.access)?;
        print(&self.node, f)
    }
}
