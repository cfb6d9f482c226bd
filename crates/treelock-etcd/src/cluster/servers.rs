//! The members of the cluster, and how to call one of them.
//!
//! If a member does not answer in time, the next one is asked. The first member may still have
//! carried out the call, so a call that changes something must be harmless when it is repeated. The
//! protocol takes care of that.
//!
//! After a connection has failed, the next caller first probes whether the member can be reached
//! the way it was configured (`probe.rs`). If not, nothing is sent. So after a final failure, this
//! attempt has certainly changed nothing. The failure is final only if all members have such a
//! fault, because a cluster gets new certificates one member at a time.

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
    /// The members, or an error that says which option is wrong.
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

    /// Returns a connection from the caller's own runtime to the member that answered last.
    ///
    /// Returns `None` if the caller is not in a runtime that can make calls, or is not connected
    /// yet.
    pub(crate) fn caller_connection(&self) -> Option<CallerConnection> {
        let runtime = caller_runtime()?;
        let current = self.current();
        let member = self.members.get(current)?;
        let connect = || member.connect();
        member.is_good().then(|| self.callers.connection(runtime, current, connect))?
    }

    /// Returns the number of members.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// Returns the index of the member that answered last.
    pub(crate) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed) % self.members.len().max(1)
    }

    /// Records that this member has answered.
    pub(crate) fn prefer(&self, member: usize) {
        self.current.store(member % self.members.len().max(1), Ordering::Relaxed);
    }

    /// Returns the connected client of a member.
    pub(crate) async fn client(&self, member: usize) -> Result<Arc<Client>, etcd_client::Error> {
        self.members[member % self.members.len()].client().await
    }

    /// Returns the address of a member and the TLS settings for it.
    pub(crate) fn endpoint(&self, member: usize) -> Option<(&Endpoint, &Secure)> {
        Some((&self.members.get(member)?.endpoint, self.secure.as_ref().as_ref().ok()?))
    }

    /// Calls the member that answered last, once.
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
            // Unless another task has found a better one meanwhile.
            let next = (member + 1) % self.members.len();
            let _ =
                self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        asked
    }

    /// Calls this member, once.
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

    /// Judges the fault of one member: asking another may help, unless every member has a fault.
    fn judge_fault(&self, member: &Member, what: String) -> Failure {
        let endpoint = &member.endpoint.url;
        match self.members.iter().all(Member::is_faulty) {
            true => Failure::Final(Error::Tls { endpoint: endpoint.clone(), what }),
            false => Failure::InDoubt(format!("{endpoint}: {what}")),
        }
    }

    /// Repeats a call until there is an answer. Only for calls that may be carried out more than
    /// once.
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
