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
}

impl Cluster {
    fn new(server: &server::Cluster) -> Cluster {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let namespace = format!("t{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let options = Options::new(server.endpoints()).namespace(&namespace);
        Cluster { handles: [(); 2].map(|()| EtcdLock::new(&options)), turn: AtomicUsize::new(0) }
    }

    fn lock(&self) -> EtcdLock {
        self.handles[self.turn.fetch_add(1, Ordering::Relaxed) % 2].clone()
    }
}

/// A guard whose drop returns when etcd has answered.
struct Held(Option<Guard>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(guard) = self.0.take() {
            guard.release_blocking();
        }
    }
}

fn held(result: Result<Guard, Error>) -> Result<Held, Blocked> {
    result.map(|guard| Held(Some(guard))).map_err(|error| match error {
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
}

impl Waits {
    fn poll_once(&mut self) -> Option<Held> {
        let acquire = self.acquire.as_mut().expect("not polled after it was ready");
        self.wakes.0.store(0, Ordering::SeqCst);
        let waker = Waker::from(self.wakes.clone());
        match Pin::new(acquire).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(guard) => {
                self.acquire = None;
                Some(Held(Some(guard.expect("a cluster that works"))))
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

    /// Polls until it is ready or rightly waits: the answers of etcd are on their way for a while.
    fn poll(&mut self) -> Option<Held> {
        let start = Instant::now();
        loop {
            if let Some(held) = self.poll_once() {
                return Some(held);
            }
            if !self.is_granted() {
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
        Waits { lock, acquire, wakes: Arc::default() }
    }

    fn try_acquire(&self, request: &Request) -> Result<Held, Blocked> {
        held(self.lock().blocking().try_acquire(request))
    }

    fn acquire_timeout(&self, request: &Request, timeout: Duration) -> Result<Held, Blocked> {
        held(self.lock().blocking().acquire_timeout(request, timeout))
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

#[test]
fn scenarios_print_what_they_say() {
    let Some(server) = server::Cluster::start(1) else { return };
    scenarios::every_scenario_prints_what_it_says(|| Cluster::new(&server));
}

#[test]
fn holders_are_exactly_the_models() {
    let Some(server) = server::Cluster::start(1) else { return };
    random::holders_are_exactly_the_models(10, 60, || Cluster::new(&server));
}

#[test]
fn leaving_leaves_nothing() {
    let Some(server) = server::Cluster::start(1) else { return };
    leaving::every_way_to_leave_leaves_nothing(20, || Cluster::new(&server));
}

#[test]
fn threads_keep_the_rule() {
    let Some(server) = server::Cluster::start(1) else { return };
    threads::many_threads_keep_the_rule_at_every_moment(2, 50, Cluster::new(&server));
}
