//! The members of the cluster, and how one of them is asked.
//!
//! A member that does not answer in time is left for the next one. What it was asked may have been done all the
//! same, so whoever asks for a change has to ask in a way that makes a second time harmless; the protocol
//! (`table.rs`) sees to that.
//!
//! When a connection fails, the next who asks looks first whether the member can be spoken to as it is configured
//! (`probe.rs`), and if not, sends nothing. So what is final was certainly not done by that attempt. Only when
//! this is so of all members is it final, since a cluster gets new certificates one member at a time.

use std::{
    error::Error as StdError,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use etcd_client::{Client, ConnectOptions};
use tokio::{sync::OnceCell, time::timeout};

use crate::{
    endpoint::Endpoint,
    error::Error,
    guests::{Guests, Here, driven},
    options::Setup,
    probe::find_wrong,
    tls::Secure,
};

/// How long one member may take for an answer before the next one is asked.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// How soon the same is asked again.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// What is known after one member was asked.
pub(crate) enum Failure {
    /// It may have been done, or not.
    InDoubt(String),
    /// It was not done, and asking again does not help.
    Final(Error),
}

impl Failure {
    /// There is no answer after [`PATIENCE`].
    pub(crate) fn late() -> Failure {
        Failure::InDoubt(format!("no answer in {} s", PATIENCE.as_secs()))
    }
}

struct Member {
    endpoint: Endpoint,
    options: ConnectOptions,
    /// Connected at the first use, so that a member that is down does not keep us from the others.
    client: OnceCell<Arc<Client>>,
    health: Mutex<Health>,
}

/// What the connection to a member came to, the last time.
#[derive(Clone)]
enum Health {
    Good,
    /// It was closed or not made, and nobody has looked why.
    Suspect,
    /// The member cannot be spoken to as it is configured, as was seen then.
    Wrong(String, Instant),
}

/// How long what was seen to be wrong with a member counts, when it is to be told whether all are wrong.
const RECENT: Duration = Duration::from_secs(5);

/// How long what was seen to be wrong with a member is not looked at again.
const FRESH: Duration = Duration::from_secs(1);

impl Member {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a member that is suspect; returns what is wrong with it. As long as something is, nothing is sent.
    async fn find_wrong(&self, secure: &Secure) -> Option<String> {
        {
            let mut health = self.health();
            match &*health {
                Health::Good => return None,
                Health::Wrong(what, seen) if seen.elapsed() < FRESH => return Some(what.clone()),
                Health::Wrong(..) => {}
                // One looks for all.
                Health::Suspect => *health = Health::Good,
            }
        }
        let found = find_wrong(&self.endpoint, secure).await;
        *self.health() = match &found {
            Some(what) => Health::Wrong(what.clone(), Instant::now()),
            None => Health::Good,
        };
        found
    }

    /// Ask it, once.
    async fn ask<T, F>(
        &self,
        secure: &Secure,
        ask: impl FnOnce(Arc<Client>) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        if let Some(what) = self.find_wrong(secure).await {
            return Err(Trouble::Wrong(what));
        }
        let answer = async {
            let client = self.client().await?;
            let answer = ask(client.clone()).await;
            if answer.as_ref().is_err_and(is_about_an_old_token) {
                client.refresh_token().await?;
            }
            answer
        };
        answer.await.map_err(|error| {
            if is_of_the_connection(&error) {
                *self.health() = Health::Suspect;
            }
            Trouble::Error(error)
        })
    }

    async fn client(&self) -> Result<Arc<Client>, etcd_client::Error> {
        let connect = || async {
            let options = Some(self.options.clone());
            Client::connect([&self.endpoint.url], options).await.map(Arc::new)
        };
        self.client.get_or_try_init(connect).await.cloned()
    }
}

/// Why a member did not do what it was asked.
enum Trouble {
    /// It was not asked, since this is wrong with it.
    Wrong(String),
    Error(etcd_client::Error),
}

/// The members, and the one that answered last.
#[derive(Clone)]
pub(crate) struct Servers {
    members: Arc<[Member]>,
    /// An error says which option is wrong; then there are no members.
    secure: Arc<Result<Secure, String>>,
    current: Arc<AtomicUsize>,
    guests: Guests,
}

impl Servers {
    pub(crate) fn new(endpoints: &[String], setup: Result<Setup, String>) -> Servers {
        let member = |text: &String| {
            let setup = setup.as_ref().ok()?;
            let endpoint = Endpoint::read(text, setup.has_tls).ok()?;
            Some(Member {
                options: setup.of(&endpoint),
                endpoint,
                client: OnceCell::new(),
                health: Mutex::new(Health::Good),
            })
        };
        Servers {
            members: endpoints.iter().filter_map(member).collect(),
            secure: Arc::new(setup.map(|setup| setup.secure)),
            current: Arc::new(AtomicUsize::new(0)),
            guests: Guests::default(),
        }
    }

    /// A connection of the caller's runtime, if it is a guest, to the member that answered last.
    pub(crate) fn here(&self) -> Option<Here> {
        let runtime = driven()?;
        let current = self.current();
        let member = self.members.get(current)?;
        let is_good = matches!(*member.health(), Health::Good);
        let connect = || {
            let (urls, options) = ([member.endpoint.url.clone()], member.options.clone());
            async move { Client::connect(urls, Some(options)).await }
        };
        is_good.then(|| self.guests.here(runtime, current, connect))?
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// The number of the one that answered last.
    pub(crate) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed) % self.members.len().max(1)
    }

    pub(crate) fn prefer(&self, member: usize) {
        self.current.store(member % self.members.len().max(1), Ordering::Relaxed);
    }

    /// The client of a member, connected.
    pub(crate) async fn client(&self, member: usize) -> Result<Arc<Client>, etcd_client::Error> {
        self.members[member % self.members.len()].client().await
    }

    /// The address of a member, and how it is spoken to.
    pub(crate) fn endpoint(&self, member: usize) -> Option<(&Endpoint, &Secure)> {
        Some((&self.members.get(member)?.endpoint, self.secure.as_ref().as_ref().ok()?))
    }

    /// Ask the member that answered last, once.
    pub(crate) async fn ask<T, F>(
        &self,
        doing: &'static str,
        ask: impl FnOnce(Arc<Client>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let member = self.current();
        let asked = self.ask_of(member, doing, ask).await;
        if let Err(Failure::InDoubt(_)) = asked {
            // Unless somebody has found a better one meanwhile.
            let next = (member + 1) % self.members.len();
            let _ =
                self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        asked
    }

    /// Ask this member, once.
    pub(crate) async fn ask_of<T, F>(
        &self,
        member: usize,
        doing: &'static str,
        ask: impl FnOnce(Arc<Client>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let secure = match &*self.secure {
            Ok(secure) => secure,
            Err(what) => return Err(Failure::Final(Error::Options { what: what.clone() })),
        };
        let member = &self.members[member];
        match timeout(PATIENCE, member.ask(secure, ask)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Trouble::Wrong(what))) => Err(self.despair(member, what)),
            Ok(Err(Trouble::Error(error))) => Err(judge(doing, &error)),
            Err(_) => Err(Failure::late()),
        }
    }

    /// This is wrong with a member. Asking another may help, unless there is something wrong with each.
    fn despair(&self, member: &Member, what: String) -> Failure {
        let is_wrong = |other: &Member| match &*other.health() {
            Health::Wrong(_, seen) => seen.elapsed() < RECENT,
            _ => false,
        };
        match self.members.iter().all(is_wrong) {
            true => Failure::Final(Error::Tls { endpoint: member.endpoint.url.clone(), what }),
            false => Failure::InDoubt(format!("{}: {what}", member.endpoint.url)),
        }
    }

    /// Ask until there is an answer, for what may be done more than once.
    pub(crate) async fn insist<T, F>(
        &self,
        doing: &'static str,
        limit: Duration,
        mut ask: impl FnMut(Arc<Client>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let start = Instant::now();
        loop {
            match self.ask(doing, &mut ask).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::InDoubt(last)) if start.elapsed() >= limit => {
                    return Err(Error::Unavailable { doing, tried: start.elapsed(), last });
                }
                Err(Failure::InDoubt(_)) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// Whether the token was made before the last change to users and roles. It was valid, and a new one is.
fn is_about_an_old_token(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            status.message().contains("revision of auth store is old")
        }
        _ => false,
    }
}

/// Whether the connection is why, and no answer of the member.
fn is_of_the_connection(error: &etcd_client::Error) -> bool {
    match error {
        etcd_client::Error::GRpcStatus(status) => status.source().is_some(),
        etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => true,
        _ => false,
    }
}

/// What an error says, with what is behind it.
fn in_full(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

/// What an error of the client says of what was asked.
pub(crate) fn judge(doing: &'static str, error: &etcd_client::Error) -> Failure {
    let status = match error {
        etcd_client::Error::GRpcStatus(status) => status,
        etcd_client::Error::TransportError(error) => return Failure::InDoubt(in_full(error)),
        etcd_client::Error::InvalidUri(_) | etcd_client::Error::InvalidArgs(_) => {
            return Failure::Final(Error::Refused { doing, what: error.to_string() });
        }
        _ => return Failure::InDoubt(error.to_string()),
    };
    if let Some(cause) = status.source() {
        return Failure::InDoubt(in_full(cause));
    }
    if is_about_an_old_token(error) {
        return Failure::InDoubt(status.message().into());
    }
    let what = status.message().to_string();
    // The numbers are those of gRPC's status codes.
    match status.code() as i32 {
        8 if what.contains("database space exceeded") => Failure::Final(Error::NoSpace),
        // A member that does not vote yet; others do.
        9 | 12 | 14 if what.contains("learner") => Failure::InDoubt(what),
        // Not etcd says so, but the client, of an answer that it does not take.
        11 if !what.contains("etcdserver") && !what.contains("mvcc") => Failure::InDoubt(what),
        7 | 16 => Failure::Final(Error::Denied { doing, what }),
        3 | 9 if what.contains("auth") || what.contains("user") => {
            Failure::Final(Error::Denied { doing, what })
        }
        // Invalid argument, not found, failed precondition, out of range, unimplemented.
        3 | 5 | 9 | 11 | 12 => Failure::Final(Error::Refused { doing, what }),
        _ => Failure::InDoubt(what),
    }
}
