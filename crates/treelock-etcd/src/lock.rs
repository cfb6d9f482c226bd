//! Asking for the lock: [`EtcdLock`] and its verbs.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use etcd_client::{Client, GetOptions};
use tokio::{sync::Mutex, time::timeout};
use treelock::{Access, Blocked, Node, Process, Request, Sighting, Snapshot};

use crate::{
    error::Error,
    guard::{Guard, Turn},
    key::{Name, Range, Space, are_its_own, essential, read_root_text, root_text},
    options::Options,
    servers::Servers,
    session::Session,
    table::{Answer, Entry, Value},
};

/// etcd carries out so many operations in one transaction, unless it was told otherwise.
const OPERATIONS: usize = 120;

/// How long looking is tried.
const LOOKING: Duration = Duration::from_secs(10);

/// A lock over all sub-trees of one tree, shared by the processes of many machines: its table is in etcd.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as soon as there
/// are none.** A handle: clones share one session, that is one lease; other handles with the same endpoints and
/// namespace are the same lock, in whatever process.
///
/// Its futures need tokio, with timers and I/O.
///
/// # Deadlock
///
/// The lock is not re-entrant. A holder that asks for something that conflicts with what it holds waits for
/// itself. Ask for everything in one [`Request`].
///
/// # Examples
///
/// See the [crate](crate).
#[derive(Clone)]
pub struct EtcdLock(Arc<Inner>);

struct Inner {
    servers: Servers,
    space: Space,
    ttl: Duration,
    session: Mutex<Option<Arc<Session>>>,
    rescued: AtomicU64,
}

impl EtcdLock {
    /// Returns the lock of this cluster. Nothing is asked yet: the first request opens the session.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_etcd::{EtcdLock, Options};
    ///
    /// let lock = EtcdLock::new(&Options::new(["http://127.0.0.1:2379"]));
    /// # let _ = lock;
    /// ```
    #[must_use]
    pub fn new(options: &Options) -> EtcdLock {
        EtcdLock(Arc::new(Inner {
            servers: Servers::new(&options.endpoints, options.connect_options()),
            space: Space::new(&options.prefix),
            ttl: options.ttl,
            session: Mutex::new(None),
            rescued: AtomicU64::new(0),
        }))
    }

    /// Acquires everything that `request` names. Returns a future of the [`Guard`].
    ///
    /// The request takes its place in the order of arrival when etcd carries out what the first poll sends. For a
    /// time-out that says who is in the way use [`acquire_timeout`](EtcdLock::acquire_timeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time gives back whatever it has, or may still get, in the background.
    ///
    /// # Errors
    ///
    /// The future's: all of [`Error`] but [`Error::Blocked`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let guard = lock.acquire(&Request::new().write("photos/2025")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self, request: &Request) -> Acquire {
        let (lock, request) = (self.clone(), request.clone());
        let ticket = Arc::new(AtomicU64::new(0));
        let entered = ticket.clone();
        let work = async move {
            let (mut turn, answer) = lock.enter(request, true).await?;
            entered.store(turn.ticket(), Ordering::Release);
            if !matches!(answer, Answer::Granted) {
                lock.wait(&mut turn).await?;
            }
            Ok(Guard::new(turn))
        };
        Acquire { work: Box::pin(work), ticket }
    }

    /// Waits until everything that was dropped is given back, as far as this handle's session is concerned.
    /// For the end of a program: what the runtime's end interrupts is only given back when the lease ends.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// lock.settled().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn settled(&self) {
        let session = self.0.session.lock().await.clone();
        if let Some(session) = session {
            session.settled().await;
        }
    }

    /// Acquires everything that `request` names, if nothing is in the way. Returns the [`Guard`] at once.
    ///
    /// Does not overtake: an earlier request that conflicts is in the way also while it only waits.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](EtcdLock::acquire).
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if it would have to wait, and those of [`acquire`](EtcdLock::acquire).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let guard = lock.try_acquire(&Request::new().write("photos/2025")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_acquire(&self, request: &Request) -> Result<Guard, Error> {
        loop {
            let (turn, answer) = self.enter(request.clone(), false).await?;
            if let Answer::Granted = answer {
                return Ok(Guard::new(turn));
            }
            turn.leave().await;
            // All may have left just now.
            if let Some(blocked) = self.blocked(request).await? {
                return Err(blocked.into());
            }
        }
    }

    /// Acquires everything that `request` names, if it is granted within `limit`. Returns the [`Guard`].
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](EtcdLock::acquire).
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if the time is over, and those of [`acquire`](EtcdLock::acquire).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let limit = std::time::Duration::from_secs(5);
    /// let guard = lock.acquire_timeout(&Request::new().write("photos/2025")?, limit).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire_timeout(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<Guard, Error> {
        let (mut turn, answer) = self.enter(request.clone(), true).await?;
        if let Answer::Granted = answer {
            return Ok(Guard::new(turn));
        }
        if let Ok(waited) = timeout(limit, self.wait(&mut turn)).await {
            return waited.map(|()| Guard::new(turn));
        }
        match Blocked::of(&self.sightings().await?, turn.request(), turn.ticket()) {
            Some(blocked) => {
                turn.leave().await;
                Err(blocked.into())
            }
            // Who was in the way only becomes fewer, so it is granted and only has to be seen.
            None => self.wait(&mut turn).await.map(|()| Guard::new(turn)),
        }
    }

    async fn wait(&self, turn: &mut Turn) -> Result<(), Error> {
        self.0.rescued.fetch_add(turn.wait().await?, Ordering::Relaxed);
        Ok(())
    }

    /// Returns how often a waiter of this handle found by its safety net, which looks every seven seconds, what no
    /// watch had told it. 0 as long as etcd tells what it is asked to tell.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_etcd::{EtcdLock, Options};
    ///
    /// let lock = EtcdLock::new(&Options::new(["http://127.0.0.1:2379"]));
    /// assert_eq!(lock.rescued(), 0);
    /// ```
    #[must_use]
    pub fn rescued(&self) -> u64 {
        self.0.rescued.load(Ordering::Relaxed)
    }

    /// Returns who holds and who waits, at one moment. Ages are by the clocks of those who asked.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] or [`Error::Denied`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{}", lock.snapshot().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot::of(self.sightings().await?))
    }

    /// Returns who would be in the way of `request` if it asked now; `None` if nobody would. Asks for nothing.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] or [`Error::Denied`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let blocked = lock.blocked(&Request::new().write("photos/2025")?).await?;
    /// # let _ = blocked;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn blocked(&self, request: &Request) -> Result<Option<Blocked>, Error> {
        Ok(Blocked::of(&self.sightings().await?, request, u64::MAX))
    }

    async fn enter(&self, request: Request, may_wait: bool) -> Result<(Turn, Answer), Error> {
        if !is_named(&request) {
            let what =
                "the roots of a request to etcd lie where their names say; give no other ancestors";
            return Err(Error::Unsupported { what: what.into() });
        }
        let roots = essential(&request);
        let operations = self.0.space.conflicts(&roots).len() + roots.len();
        if operations > OPERATIONS {
            let what = format!(
                "the request has {} roots and takes {operations} operations of etcd, which allows {OPERATIONS}; \
                 ask for fewer or wider roots",
                roots.len()
            );
            return Err(Error::Unsupported { what });
        }
        let session = self.session().await?;
        let value = Value {
            nonce: 0,
            label: request.get_label().map(Into::into),
            host: host(),
            pid: std::process::id(),
            roots: match roots.len() == request.roots().count() {
                true => Vec::new(),
                false => request.roots().map(root_text).collect(),
            },
            since: milliseconds(),
        };
        let mut turn = Turn::new(Entry::new(session, &roots, value), request);
        let answer = turn.enter(may_wait).await?;
        Ok((turn, answer))
    }

    /// The session that is alive, or a new one.
    async fn session(&self) -> Result<Arc<Session>, Error> {
        let mut slot = self.0.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| session.is_alive()) {
            return Ok(session.clone());
        }
        let inner = &self.0;
        let session = Session::open(inner.servers.clone(), inner.space.clone(), inner.ttl).await?;
        Ok(slot.insert(session).clone())
    }

    async fn sightings(&self) -> Result<Vec<Sighting>, Error> {
        let mut found: Vec<Found> = Vec::new();
        // All ranges as they were at the revision at which the first was read, so that it is one moment.
        let mut revision = 0;
        for range in self.0.space.entries() {
            revision = self.find(&range, revision, &mut found).await?;
        }
        found.sort_by(|a, b| (a.ticket, &a.place).cmp(&(b.ticket, &b.place)));
        let now = milliseconds();
        let mut sightings: Vec<Sighting> = Vec::new();
        for Found { ticket, root, value, .. } in found {
            let roots: Option<Vec<_>> =
                value.roots.iter().map(|root| read_root_text(root)).collect();
            let all = roots.filter(|roots| !roots.is_empty());
            match sightings.last_mut() {
                // A further key of the same request.
                Some(last) if last.ticket == ticket => {
                    if all.is_none() {
                        last.request = with(last.request.clone(), root);
                    }
                }
                _ => sightings.push(Sighting {
                    ticket,
                    request: labelled(
                        with(Request::new(), all.unwrap_or_else(|| root.into_iter().collect())),
                        value.label,
                    ),
                    asked: Duration::from_millis(now.saturating_sub(value.since)),
                    granted: None,
                    process: Some(Process { pid: value.pid, host: Some(value.host.into()) }.into()),
                }),
            }
        }
        Ok(sightings)
    }

    async fn find(
        &self,
        (first, end): &Range,
        revision: i64,
        found: &mut Vec<Found>,
    ) -> Result<i64, Error> {
        let get = |mut client: Client| {
            let options = GetOptions::new().with_range(end.clone()).with_revision(revision);
            let first = first.clone();
            async move { client.get(first, Some(options)).await }
        };
        let answer = self.0.servers.insist("look at the locks", LOOKING, get).await?;
        let now = answer.header().map_or(0, |header| header.revision());
        found.extend(answer.kvs().iter().filter_map(|kv| {
            let Name { root, session, slot } = self.0.space.read(kv.key())?;
            Some(Found {
                ticket: kv.create_revision() as u64,
                place: (session, slot),
                root,
                value: serde_json::from_slice(kv.value()).ok()?,
            })
        }));
        Ok(if revision == 0 { now } else { revision })
    }
}

/// One entry, as it was read.
struct Found {
    ticket: u64,
    place: (String, u64),
    root: Option<(Access, Node)>,
    value: Value,
}

/// Whether every root lies where its name says.
fn is_named(request: &Request) -> bool {
    let mut places = request.roots().zip(request.given_ancestors());
    places.all(|((_, node), given)| given.is_none_or(|given| are_its_own(node, given)))
}

fn with(request: Request, roots: impl IntoIterator<Item = (Access, Node)>) -> Request {
    roots.into_iter().fold(request, |request, (access, node)| request.with(access, node))
}

fn labelled(request: Request, label: Option<String>) -> Request {
    match label {
        Some(label) => request.label(label),
        None => request,
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// The future of [`EtcdLock::acquire`].
///
/// # Cancel safety
///
/// Dropping it at any time gives back whatever it has, in the background.
///
/// # Panics
///
/// If polled again after it was ready.
///
/// # Examples
///
/// See [`EtcdLock::acquire`].
#[must_use = "a future asks for nothing until it is awaited"]
pub struct Acquire {
    work: Pin<Box<dyn Future<Output = Result<Guard, Error>> + Send>>,
    ticket: Arc<AtomicU64>,
}

impl Acquire {
    /// Returns the ticket, by which a [`Snapshot`] names the request; `None` until etcd has said what it is.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_etcd::{EtcdLock, Options};
    /// let lock = EtcdLock::new(&Options::new(["http://127.0.0.1:2379"]));
    /// assert_eq!(lock.acquire(&Request::new()).ticket(), None);
    /// ```
    #[must_use]
    pub fn ticket(&self) -> Option<u64> {
        Some(self.ticket.load(Ordering::Acquire)).filter(|ticket| *ticket != 0)
    }
}

impl Future for Acquire {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.work.as_mut().poll(context)
    }
}

impl fmt::Debug for EtcdLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdLock").finish_non_exhaustive()
    }
}
