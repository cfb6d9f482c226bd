//! Finding conflicts with a request that has many roots, without comparing all pairs of roots.
//!
//! Nodes sort by components, so a node comes directly before everything below it. In a sorted list
//! of nodes, what lies at or below a node therefore begins where the node would be inserted. And if
//! no node of the list lies below another, the only one that can be at or above a node is the last
//! one that does not sort behind it.

use crate::{access::Access, node::Node, request::Request, root::Placed};

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
    /// Sorts the roots of a request.
    ///
    /// # Examples
    ///
    /// See [`RootIndex`].
    #[must_use]
    pub fn new(request: &'a Request) -> RootIndex<'a> {
        RootIndex {
            all: Sorted::new(request.placed()),
            writes: Sorted::new(request.placed().filter(|root| root.access == Access::Write)),
        }
    }

    /// Returns whether any of the roots conflicts with this one.
    pub(crate) fn conflicts(&self, root: &Placed<'_>) -> bool {
        match root.access {
            Access::Write => self.all.meet(root),
            Access::Read => self.writes.meet(root),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
            // "a-" sorts between "a" and "a/…" as text, but not as components.
            let names = ["a", "a-", "b"];
            let depth = self.below(4);
            let components = (0..depth).map(|_| names[self.below(3) as usize]);
            Node::from_components(components).expect("good components")
        }

        fn request(&mut self, roots: u64, with_given: bool) -> Request {
            (0..roots).fold(Request::new(), |request, _| {
                let access = if self.below(3) == 0 { Access::Write } else { Access::Read };
                let node = self.node();
                if with_given && self.below(3) == 0 {
                    let above: Vec<Node> = (0..self.below(3)).map(|_| self.node()).collect();
                    request.with_ancestors(access, node, above)
                } else {
                    request.with(access, node)
                }
            })
        }
    }

    /// Compares with the definition: all pairs of roots.
    #[test]
    fn an_index_finds_what_all_pairs_do() {
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let mut found = [0, 0];
        for round in 0..20_000 {
            let with_given = round % 2 == 0;
            let [few, many] = [random.below(3), random.below(5)];
            let one = random.request(few, with_given);
            let two = random.request(many, with_given);
            let index = RootIndex::new(&one);
            let expected = one.placed().any(|own| two.placed().any(|its| own.conflicts(&its)));
            assert_eq!(index.conflicts_with(&two), expected, "{one:?} and {two:?}");
            found[usize::from(expected)] += 1;
        }
        assert!(found.iter().all(|count| *count > 1000), "{found:?}");
    }

    /// Which two roots a conflict names does not depend on how they were found.
    #[test]
    fn many_roots_name_the_same_conflict_as_few() {
        let mut random = Random(88172645463325252);
        let mut found = 0;
        for _ in 0..300 {
            let mut mostly_reads = Request::new();
            for (access, node) in random.request(60, false).roots() {
                let access = if random.below(20) == 0 { access } else { Access::Read };
                mostly_reads = mostly_reads.with(access, node.clone());
            }
            let other = random.request(8, true);
            let expected = mostly_reads.placed().find_map(|own| {
                let its = other.placed().find(|its| own.conflicts(its))?;
                Some(((own.access, own.node), (its.access, its.node)))
            });
            let conflict = mostly_reads.conflict(&other);
            assert_eq!(conflict.map(|conflict| (conflict.own, conflict.other)), expected);
            found += usize::from(expected.is_some());
        }
        assert!(found > 100, "{found}");
    }
}
