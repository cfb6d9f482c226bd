//! Finding conflicts with a request that has many roots, without comparing all pairs of roots.
//!
//! Nodes sort by components, so a node comes directly before everything below it. In a sorted list
//! of nodes, what lies at or below a node therefore begins where the node would be inserted. And if
//! no node of the list lies below another, the only one that can be at or above a node is the last
//! one that does not sort behind it.

use crate::{access::Access, node::Node, root::Placed};

/// The roots of a request, sorted for searching, to compare it with many other requests. A
/// comparison takes a time that grows with the number of the other's roots, and hardly with the
/// number of roots in the index. For engine authors.
///
/// # Examples
///
/// ```
/// use treelock::{Request, engine::RootIndex};
///
/// let photos = Request::new().writes((2000..2026).map(|year| format!("photos/{year}")))?;
/// let index = RootIndex::new(&photos);
/// assert!(index.conflicts_with(&Request::new().read("photos/2025/may")?));
/// assert!(!index.conflicts_with(&Request::new().read("templates")?));
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[derive(Debug)]
pub struct RootIndex<'a> {
    /// All roots, which conflict with a write.
    all: Sorted<'a>,
    /// The roots that are writes, which conflict with everything.
    writes: Sorted<'a>,
}

impl<'a> RootIndex<'a> {
    /// Sorts these roots.
    pub(crate) fn of_roots(roots: impl Iterator<Item = Placed<'a>> + Clone) -> RootIndex<'a> {
        let writes = roots.clone().filter(|root| root.access == Access::Write);
        RootIndex { all: Sorted::new(roots), writes: Sorted::new(writes) }
    }

    /// Returns whether any of the roots conflicts with this one.
    pub(crate) fn conflicts(&self, root: &Placed<'_>) -> bool {
        match root.access {
            Access::Write => self.all.meet(root),
            Access::Read => self.writes.meet(root),
        }
    }
}

/// The places of some roots. All lists are sorted.
#[derive(Debug)]
struct Sorted<'a> {
    /// The nodes of the roots.
    nodes: Vec<&'a Node>,
    /// Those of the nodes that do not lie below another.
    widest: Vec<&'a Node>,
    /// The nodes of the roots whose ancestors follow from their names.
    named: Vec<&'a Node>,
    /// The nodes of the other roots, and their given ancestors.
    given: Vec<&'a Node>,
}

impl<'a> Sorted<'a> {
    fn new(roots: impl Iterator<Item = Placed<'a>>) -> Sorted<'a> {
        let (mut nodes, mut named, mut given) = (Vec::new(), Vec::new(), Vec::new());
        for root in roots {
            nodes.push(root.node);
            match root.above {
                None => named.push(root.node),
                Some(above) => given.extend([root.node].into_iter().chain(above)),
            }
        }
        for list in [&mut nodes, &mut named, &mut given] {
            list.sort_unstable();
        }
        let mut widest: Vec<&Node> = Vec::new();
        for node in &nodes {
            if widest.last().is_none_or(|last| !last.contains(node)) {
                widest.push(node);
            }
        }
        Sorted { nodes, widest, named, given }
    }

    /// Returns whether any of the roots contains this one or lies within it.
    fn meet(&self, root: &Placed<'_>) -> bool {
        self.contain(root) || self.lie_within(root.node)
    }

    fn contain(&self, root: &Placed<'_>) -> bool {
        let Some(above) = root.above else {
            let end = self.widest.partition_point(|node| *node <= root.node);
            return end.checked_sub(1).is_some_and(|last| self.widest[last].contains(root.node));
        };
        let mut own = [root.node].into_iter().chain(above);
        own.any(|node| self.nodes.binary_search(&node).is_ok())
    }

    fn lie_within(&self, node: &Node) -> bool {
        let start = self.named.partition_point(|own| *own < node);
        self.named.get(start).is_some_and(|own| node.contains(own))
            || self.given.binary_search(&node).is_ok()
    }
}
