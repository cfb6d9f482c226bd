//! The judge: rule C1 word for word, scanning all live requests, with its own idea of a node and of
//! a conflict.

use treelock::{Access, Node, Request};

/// A root as the model sees it: plain components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) write: bool,
    pub(crate) path: Vec<&'static str>,
    /// Whether the request is given the ancestors, instead of taking them from the name.
    pub(crate) given: bool,
}

/// Two requests conflict iff some root of one is an ancestor of, or equal to, some root of the
/// other and at least one of those two roots is a write.
pub(crate) fn conflict(a: &[Root], b: &[Root]) -> bool {
    a.iter().any(|a| {
        b.iter().any(|b| {
            let meet = a.path.starts_with(&b.path) || b.path.starts_with(&a.path);
            meet && (a.write || b.write)
        })
    })
}

pub(crate) fn request(roots: &[Root]) -> Request {
    roots.iter().fold(Request::new(), |request, root| {
        let access = if root.write { Access::Write } else { Access::Read };
        let node = Node::from_components(&root.path).expect("the model's components are good");
        match root.given {
            false => request.with(access, node),
            true => {
                // In an order that is neither from the top nor from the bottom.
                let (even, odd): (Vec<_>, Vec<_>) =
                    node.ancestors().partition(|ancestor| ancestor.depth() % 2 == 0);
                request.with_ancestors(access, node, even.into_iter().chain(odd))
            }
        }
    })
}

#[derive(Debug)]
pub(crate) struct Live {
    /// Its number in the order of arrival, from 1 on, and its label. Requests that fail are counted
    /// too.
    pub(crate) number: u64,
    pub(crate) roots: Vec<Root>,
    pub(crate) held: bool,
}

/// All live requests in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) live: Vec<Live>,
    pub(crate) last: u64,
}

impl Model {
    /// The earlier live requests that conflict with the one at `index`.
    fn in_the_way(&self, index: usize) -> impl Iterator<Item = &Live> {
        let roots = &self.live[index].roots;
        self.live[..index].iter().filter(move |earlier| conflict(&earlier.roots, roots))
    }

    /// Returns the number.
    pub(crate) fn ask(&mut self, roots: &[Root]) -> u64 {
        self.last += 1;
        self.live.push(Live { number: self.last, roots: roots.to_vec(), held: false });
        self.settle();
        self.last
    }

    pub(crate) fn leave(&mut self, number: u64) {
        self.live.retain(|live| live.number != number);
        self.settle();
    }

    pub(crate) fn is_held(&self, number: u64) -> bool {
        self.live.iter().any(|live| live.number == number && live.held)
    }

    /// Returns the earliest request that a request waits for, and how many it waits for.
    pub(crate) fn blockers(&self, number: u64) -> (Option<&Live>, usize) {
        let index = self.live.iter().position(|live| live.number == number).expect("live");
        (self.in_the_way(index).next(), self.in_the_way(index).count())
    }

    /// A request is granted as soon as there are no earlier live requests that conflict with it.
    fn settle(&mut self) {
        for index in 0..self.live.len() {
            let free = self.in_the_way(index).next().is_none();
            let live = &mut self.live[index];
            assert!(free || !live.held, "the model took a lock back");
            live.held = free;
        }
    }
}
