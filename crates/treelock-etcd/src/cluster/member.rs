//! One member of the cluster, and what is known of its health.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use etcd_client::{Client, ConnectOptions};
use tokio::sync::OnceCell;

use super::{
    failure::{is_about_an_old_token, is_about_the_connection},
    probe::find_fault,
};
use crate::options::{Setup, endpoint::Endpoint, tls::Secure};

/// How long a fault counts towards "all members have one".
const FAULT_REMEMBERED: Duration = Duration::from_secs(5);

/// How long a member with a fault is not probed again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    options: ConnectOptions,
    /// Connected at the first use, so that a member that is down does not delay the others.
    client: OnceCell<Arc<Client>>,
    health: Mutex<Health>,
}

/// How the connection to a member went, the last time.
#[derive(Clone)]
enum Health {
    Good,
    /// It was closed or could not be made, and nobody has looked why.
    Suspect,
    /// The member cannot be reached the way it was configured. When that was seen.
    Faulty(String, Instant),
}

/// Why a member did not do what it was asked.
pub(super) enum Refusal {
    /// It was not asked, because of this fault.
    Faulty(String),
    Error(etcd_client::Error),
}

impl Member {
    /// Returns the member that a user has named so; `None` if the name is not valid.
    pub(super) fn new(text: &str, setup: &Setup) -> Option<Member> {
        let endpoint = Endpoint::read(text, setup.has_tls).ok()?;
        Some(Member {
            options: setup.of(&endpoint),
            endpoint,
            client: OnceCell::new(),
            health: Mutex::new(Health::Good),
        })
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_good(&self) -> bool {
        matches!(*self.health(), Health::Good)
    }

    /// Returns whether a fault was found a moment ago.
    pub(super) fn is_faulty(&self) -> bool {
        match &*self.health() {
            Health::Faulty(_, seen) => seen.elapsed() < FAULT_REMEMBERED,
            _ => false,
        }
    }

    /// Probes a member that is suspect; returns its fault. Nothing is sent while it has one.
    async fn fault(&self, secure: &Secure) -> Option<String> {
        {
            let mut health = self.health();
            match &*health {
                Health::Good => return None,
                Health::Faulty(what, seen) if seen.elapsed() < PROBE_INTERVAL => {
                    return Some(what.clone());
                }
                Health::Faulty(..) => {}
                // One task probes for all.
                Health::Suspect => *health = Health::Good,
            }
        }
        let fault = find_fault(&self.endpoint, secure).await;
        *self.health() = match &fault {
            Some(what) => Health::Faulty(what.clone(), Instant::now()),
            None => Health::Good,
        };
        fault
    }

    /// Asks it, once.
    pub(super) async fn ask<T, F>(
        &self,
        secure: &Secure,
        ask: impl FnOnce(Arc<Client>) -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        if let Some(what) = self.fault(secure).await {
            return Err(Refusal::Faulty(what));
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
            if is_about_the_connection(&error) {
                *self.health() = Health::Suspect;
            }
            Refusal::Error(error)
        })
    }

    /// Returns its client, connected.
    pub(super) async fn client(&self) -> Result<Arc<Client>, etcd_client::Error> {
        let connect = || async { self.connect().await.map(Arc::new) };
        self.client.get_or_try_init(connect).await.cloned()
    }

    /// Makes a connection of its own.
    pub(super) fn connect(
        &self,
    ) -> impl Future<Output = Result<Client, etcd_client::Error>> + Send + 'static {
        let (urls, options) = ([self.endpoint.url.clone()], self.options.clone());
        async move { Client::connect(urls, Some(options)).await }
    }
}
