//! What the lock table works with: the claims of a request.
//!
//! A *claim* is one joined [`Mode`] at one node: a request has one for every root and every ancestor of one.
//! Roots below a wider root of the same request claim nothing of their own.
//!
//! Claims are kept as *chains*, one per root: the run of nodes from the first one that no earlier
//! chain has, down to the root itself. The first chain begins at the tree's root, and a chain comes
//! after the one it hangs on.
//!
//! If a root has its ancestors given, the request is *flat*: each of its claims is a chain of its own,
//! since the names of the nodes do not say which is above which.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{access::Access, mode::Mode, node::Node};

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

/// Expands roots into claims, joined per node.
pub(crate) fn expand(roots: &[(Access, Node)]) -> Expanded {
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

/// Expands roots of which some have their ancestors given, by the number of the root.
pub(crate) fn expand_flat(roots: &[(Access, Node)], given: &[(usize, Arc<[Node]>)]) -> Expanded {
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
        let roots: Vec<(Access, Node)> =
            roots.iter().map(|(a, text)| (*a, text.parse().unwrap())).collect();
        let expanded = expand(&roots);
        let claims = Claims::Many(&expanded);
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
