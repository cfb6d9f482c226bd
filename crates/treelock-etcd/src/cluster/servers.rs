//! The members of the cluster, and how one of them is asked.
//!
//! A member that does not answer in time is left for the next one. What it was asked may have been
//! done all the same, so whoever asks for a change must ask in a way that makes a second time
//! harmless; the protocol takes care of that.
//!
//! After a connection has failed, the next caller probes the member first (`probe.rs`): can it be
//! reached the way it was configured? If not, nothing is sent. So a final failure was certainly not
//! caused by something that this attempt did. It is final only if all members have such a fault,
//! because a cluster gets new certificates one member at a time.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use etcd_client::Client;
use tokio::time::timeout;

use super::{
    failure::{ANSWER_TIMEOUT, Failure, RETRY_INTERVAL, judge},
    member::{Member, Refusal},
};
use crate::{
    error::Error,
    options::{Setup, endpoint::Endpoint, tls::Secure},
    runtime::caller::{CallerConnection, CallerRuntimes, caller_runtime},
};

/// The members, and which of them answered last.
#[derive(Clone)]
pub(crate) struct Servers {
    members: Arc<[Member]>,
    /// An error says which option is wrong; there are no members then.
    secure: Arc<Result<Secure, String>>,
    current: Arc<AtomicUsize>,
    callers: CallerRuntimes,
}

impl Servers {
    pub(crate) fn new(endpoints: &[String], setup: Result<Setup, String>) -> Servers {
        let member = |text: &String| Member::new(text, setup.as_ref().ok()?);
        Servers {
            members: endpoints.iter().filter_map(member).collect(),
            secure: Arc::new(setup.map(|setup| setup.secure)),
            current: Arc::new(AtomicUsize::new(0)),
            callers: CallerRuntimes::default(),
        }
    }

    /// Returns a connection of the caller's own runtime to the member that answered last.
    ///
    /// `None` if the caller is in no runtime that can make calls, or is not connected yet.
    pub(crate) fn caller_connection(&self) -> Option<CallerConnection> {
        let runtime = caller_runtime()?;
        let current = self.current();
        let member = self.members.get(current)?;
        let connect = || member.connect();
        member.is_good().then(|| self.callers.connection(runtime, current, connect))?
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// Returns the number of the one that answered last.
    pub(crate) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed) % self.members.len().max(1)
    }

    /// Notes that this one has answered.
    pub(crate) fn prefer(&self, member: usize) {
        self.current.store(member % self.members.len().max(1), Ordering::Relaxed);
    }

    /// Returns the client of a member, connected.
    pub(crate) async fn client(&self, member: usize) -> Result<Arc<Client>, etcd_client::Error> {
        self.members[member % self.members.len()].client().await
    }

    /// Returns the address of a member, and the TLS settings for it.
    pub(crate) fn endpoint(&self, member: usize) -> Option<(&Endpoint, &Secure)> {
        Some((&self.members.get(member)?.endpoint, self.secure.as_ref().as_ref().ok()?))
    }

    /// Asks the member that answered last, once.
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

    /// Asks this member, once.
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
        match timeout(ANSWER_TIMEOUT, member.ask(secure, ask)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Refusal::Faulty(what))) => Err(self.judge_fault(member, what)),
            Ok(Err(Refusal::Error(error))) => Err(judge(doing, &error)),
            Err(_) => Err(Failure::late()),
        }
    }

    /// Judges the fault of one member: asking another may help, unless each has one.
    fn judge_fault(&self, member: &Member, what: String) -> Failure {
        let endpoint = &member.endpoint.url;
        match self.members.iter().all(Member::is_faulty) {
            true => Failure::Final(Error::Tls { endpoint: endpoint.clone(), what }),
            false => Failure::InDoubt(format!("{endpoint}: {what}")),
        }
    }

    /// Asks until there is an answer. Only for what may be done more than once.
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
                Err(Failure::InDoubt(_)) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }
}
