//! The conformance suite on a real etcd.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use treelock::{Blocked, Request, Snapshot, State};
use treelock_conformance::{Engine, Task, Wakes, leaving, random, scenarios, threads};
use treelock_etcd::{Acquire, Error, EtcdLock, Guard, Options};

use crate::server;

/// A namespace of its own, and two handles that know nothing of each other, in turns.
struct Cluster {
    handles: [EtcdLock; 2],
    turn: AtomicUsize,
    asks: Asks,
}

/// By whose connections etcd is asked.
#[derive(Clone, Copy)]
enum Asks {
    /// Those of the crate's thread.
    There,
    /// Those of a runtime in which the verbs are used.
    Here,
}

impl Cluster {
    fn new(server: &server::Cluster, asks: Asks) -> Cluster {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let namespace = format!("t{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let options = Options::new(server.endpoints()).namespace(&namespace);
        let handles = [(); 2].map(|()| EtcdLock::new(&options));
        Cluster { handles, turn: AtomicUsize::new(0), asks }
    }

    fn lock(&self) -> EtcdLock {
        self.handles[self.turn.fetch_add(1, Ordering::Relaxed) % 2].clone()
    }
}

/// A guard whose drop returns when etcd has answered.
struct Held(Option<Guard>, Asks);

impl Drop for Held {
    fn drop(&mut self) {
        match (self.0.take(), self.1) {
            (None, _) => {}
            (Some(guard), Asks::There) => guard.release_blocking(),
            (Some(guard), Asks::Here) => server::runtime().block_on(guard.release()),
        }
    }
}

fn held(result: Result<Guard, Error>, asks: Asks) -> Result<Held, Blocked> {
    result.map(|guard| Held(Some(guard), asks)).map_err(|error| match error {
        Error::Blocked(mut blocked) => {
            assert_eq!(blocked.process.take().map(|process| process.pid), Some(std::process::id()));
            *blocked
        }
        other => panic!("{other}"),
    })
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A request that is polled by hand.
struct Waits {
    lock: EtcdLock,
    acquire: Option<Acquire>,
    wakes: Arc<Count>,
    asks: Asks,
}

impl Waits {
    fn poll_once(&mut self) -> Option<Held> {
        let acquire = self.acquire.as_mut().expect("not polled after it was ready");
        self.wakes.0.store(0, Ordering::SeqCst);
        let waker = Waker::from(self.wakes.clone());
        let _entered = match self.asks {
            Asks::There => None,
            Asks::Here => Some(server::runtime().enter()),
        };
        match Pin::new(acquire).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(guard) => {
                self.acquire = None;
                Some(Held(Some(guard.expect("a cluster that works")), self.asks))
            }
            Poll::Pending => None,
        }
    }

    /// Whether it is, or may be: before its ticket is known nobody can tell.
    fn is_granted(&self) -> bool {
        let Some(ticket) = self.acquire.as_ref().and_then(Acquire::ticket) else { return true };
        let snapshot = self.lock.blocking().snapshot().expect("a cluster that works");
        let own = snapshot.entries.iter().find(|entry| entry.ticket == ticket);
        own.is_some_and(|entry| entry.state == State::Held)
    }
}

impl Task for Waits {
    type Guard = Held;

    /// Polls until it is ready or rightly waits: the answers of etcd are on their way for a while, and wake who
    /// asks for himself.
    fn poll(&mut self) -> Option<Held> {
        let start = Instant::now();
        loop {
            if let Some(held) = self.poll_once() {
                return Some(held);
            }
            if !self.is_granted() && self.wakes() == 0 {
                return None;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "a grant that is not seen");
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn poll_elsewhere(&mut self) -> Option<Held> {
        self.wakes = Arc::default();
        self.poll()
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.acquire = None;
        self.lock.blocking().settled();
    }
}

impl Engine for Cluster {
    type Task = Waits;
    type Guard = Held;

    const WAKES: Wakes = Wakes::Within(Duration::from_secs(20));

    fn acquire(&self, request: &Request) -> Waits {
        let lock = self.lock();
        let acquire = Some(lock.acquire(request));
        Waits { lock, acquire, wakes: Arc::default(), asks: self.asks }
    }

    fn try_acquire(&self, request: &Request) -> Result<Held, Blocked> {
        let lock = self.lock();
        let tried = match self.asks {
            Asks::There => lock.blocking().try_acquire(request),
            Asks::Here => server::runtime().block_on(lock.try_acquire(request)),
        };
        held(tried, self.asks)
    }

    fn acquire_timeout(&self, request: &Request, timeout: Duration) -> Result<Held, Blocked> {
        let lock = self.lock();
        let waited = match self.asks {
            Asks::There => lock.blocking().acquire_timeout(request, timeout),
            Asks::Here => server::runtime().block_on(lock.acquire_timeout(request, timeout)),
        };
        held(waited, self.asks)
    }

    /// Wake-ups come from watches, not from the safety net behind them.
    fn check(&self, _: &Snapshot) {
        assert!(self.handles.iter().all(|lock| lock.rescued() == 0), "a watch did not tell");
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.lock().blocking().snapshot().expect("a cluster that works");
        snapshot.entries.iter_mut().for_each(|entry| entry.process = None);
        snapshot
    }
}

/// Does something with etcd asked in each way.
fn in_each_way(test: impl Fn(&dyn Fn() -> Cluster)) {
    let Some(server) = server::Cluster::start(1) else { return };
    for asks in [Asks::There, Asks::Here] {
        test(&|| Cluster::new(&server, asks));
    }
}

#[test]
fn scenarios_print_what_they_say() {
    in_each_way(|cluster| scenarios::every_scenario_prints_what_it_says(cluster));
}

#[test]
fn holders_are_exactly_the_models() {
    in_each_way(|cluster| random::holders_are_exactly_the_models(10, 60, cluster));
}

#[test]
fn leaving_leaves_nothing() {
    in_each_way(|cluster| leaving::every_way_to_leave_leaves_nothing(20, cluster));
}

#[test]
fn threads_keep_the_rule() {
    in_each_way(|cluster| {
        threads::many_threads_keep_the_rule_at_every_moment(2, 50, cluster());
    });
}
