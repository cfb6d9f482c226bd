//! Tests: conflicts are found by an index as they are by comparing all pairs of roots.

use crate::{access::Access, node::Node, request::Request, root_index::RootIndex};

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
