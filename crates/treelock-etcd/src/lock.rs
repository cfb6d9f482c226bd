//! Asking for the lock: [`EtcdLock`] and its verbs.

use std::{
    fmt,
    future::Future,
    mem,
    panic::resume_unwind,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};
use treelock::{Access, Blocked, Node, Request, Snapshot};

use crate::{
    blocking::Blocking,
    error::Error,
    flight::{Flying, Landed, TakenOver},
    guard::{Guard, Turn},
    guests::Here,
    key::{Space, are_its_own, essential, root_text},
    options::Options,
    runtime::{Leaving, Work},
    servers::{Failure, Servers, judge},
    session::{OPENING, Place, Session},
    sightings::{Table, milliseconds},
    table::{ASK, Answer, Begun, Blockers, Entry, OPERATIONS, Value},
};

/// How often a try that was refused looks who is in the way, and finds that they have just left.
const TRIES: usize = 10;

/// A lock over all sub-trees of one tree, shared by the processes of many machines: its table is in etcd.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as soon as there
/// are none.** A handle: clones share one session, that is one lease; other handles with the same endpoints and
/// namespace are the same lock, in whatever process. Tasks that share a session wait for each other without asking
/// etcd.
///
/// Its futures can be polled by any executor: a thread of this crate talks to etcd, and renews the lease whatever
/// the application does with its own threads ([more](crate#threads)). A program that never waits for futures uses
/// [`blocking`](EtcdLock::blocking).
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
    /// Of requests that have none.
    label: Option<String>,
    host: String,
    /// Those that are alive, or were when they were last needed. A new one is begun when all are full.
    sessions: Mutex<Vec<Arc<Session>>>,
    /// Whoever begins one.
    opening: tokio::sync::Mutex<()>,
    leaving: Leaving,
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
            label: options.label.clone(),
            host: host(),
            sessions: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            leaving: Leaving::new(),
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
        let ticket = Arc::default();
        let asking = self.clone().ask(request.clone(), Verb::Wait, Arc::clone(&ticket));
        let asked = (self.clone(), request.clone());
        Acquire { asking: Some(Box::pin(asking)), asked, ticket }
    }

    /// Waits until everything that was dropped is given back: guards and futures of this handle and its clones. For
    /// the end of a program: what it interrupts is only given back when the lease ends.
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
        self.0.leaving.settled().await;
    }

    /// Ends what is not in use: waits until everything that was dropped is given back, and gives back the leases on
    /// which nothing hangs any more. For the end of a program, which else leaves a lease behind for as long as it
    /// lasts. The lock can be used again, with a new lease.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) {
    /// lock.close().await;
    /// # }
    /// ```
    pub async fn close(&self) {
        self.settled().await;
        let lock = self.clone();
        // Without the thread nothing was ever asked.
        if let Ok(work) = self.work(async move { lock.close_sessions().await }) {
            work.await;
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
        self.clone().ask(request.clone(), Verb::Try, Arc::default()).await
    }

    /// Acquires everything that `request` names, if it is granted within `limit`. Returns the [`Guard`].
    ///
    /// The limit is for waiting. A cluster that does not answer is asked for ten seconds, and then it is
    /// [`Error::Unavailable`].
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
        self.clone().ask(request.clone(), Verb::Within(limit), Arc::default()).await
    }

    /// As [`acquire_timeout`](EtcdLock::acquire_timeout), until a moment.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](EtcdLock::acquire).
    ///
    /// # Errors
    ///
    /// Those of [`acquire_timeout`](EtcdLock::acquire_timeout).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    /// let guard = lock.acquire_deadline(&Request::new().write("photos/2025")?, deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire_deadline(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Guard, Error> {
        self.acquire_timeout(request, deadline.saturating_duration_since(Instant::now())).await
    }

    /// Returns the same lock for code that blocks its thread.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let guard = lock.blocking().acquire(&Request::new().write("photos/2025")?)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn blocking(&self) -> Blocking<'_> {
        Blocking::new(self)
    }

    /// Takes away what a live request of anybody has: its place in the line, or its lock. Returns whether there was
    /// one with this ticket, which a [`Snapshot`] shows. Its owner is told: a waiter gets [`Error::Lost`], a
    /// holder's [`Guard::lost`] is ready. **Until he has heard of it he goes on**, and only his fencing token
    /// keeps him from what somebody else holds by then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have been done or not.
    ///
    /// # Errors
    ///
    /// All of [`Error`] but [`Error::Blocked`] and [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// assert!(!lock.revoke(7).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke(&self, ticket: u64) -> Result<bool, Error> {
        let lock = self.clone();
        self.work(async move { lock.table().revoke(ticket).await })?.await
    }

    /// Begins a new epoch of the namespace, after etcd was restored from a backup: all sessions and requests end,
    /// and their owners are told; tokens are larger than all before from then on, although etcd counts again from
    /// where the backup was made. Returns the number of the epoch; there are 65,535.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have been done or not; doing it once more does no harm.
    ///
    /// # Errors
    ///
    /// All of [`Error`] but [`Error::Blocked`] and [`Error::Lost`]; [`Error::Unsupported`] after the last epoch.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("epoch {} begins", lock.begin_epoch().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn begin_epoch(&self) -> Result<u16, Error> {
        let lock = self.clone();
        self.work(async move { lock.table().begin_epoch().await })?.await
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
    /// All of [`Error`] but [`Error::Blocked`] and [`Error::Lost`].
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
        let lock = self.clone();
        self.work(async move { lock.table().all().await.map(Snapshot::of) })?.await
    }

    /// Returns who would be in the way of `request` if it asked now; `None` if nobody would. Asks for nothing.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// All of [`Error`] but [`Error::Blocked`] and [`Error::Lost`].
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
        let (lock, request) = (self.clone(), request.clone());
        self.work(async move { lock.table().in_the_way(&request, u64::MAX).await })?.await
    }

    pub(crate) fn work<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Work<T>, Error> {
        Work::start(&self.0.leaving, work)
    }

    pub(crate) fn table(&self) -> Table<'_> {
        Table { servers: &self.0.servers, space: &self.0.space }
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.0.ttl
    }

    /// Asks for it: the guest in which this is polled first by itself if it can, and else our thread.
    async fn ask(
        self,
        request: Request,
        verb: Verb,
        ticket: Arc<AtomicU64>,
    ) -> Result<Guard, Error> {
        if let Some(here) = self.0.servers.here()
            && let Some(turn) = self.turn_at_hand(&request)
        {
            return self.ask_here(here, turn, verb, ticket).await;
        }
        let lock = self.clone();
        let asking = async move {
            let turn = lock.turn(request).await?;
            lock.granted(turn, Begun::Not, verb, &ticket).await
        };
        self.work(asking)?.await
    }

    /// Makes the one call that enters it, in the guest. If it is granted by that, that is all.
    async fn ask_here(
        self,
        here: Here,
        mut turn: Turn,
        verb: Verb,
        ticket: Arc<AtomicU64>,
    ) -> Result<Guard, Error> {
        let Some((epoch, txn)) = turn.send(verb.may_wait()) else {
            return self.go_on(turn, Begun::Not, verb, ticket)?.await;
        };
        let (taken_over, taken) = oneshot::channel();
        let (lock, known) = (self.clone(), ticket.clone());
        let take_over = move |turn| {
            let begun = Begun::Sent(epoch, Err(Failure::late()));
            let _ = taken_over.send(lock.go_on(turn, begun, verb, known));
        };
        let flying = Flying::begin(turn, Box::new(take_over), None);
        let Landed { answer, mut turn, .. } = match flying.fly(&here, txn, taken).await {
            Ok(landed) => landed,
            Err(TakenOver(there)) => {
                drop(here);
                return there.unwrap_or(Err(Error::Lost))?.await;
            }
        };
        drop(here);
        let answer = answer.map_err(|error| judge(ASK, &error));
        let begun = turn.sent(epoch, answer, verb.may_wait());
        ticket.store(turn.ticket(), Ordering::Release);
        match begun {
            Begun::Entered(blockers) if blockers.are_none() => Guard::new(turn),
            begun => self.go_on(turn, begun, verb, ticket)?.await,
        }
    }

    /// Goes on with it in our thread.
    fn go_on(
        &self,
        turn: Turn,
        begun: Begun,
        verb: Verb,
        ticket: Arc<AtomicU64>,
    ) -> Result<Work<Result<Guard, Error>>, Error> {
        let lock = self.clone();
        self.work(async move { lock.granted(turn, begun, verb, &ticket).await })
    }

    /// Returns the guard when it is granted, for as long as the verb says.
    async fn granted(
        &self,
        mut turn: Turn,
        begun: Begun,
        verb: Verb,
        ticket: &AtomicU64,
    ) -> Result<Guard, Error> {
        if let Verb::Try = verb {
            return self.try_now(turn, begun).await;
        }
        let answer = turn.enter(begun, true).await?;
        ticket.store(turn.ticket(), Ordering::Release);
        let Answer::Entered(blockers) = answer else { return Err(Error::Lost) };
        match verb {
            Verb::Within(limit) if !blockers.are_none() => self.within(turn, blockers, limit).await,
            _ => {
                self.wait(&turn, blockers).await?;
                Guard::new(turn)
            }
        }
    }

    async fn try_now(&self, mut turn: Turn, mut begun: Begun) -> Result<Guard, Error> {
        for _ in 0..TRIES {
            if let Answer::Entered(_) = turn.enter(begun, false).await? {
                return Guard::new(turn);
            }
            let request = turn.request().clone();
            turn.leave_soon().await;
            // All may have left just now.
            if let Some(blocked) = self.table().in_the_way(&request, u64::MAX).await? {
                return Err(blocked.into());
            }
            (turn, begun) = (self.turn(request).await?, Begun::Not);
        }
        Err(Error::unreadable("a key"))
    }

    async fn within(
        &self,
        turn: Turn,
        blockers: Blockers,
        limit: Duration,
    ) -> Result<Guard, Error> {
        if let Ok(waited) = timeout(limit, self.wait(&turn, blockers)).await {
            return waited.and_then(|()| Guard::new(turn));
        }
        match self.table().in_the_way(turn.request(), turn.ticket()).await? {
            Some(blocked) => {
                turn.leave_soon().await;
                Err(blocked.into())
            }
            // Who was in the way only becomes fewer, so it is granted and only has to be seen.
            None => turn.nobody_is_in_the_way().await.and_then(|()| Guard::new(turn)),
        }
    }

    /// Waits until nobody is in the way.
    async fn wait(&self, turn: &Turn, blockers: Blockers) -> Result<(), Error> {
        self.0.rescued.fetch_add(turn.wait(blockers).await?, Ordering::Relaxed);
        Ok(())
    }

    /// A request at a place of its own, about to be sent.
    async fn turn(&self, request: Request) -> Result<Turn, Error> {
        let roots = roots(&request)?;
        let place = self.place(roots.len().max(1)).await?;
        Ok(self.turn_at(place, &roots, request))
    }

    /// The same, if a session with room for it is open.
    fn turn_at_hand(&self, request: &Request) -> Option<Turn> {
        // What is wrong with it is said elsewhere.
        let roots = roots(request).ok()?;
        let place = self.place_at_hand(roots.len().max(1))?;
        Some(self.turn_at(place, &roots, request.clone()))
    }

    fn turn_at(
        &self,
        (session, place): (Arc<Session>, Arc<Place>),
        roots: &[(Access, Node)],
        request: Request,
    ) -> Turn {
        let is_told_by_keys = roots.len() == request.roots().count() && roots.len() <= 1;
        let value = Value {
            nonce: 0,
            label: request.get_label().map(Into::into).or_else(|| self.0.label.clone()),
            host: self.0.host.clone(),
            pid: std::process::id(),
            roots: match is_told_by_keys {
                true => Vec::new(),
                false => request.roots().map(root_text).collect(),
            },
            first: None,
            since: milliseconds(),
        };
        Turn::new(Entry::new(session, place, roots, value), request)
    }

    async fn close_sessions(&self) {
        let sessions = mem::take(&mut *self.sessions());
        for session in &sessions {
            session.close().await;
        }
        drop(sessions);
        self.settled().await;
    }

    /// A place in a session that is alive.
    async fn place(&self, keys: usize) -> Result<(Arc<Session>, Arc<Place>), Error> {
        if let Some(place) = self.place_at_hand(keys) {
            return Ok(place);
        }
        let inner = &self.0;
        let doing = "open a session";
        let waiting = timeout(OPENING, inner.opening.lock()).await;
        let _alone = waiting.map_err(|_| {
            let last = "others of this process wait for that, too".into();
            Error::Unavailable { doing, tried: OPENING, last }
        })?;
        if let Some(place) = self.place_at_hand(keys) {
            return Ok(place);
        }
        let (servers, space) = (inner.servers.clone(), inner.space.clone());
        // In a task of its own, so that what was begun is ended: a lease that nobody waits for is given back.
        let opening = Session::open(servers, space, inner.ttl, inner.leaving.clone());
        let opened = tokio::spawn(opening).await;
        let session = opened.unwrap_or_else(|error| resume_unwind(error.into_panic()))?;
        let place = session.take_place(keys).expect("a request has room in a session of its own");
        self.sessions().push(session.clone());
        Ok((session, place))
    }

    /// A place in a session that is open, if one has room for so many more keys.
    fn place_at_hand(&self, keys: usize) -> Option<(Arc<Session>, Arc<Place>)> {
        let mut sessions = self.sessions();
        // Ended, and dropped, when nothing is locked any more.
        let over: Vec<_> = sessions.extract_if(.., |session| session.is_past()).collect();
        let place = |session: &Arc<Session>| Some((session.clone(), session.take_place(keys)?));
        let found = sessions.iter().find_map(place);
        drop(sessions);
        over.iter().for_each(|session| session.end());
        found
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how long a request waits.
#[derive(Clone, Copy)]
enum Verb {
    Wait,
    Try,
    Within(Duration),
}

impl Verb {
    fn may_wait(self) -> bool {
        !matches!(self, Verb::Try)
    }
}

/// What the request needs of its roots; an error says why etcd cannot have it.
fn roots(request: &Request) -> Result<Vec<(Access, Node)>, Error> {
    if !is_named(request) {
        let what =
            "the roots of a request to etcd lie where their names say; give no other ancestors";
        return Err(Error::Unsupported { what: what.into() });
    }
    let roots = essential(request);
    if roots.len() > OPERATIONS {
        let what = format!(
            "the request has {} roots, and etcd takes {OPERATIONS} at once; ask for fewer or wider roots",
            roots.len()
        );
        return Err(Error::Unsupported { what });
    }
    Ok(roots)
}

/// Whether every root lies where its name says.
fn is_named(request: &Request) -> bool {
    let mut places = request.roots().zip(request.given_ancestors());
    places.all(|((_, node), given)| given.is_none_or(|given| are_its_own(node, given)))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
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
    /// Until it is ready.
    asking: Option<Asking>,
    asked: (EtcdLock, Request),
    ticket: Arc<AtomicU64>,
}

type Asking = Pin<Box<dyn Future<Output = Result<Guard, Error>> + Send>>;

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

    /// Returns a future of who is in the way; `None` if nobody is, or it is not in line yet.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// The future's: those of [`EtcdLock::blocked`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let acquire = lock.acquire(&Request::new().write("photos/2025")?);
    /// assert!(acquire.blocked().await?.is_none()); // it has not asked yet
    /// # Ok(())
    /// # }
    /// ```
    pub fn blocked(&self) -> impl Future<Output = Result<Option<Blocked>, Error>> + Send + 'static {
        let ((lock, request), ticket) = (self.asked.clone(), self.ticket());
        async move {
            let Some(ticket) = ticket else { return Ok(None) };
            let table = lock.clone();
            lock.work(async move { table.table().in_the_way(&request, ticket).await })?.await
        }
    }
}

impl Future for Acquire {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let asking = self.asking.as_mut().expect("polled after it was ready");
        let done = ready!(asking.as_mut().poll(context));
        self.asking = None;
        Poll::Ready(done)
    }
}

impl fmt::Debug for EtcdLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdLock").finish_non_exhaustive()
    }
}
