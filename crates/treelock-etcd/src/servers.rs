//! The members of the cluster, and how one of them is asked.
//!
//! A member that does not answer in time is left for the next one. What it was asked may have been done all the
//! same, so whoever asks for a change has to ask in a way that makes a second time harmless; the protocol
//! (`table.rs`) sees to that.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use etcd_client::{Client, ConnectOptions};
use tokio::{sync::OnceCell, time::timeout};

use crate::error::Error;

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

struct Member {
    endpoint: String,
    /// Connected at the first use, so that a member that is down does not keep us from the others.
    client: OnceCell<Client>,
}

/// The members, and the one that answered last.
#[derive(Clone)]
pub(crate) struct Servers {
    members: Arc<[Member]>,
    options: ConnectOptions,
    current: Arc<AtomicUsize>,
}

impl Servers {
    pub(crate) fn new(endpoints: &[String], options: ConnectOptions) -> Servers {
        let member =
            |endpoint: &String| Member { endpoint: endpoint.clone(), client: OnceCell::new() };
        Servers {
            members: endpoints.iter().map(member).collect(),
            options,
            current: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// The number of the one that answered last.
    pub(crate) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed) % self.members.len()
    }

    pub(crate) fn prefer(&self, member: usize) {
        self.current.store(member, Ordering::Relaxed);
    }

    /// The client of a member, connected.
    pub(crate) async fn client(&self, member: usize) -> Result<Client, etcd_client::Error> {
        let member = &self.members[member % self.members.len()];
        let connect = || Client::connect([&member.endpoint], Some(self.options.clone()));
        member.client.get_or_try_init(connect).await.cloned()
    }

    /// The address of a member.
    pub(crate) fn endpoint(&self, member: usize) -> &str {
        &self.members[member % self.members.len()].endpoint
    }

    /// Ask the member that answered last, once.
    pub(crate) async fn ask<T, F>(
        &self,
        doing: &'static str,
        ask: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let member = self.current();
        let asked = self.ask_of(member, doing, ask).await;
        if let Err(Failure::InDoubt(_)) = asked {
            self.prefer((member + 1) % self.members.len());
        }
        asked
    }

    /// Ask this member, once.
    pub(crate) async fn ask_of<T, F>(
        &self,
        member: usize,
        doing: &'static str,
        ask: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let asked = timeout(PATIENCE, async { ask(self.client(member).await?).await });
        match asked.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(judge(doing, &error)),
            Err(_) => Err(Failure::InDoubt(format!("no answer in {} s", PATIENCE.as_secs()))),
        }
    }

    /// Ask until there is an answer, for what may be done more than once.
    pub(crate) async fn insist<T, F>(
        &self,
        doing: &'static str,
        limit: Duration,
        mut ask: impl FnMut(Client) -> F,
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

/// What an error of the client says of what was asked.
fn judge(doing: &'static str, error: &etcd_client::Error) -> Failure {
    let etcd_client::Error::GRpcStatus(status) = error else {
        return match error {
            etcd_client::Error::InvalidUri(_) | etcd_client::Error::InvalidArgs(_) => {
                Failure::Final(Error::Refused { doing, what: error.to_string() })
            }
            _ => Failure::InDoubt(error.to_string()),
        };
    };
    let what = status.message().to_string();
    // The numbers are those of gRPC's status codes.
    match status.code() as i32 {
        8 if what.contains("database space exceeded") => Failure::Final(Error::NoSpace),
        7 | 16 => Failure::Final(Error::Denied { doing, what }),
        3 if what.contains("auth") || what.contains("user") => {
            Failure::Final(Error::Denied { doing, what })
        }
        // Invalid argument, not found, failed precondition, out of range, unimplemented.
        3 | 5 | 9 | 11 | 12 => Failure::Final(Error::Refused { doing, what }),
        _ => Failure::InDoubt(what),
    }
}
