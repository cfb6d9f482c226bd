//! The judge: rule C1 word for word, scanning all live requests, with its own idea of a node and of a
//! conflict. And helpers to drive a lock by hand.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use treelock::{Access, Acquire, Guard, Node, Request};

/// A root as the model sees it: plain components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) write: bool,
    pub(crate) path: Vec<&'static str>,
    /// Whether the request is given the ancestors, instead of taking them from the name.
    pub(crate) given: bool,
}

/// Two requests conflict iff some root of one is an ancestor of, or equal to, some root of the other and
/// at least one of those two roots is a write.
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
    pub(crate) ticket: u64,
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

    /// Returns the ticket.
    pub(crate) fn ask(&mut self, roots: &[Root]) -> u64 {
        self.last += 1;
        self.live.push(Live { ticket: self.last, roots: roots.to_vec(), held: false });
        self.settle();
        self.last
    }

    pub(crate) fn leave(&mut self, ticket: u64) {
        self.live.retain(|live| live.ticket != ticket);
        self.settle();
    }

    pub(crate) fn is_held(&self, ticket: u64) -> bool {
        self.live.iter().any(|live| live.ticket == ticket && live.held)
    }

    /// The earliest that a request waits for, and how many it waits for.
    pub(crate) fn blockers(&self, ticket: u64) -> (Option<&Live>, usize) {
        let index = self.live.iter().position(|live| live.ticket == ticket).expect("live");
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

/// A waker that counts.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task that acquires, polled by hand.
pub(crate) struct Task {
    future: Pin<Box<Acquire>>,
    wakes: Arc<Wakes>,
}

impl Task {
    pub(crate) fn new(acquire: Acquire) -> Task {
        Task { future: Box::pin(acquire), wakes: Arc::default() }
    }

    pub(crate) fn poll(&mut self) -> Option<Guard> {
        let waker = Waker::from(self.wakes.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(guard) => Some(guard),
            Poll::Pending => None,
        }
    }

    /// Polls with a waker of its own, as a task that moved to another executor does.
    pub(crate) fn poll_elsewhere(&mut self) -> Option<Guard> {
        self.wakes = Arc::default();
        self.poll()
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}
