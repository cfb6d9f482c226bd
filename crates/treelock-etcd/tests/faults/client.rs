//! A client: a process of its own that asks for random sub-trees, works below them, and says what
//! it does.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinSet, time::sleep};
use treelock::{Access, Request};
use treelock_etcd::{Acquire, Error, EtcdLock, Guard, Options};

use crate::wire::{End, Order, Root, Said, What, now};

/// What a client is told when it is started.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Where the harness listens
    #[arg(long)]
    harness: String,
    #[arg(long)]
    client: u32,
    #[arg(long, value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Seconds
    #[arg(long)]
    ttl: u64,
    #[arg(long)]
    seed: u64,
}

/// The harness, as all tasks of a client have it.
struct Harness {
    line: Mutex<TcpStream>,
    answers: Mutex<HashMap<u64, oneshot::Sender<bool>>>,
    requests: AtomicU64,
    stop: AtomicBool,
    dwell: AtomicU64,
}

impl Harness {
    /// A process whose harness is gone has nothing more to do.
    fn say(&self, request: u64, at: u64, what: What) {
        let mut line = serde_json::to_vec(&Said { request, at, what }).expect("it is JSON");
        line.push(b'\n');
        let mut stream = self.line.lock().expect("nobody panics");
        if stream.write_all(&line).is_err() {
            std::process::exit(0);
        }
    }

    fn listen(&self, stream: TcpStream) {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str(&line).expect("the harness speaks JSON") {
                Order::Stop => self.stop.store(true, Ordering::SeqCst),
                Order::Dwell(milliseconds) => self.dwell.store(milliseconds, Ordering::SeqCst),
                Order::Answer { request, accepted } => {
                    let waits = self.answers.lock().expect("nobody panics").remove(&request);
                    if let Some(waits) = waits {
                        let _ = waits.send(accepted);
                    }
                }
            }
        }
        std::process::exit(0);
    }

    async fn access(&self, request: u64, at: u64, what: What) {
        let (send, answer) = oneshot::channel();
        self.answers.lock().expect("nobody panics").insert(request, send);
        self.say(request, at, what);
        let _ = answer.await;
    }
}

/// Runs until the harness has no more use for it.
pub(crate) fn run(arguments: &Arguments) {
    let stream = TcpStream::connect(&arguments.harness).expect("the harness listens");
    stream.set_nodelay(true).expect("a TCP stream");
    let harness = Arc::new(Harness {
        line: Mutex::new(stream.try_clone().expect("a TCP stream")),
        answers: Mutex::default(),
        requests: AtomicU64::new(1),
        stop: AtomicBool::new(false),
        dwell: AtomicU64::new(0),
    });
    harness.say(0, now(), What::Hello { client: arguments.client });
    let listening = harness.clone();
    std::thread::spawn(move || listening.listen(stream));
    // Half of them ask over connections of their own runtime.
    let mut builder = match arguments.client / 2 % 2 {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(2).enable_all().build().expect("a runtime").block_on(async {
        let options = Options::new(arguments.endpoints.iter().cloned());
        let lock = EtcdLock::new(&options.ttl(Duration::from_secs(arguments.ttl)));
        let mut tasks = JoinSet::new();
        // Every second one is two tasks, which share a session.
        for task in 0..1 + u64::from(arguments.client % 2) {
            let random = fastrand::Rng::with_seed(arguments.seed + task);
            tasks.spawn(work(lock.clone(), harness.clone(), random));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("a client does not panic");
        }
        lock.settled().await;
        harness.say(0, now(), What::Settled { rescued: lock.rescued() });
        // The session stays: what it has left behind must not go with it before it was seen.
        std::future::pending::<()>().await;
    });
}

async fn work(lock: EtcdLock, harness: Arc<Harness>, mut random: fastrand::Rng) {
    while !harness.stop.load(Ordering::SeqCst) {
        let request = harness.requests.fetch_add(1, Ordering::SeqCst);
        let roots = some_roots(&mut random);
        let asked = ask(&lock, &harness, request, &roots, &mut random).await;
        match asked {
            Ok(Some(guard)) => section(guard, &harness, request, &roots, &mut random).await,
            Ok(None) => {}
            Err(error) => {
                harness.say(request, now(), What::Ended(end_of(&error)));
                if !error.is_timeout() {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

fn end_of(error: &Error) -> End {
    match error {
        error if error.is_timeout() => End::Blocked,
        error if error.is_lost() => End::Lost,
        error if error.is_unavailable() => End::Unavailable(error.to_string()),
        error => End::Failed(error.to_string()),
    }
}

/// The names of the tree, level by level.
const NAMES: [&[&str]; 3] = [&["a", "b", "c", "d"], &["x", "y", "z"], &["1", "2", "3"]];

/// One to three roots of a tree of 53 nodes, most of them low.
fn some_roots(random: &mut fastrand::Rng) -> Vec<Root> {
    let count = random.usize(1..4);
    let mut root = || {
        let depth = match random.u8(0..100) {
            0 => 0,
            1..6 => 1,
            6..30 => 2,
            _ => 3,
        };
        let mut name = |level: &[&str]| format!("{}/", level[random.usize(0..level.len())]);
        let node: String = NAMES[..depth].iter().map(|level| name(level)).collect();
        (random.u8(0..100) < 40, node)
    };
    (0..count).map(|_| root()).collect()
}

fn request_of(roots: &[Root]) -> Request {
    roots.iter().fold(Request::new(), |request, (write, node)| {
        let node = if node.is_empty() { "/" } else { node };
        let access = if *write { Access::Write } else { Access::Read };
        request.with(access, node.parse().expect("a good node"))
    })
}

/// Ask in one of four ways; `None` if it gave up, and has said so.
async fn ask(
    lock: &EtcdLock,
    harness: &Harness,
    request: u64,
    roots: &[Root],
    random: &mut fastrand::Rng,
) -> Result<Option<Guard>, Error> {
    let wanted = request_of(roots);
    let way = random.u8(0..10);
    let patience = Duration::from_micros(random.u64(0..20_000));
    let at = now();
    let limit = (way == 1).then(|| at + patience.as_nanos() as u64);
    harness.say(request, at, What::Asked { roots: roots.to_vec(), limit });
    match way {
        0 => lock.try_acquire(&wanted).await.map(Some),
        1 => give_up_after(lock, &wanted, patience).await.map(Some),
        2 | 3 => {
            let mut acquire = lock.acquire(&wanted);
            let asked = told(&mut acquire, harness, request);
            match tokio::time::timeout(patience, asked).await {
                Ok(granted) => granted.map(Some),
                Err(_) => {
                    harness.say(request, now(), What::Ended(End::GaveUp));
                    drop(acquire);
                    Ok(None)
                }
            }
        }
        _ => told(&mut lock.acquire(&wanted), harness, request).await.map(Some),
    }
}

/// Waits for so long, and then gives up.
pub(crate) async fn give_up_after(
    lock: &EtcdLock,
    request: &Request,
    limit: Duration,
) -> Result<Guard, Error> {
    let mut acquire = lock.acquire(request);
    match tokio::time::timeout(limit, &mut acquire).await {
        Ok(granted) => granted,
        Err(_) => acquire.give_up().await,
    }
}

/// Wait for the lock, and say when its ticket is known, for which nobody wakes us.
async fn told(acquire: &mut Acquire, harness: &Harness, request: u64) -> Result<Guard, Error> {
    loop {
        match tokio::time::timeout(Duration::from_millis(1), &mut *acquire).await {
            Ok(granted) => return granted,
            Err(_) => {
                if let Some(ticket) = acquire.ticket() {
                    harness.say(request, now(), What::Entered { ticket });
                    return acquire.await;
                }
            }
        }
    }
}

/// What is done under the lock: below each root one leaf is used.
async fn section(
    guard: Guard,
    harness: &Harness,
    request: u64,
    roots: &[Root],
    random: &mut fastrand::Rng,
) {
    let token = guard.token().get();
    let at = now();
    harness.say(request, at, What::Granted { token, valid: guard.is_valid() });
    // One that does not look at the clock between its last look and its access, as every program
    // has a moment between the two.
    let (mut at, mut valid) = (at, guard.is_valid());
    let dwell = harness.dwell.swap(0, Ordering::SeqCst);
    if dwell > 0 {
        sleep(Duration::from_millis(dwell)).await;
    }
    for (write, node) in roots {
        let leaf = some_leaf(node, random);
        // A leaf may lie below several of its roots.
        let write = *write || roots.iter().any(|(write, node)| *write && leaf.starts_with(node));
        harness.access(request, at, What::Access { write, leaf, token, valid }).await;
        sleep(Duration::from_micros(random.u64(0..2_000))).await;
        (at, valid) = (now(), guard.is_valid());
    }
    harness.say(request, at, What::Leaves { valid });
    if random.u8(0..10) < 7 {
        guard.release().await;
    } else {
        drop(guard);
    }
    harness.say(request, now(), What::Ended(if valid { End::Left } else { End::Lost }));
}

fn some_leaf(node: &str, random: &mut fastrand::Rng) -> String {
    let mut leaf = node.to_string();
    for level in &NAMES[node.matches('/').count()..] {
        leaf.push_str(level[random.usize(0..level.len())]);
        leaf.push('/');
    }
    leaf
}
