//! The lock in whatever runtime it is used in: which make calls by themselves, and what our thread
//! does for those that do not bring them to an end.

use std::{
    fs,
    future::Future,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use futures_executor::block_on;
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};
use treelock_etcd::{EtcdLock, Options, Wait};

use crate::{
    asking::{LONG, within, write},
    server::{Cluster, runtime},
};

fn lock(cluster: &Cluster) -> EtcdLock {
    EtcdLock::new(&Options::new(cluster.endpoints()))
}

fn threads(count: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(count).enable_all().build().expect("threads")
}

async fn pair(lock: &EtcdLock) {
    let guard = within("it is free", lock.acquire(&write("a"))).await.expect("it works");
    within("it is released", guard.release()).await;
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// One connection through a [`Proxy`].
#[derive(Default)]
struct Wire {
    /// Bytes to the member, also those that do not arrive.
    sent: AtomicUsize,
    /// Nothing arrives any more.
    is_cut: AtomicBool,
}

/// A way to a member that knows its connections.
struct Proxy {
    endpoint: String,
    wires: Arc<Mutex<Vec<Arc<Wire>>>>,
}

impl Proxy {
    fn to(cluster: &Cluster) -> Proxy {
        let member = cluster.members[0].endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let wires = Arc::new(Mutex::new(Vec::new()));
        let known = wires.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&member) else { continue };
                let wire = Arc::new(Wire::default());
                known.lock().expect("nobody panics").push(wire.clone());
                let streams = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                for (is_answer, (from, to)) in [false, true].into_iter().zip(streams) {
                    let (from, to) = (from.expect("a stream"), to.expect("a stream"));
                    let wire = wire.clone();
                    thread::spawn(move || carry(from, to, &wire, is_answer));
                }
            }
        });
        Proxy { endpoint, wires }
    }

    fn lock(&self) -> EtcdLock {
        EtcdLock::new(&Options::new([self.endpoint.clone()]))
    }

    fn wires(&self) -> Vec<Arc<Wire>> {
        self.wires.lock().expect("nobody panics").clone()
    }

    /// The connection that a caller has made, when it uses it.
    async fn of_a_caller(&self, lock: &EtcdLock) -> Arc<Wire> {
        let used = async {
            // By ours.
            lock.snapshot().await.expect("it works");
            let before = self.wires().len();
            while self.wires().len() == before {
                pair(lock).await;
            }
            let wire = self.wires().pop().expect("one more");
            let idle = wire.sent.load(Ordering::SeqCst);
            while wire.sent.load(Ordering::SeqCst) < idle + 1_000 {
                pair(lock).await;
            }
            wire
        };
        // A stall of the machine lets a caller rest for a minute.
        tokio::time::timeout(4 * LONG, used).await.expect("a caller's connection")
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, wire: &Wire, is_answer: bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !is_answer {
            wire.sent.fetch_add(count, Ordering::SeqCst);
        }
        if wire.is_cut.load(Ordering::SeqCst) {
            continue;
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_caller_makes_its_calls_by_itself() {
    let Some(cluster) = Cluster::start(1) else { return };
    let proxy = Proxy::to(&cluster);
    let lock = proxy.lock();
    block_on(lock.acquire(&write("a"))).expect("it works").release().wait();
    let ours = proxy.wires();
    let sent = |wires: &[Arc<Wire>]| -> usize {
        wires.iter().map(|wire| wire.sent.load(Ordering::SeqCst)).sum()
    };
    let caller = threads(2);
    caller.block_on(async {
        let own = proxy.of_a_caller(&lock).await;
        let before = (sent(&ours), sent(std::slice::from_ref(&own)));
        for _ in 0..100 {
            pair(&lock).await;
        }
        let (by_us, by_itself) = (sent(&ours) - before.0, sent(&[own]) - before.1);
        // Each of the two hundred calls is hundreds of bytes; renewals are ours.
        assert!(by_itself > 40_000 && by_us < 4_000, "{by_itself} and {by_us} bytes");
        // A runtime of one thread, and none, ask by our thread.
        let before = sent(&ours);
        let one_thread = || Builder::new_current_thread().enable_all().build().expect("a runtime");
        thread::scope(|scope| {
            scope.spawn(|| (0..20).for_each(|_| one_thread().block_on(pair(&lock))));
            scope.spawn(|| {
                for _ in 0..20 {
                    drop(lock.acquire(&write("b")).wait().expect("it works"));
                }
            });
        });
        assert!(sent(&ours) - before > 8_000);
    });
}

/// How many connections there are to the first member.
fn connections(cluster: &Cluster) -> usize {
    let endpoint = &cluster.members[0].endpoint;
    let port: u16 = endpoint.rsplit_once(':').expect("a port").1.parse().expect("a port");
    let (remote, established) = (format!(":{port:04X}"), "01");
    let all = fs::read_to_string("/proc/self/net/tcp").expect("/proc is there");
    let is_to_it = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|to| to.ends_with(&remote)) && fields.next() == Some(established)
    };
    all.lines().filter(is_to_it).count()
}

#[test]
fn the_connections_of_callers_end_with_them() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster);
    block_on(lock.acquire(&write("a"))).expect("it works").release().wait();
    let ours = connections(&cluster);
    let until = async |count: usize| {
        let there = async {
            while connections(&cluster) != count {
                pair(&lock).await;
            }
        };
        within("there are as many connections", there).await;
    };
    let [first, second] = [threads(1), threads(2)];
    first.block_on(until(ours + 1));
    second.block_on(until(ours + 2));
    for runtime in [&first, &second] {
        (0..20).for_each(|_| runtime.block_on(pair(&lock)));
    }
    second.block_on(until(ours + 2));
    drop((first, second));
    let third = threads(1);
    third.block_on(until(ours + 1));
    drop(lock);
    third.block_on(within("all are closed", async {
        while connections(&cluster) >= ours {
            sleep(Duration::from_millis(10)).await;
        }
    }));
}

/// Guards and waiters are nobody's: they go on where they are used.
#[test]
fn what_a_caller_leaves_behind_goes_on() {
    let Some(cluster) = Cluster::start(1) else { return };
    let proxy = Proxy::to(&cluster);
    let lock = proxy.lock();
    let caller = threads(1);
    caller.block_on(proxy.of_a_caller(&lock));
    let guard = caller.block_on(lock.acquire(&write("a"))).expect("it works");
    let mut waiter = pin!(lock.acquire(&write("a/b")));
    let mut begun = pin!(lock.acquire(&write("b")));
    caller.block_on(async {
        let entered = async {
            while waiter.ticket().is_none() {
                assert!(poll_once(waiter.as_mut()).is_pending());
                sleep(Duration::from_millis(5)).await;
            }
        };
        within("it is in line", entered).await;
    });
    let granted = {
        let _entered = caller.enter();
        poll_once(begun.as_mut())
    };
    drop(caller);
    assert!(guard.is_valid());
    let granted = match granted {
        Poll::Ready(granted) => granted,
        Poll::Pending => block_on(begun),
    };
    block_on(granted.expect("it works").release());
    threads(1).block_on(guard.release());
    drop(block_on(waiter).expect("it is free"));
    lock.settled().wait();
    assert!(lock.snapshot().wait().expect("it works").entries.is_empty());
}

/// A program that needs neither sockets nor timers may have a runtime without them.
#[test]
fn a_runtime_that_has_no_sockets() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster);
    let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("threads");
    for _ in 0..20 {
        let guard = runtime.block_on(lock.acquire(&write("a"))).expect("it works");
        runtime.block_on(guard.release());
        let guard = runtime.block_on(lock.try_acquire(&write("b"))).expect("it works");
        runtime.block_on(guard.release());
        let guard = runtime.block_on(lock.acquire(&write("b"))).expect("it works");
        runtime.block_on(guard.release());
    }
}

/// The calls of a runtime are lost: our thread goes on with them, also with those that nobody
/// polls.
#[test]
fn calls_that_are_not_answered_are_gone_on_with() {
    let Some(cluster) = Cluster::start(1) else { return };
    let proxy = Proxy::to(&cluster);
    let (lock, other) = (proxy.lock(), lock(&cluster));
    let caller = threads(2);
    caller.block_on(async {
        let wire = proxy.of_a_caller(&lock).await;
        wire.is_cut.store(true, Ordering::SeqCst);
        let asked = within("it is asked for again", lock.acquire(&write("a"))).await;
        asked.expect("it works").release().await;
        // The caller is left alone now.
        let (wires, sent) = (proxy.wires().len(), wire.sent.load(Ordering::SeqCst));
        for _ in 0..20 {
            pair(&lock).await;
        }
        assert_eq!(proxy.wires().len(), wires);
        assert!(wire.sent.load(Ordering::SeqCst) - sent < 1_000, "it was asked");
    });
    // Another one, which stops polling.
    let second = threads(1);
    let guard = {
        let wire = second.block_on(proxy.of_a_caller(&lock));
        let guard = second.block_on(lock.acquire(&write("a"))).expect("it works");
        wire.is_cut.store(true, Ordering::SeqCst);
        guard
    };
    let mut releases = pin!(guard.release());
    let mut asks = pin!(lock.acquire(&write("b")));
    {
        let _entered = second.enter();
        assert!(poll_once(releases.as_mut()).is_pending());
        assert!(poll_once(asks.as_mut()).is_pending());
    }
    caller.block_on(async {
        drop(within("it is released", other.acquire(&write("a"))).await.expect("it works"));
        within("nothing is being given back", lock.settled()).await;
        // Nobody polls the one that asks; it has the lock all the same.
        let held = async {
            while other.blocked(&write("b")).await.expect("it works").is_none() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        within("it is asked for", held).await;
    });
    block_on(releases);
    block_on(block_on(asks).expect("it works").release());
    assert!(block_on(lock.snapshot()).expect("it works").entries.is_empty());
}

/// A thread that waits as if it were no runtime's drives nothing meanwhile. Nobody should do that;
/// it works, also if what it waits for is being released by the same runtime.
#[test]
fn who_blocks_the_only_thread_of_a_caller() {
    let Some(cluster) = Cluster::start(1) else { return };
    let proxy = Proxy::to(&cluster);
    let lock = proxy.lock();
    let caller = threads(1);
    caller.block_on(proxy.of_a_caller(&lock));
    let (done, wait) = mpsc::channel();
    caller.spawn(async move {
        let guard = lock.acquire(&write("a")).await.expect("it works");
        let mut releases = pin!(guard.release());
        assert!(poll_once(releases.as_mut()).is_pending());
        let guard = block_on(lock.acquire(&write("a"))).expect("it works");
        block_on(guard.release());
        releases.await;
        let _ = done.send(());
    });
    wait.recv_timeout(LONG).expect("it is served");
}

/// A future that nobody polls keeps its place in the line, and nothing that others need.
#[test]
fn who_stops_to_poll_keeps_nobody() {
    let Some(cluster) = Cluster::start(1) else { return };
    let proxy = Proxy::to(&cluster);
    for polls in 1..12 {
        let lock = proxy.lock();
        if polls % 2 == 0 {
            runtime().block_on(proxy.of_a_caller(&lock));
        }
        let mut stops = pin!(lock.acquire(&write(&format!("stops/{polls}"))));
        let mut granted = None;
        for _ in 0..polls {
            let _entered = runtime().enter();
            if let Poll::Ready(guard) = poll_once(stops.as_mut()) {
                granted = Some(guard.expect("it works"));
                break;
            }
            thread::sleep(Duration::from_micros(300));
        }
        runtime().block_on(async {
            pair(&lock).await;
            drop(within("it is free", lock.try_acquire(&write("b"))).await.expect("it works"));
        });
        drop(block_on(lock.acquire(&write("a"))).expect("it is free"));
        let granted = match granted {
            Some(guard) => guard,
            None => block_on(stops).expect("it works"),
        };
        assert!(granted.is_valid());
        block_on(granted.release());
    }
}

/// A session is not closed under whoever has just chosen it.
#[test]
fn closing_while_others_ask() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster);
    runtime().block_on(async {
        let asking = (0..4).map(|number| {
            let lock = lock.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let guard = lock.acquire(&write(&format!("a/{number}"))).await;
                    guard.expect("nobody ends it").release().await;
                }
            })
        });
        let asking: Vec<_> = asking.collect();
        while !asking.iter().all(tokio::task::JoinHandle::is_finished) {
            lock.close().await;
        }
        for asked in asking {
            asked.await.expect("no panic");
        }
    });
}
