//! Connections to the members, and who drives them.
//!
//! Those of this crate's own thread serve everybody, but whoever asks over them hands each question to that thread
//! and is woken with the answer: two threads have to wake up that were asleep. Who asks in a tokio runtime of
//! several threads is spared that. For such a runtime, a *guest*, there are connections of its own, which its
//! threads drive.
//!
//! Others are served by our thread: a runtime of one thread drives nothing while that thread does something else,
//! and may have no thread at all. A guest may fail, too: it may have been built without I/O, have ended, or have
//! threads that do not come to it. So whatever is in doubt over its connections is asked again over ours, and for a
//! while nothing is asked over those.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use etcd_client::{Client, ConnectOptions, Error};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::OnceCell,
    task::JoinHandle,
};

/// How long a guest is left alone after something was in doubt.
const REST: Duration = Duration::from_secs(60);

/// Returns the runtime of whoever calls this, if it has threads that drive it whatever this one does.
pub(crate) fn driven() -> Option<Handle> {
    let runtime = Handle::try_current().ok()?;
    (runtime.runtime_flavor() == RuntimeFlavor::MultiThread).then_some(runtime)
}

/// The clients of one runtime, one for each member.
pub(crate) struct Clients {
    /// Connected at the first use, so that a member that is down does not keep us from the others.
    connected: Box<[Arc<OnceCell<Arc<Client>>>]>,
    /// Whose they are, if not our thread's.
    guest: Option<Guest>,
}

struct Guest {
    runtime: Handle,
    /// Ends when the runtime does.
    resident: JoinHandle<()>,
    in_doubt: Mutex<Option<Instant>>,
}

impl Guest {
    fn new(runtime: Handle) -> Guest {
        Guest { resident: runtime.spawn(pending()), runtime, in_doubt: Mutex::default() }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.resident.abort();
    }
}

impl Clients {
    /// Those of our thread.
    pub(crate) fn ours(members: usize) -> Clients {
        Clients { connected: (0..members).map(|_| Arc::default()).collect(), guest: None }
    }

    /// The client of a member.
    pub(crate) async fn get(
        &self,
        member: usize,
        url: &str,
        options: &ConnectOptions,
    ) -> Result<Arc<Client>, Error> {
        let cell = &self.connected[member];
        if let Some(client) = cell.get() {
            return Ok(client.clone());
        }
        let (cell, url, options) = (cell.clone(), url.to_owned(), options.clone());
        let connecting = async move {
            let connect = || async { Client::connect([url], Some(options)).await.map(Arc::new) };
            cell.get_or_try_init(connect).await.cloned()
        };
        // In a task, since others wait for it too, and who asks may stop to poll. The runtime in which a connection
        // is made is the one that drives it.
        let connecting = match &self.guest {
            None => tokio::spawn(connecting),
            Some(guest) => guest.runtime.spawn(connecting),
        };
        connecting.await.unwrap_or_else(|error| Err(Error::IoError(io::Error::other(error))))
    }

    pub(crate) fn are_fit(&self) -> bool {
        let Some(guest) = &self.guest else { return true };
        let in_doubt = guest.in_doubt.lock().unwrap_or_else(PoisonError::into_inner);
        in_doubt.is_none_or(|since| since.elapsed() >= REST)
    }

    /// Something that was asked over them is in doubt. Ours are all that there is then.
    pub(crate) fn doubt(&self) {
        if let Some(guest) = &self.guest {
            let mut in_doubt = guest.in_doubt.lock().unwrap_or_else(PoisonError::into_inner);
            *in_doubt = Some(Instant::now());
        }
    }
}

/// The runtimes that have asked, with their clients.
#[derive(Default)]
pub(crate) struct Guests(Mutex<Vec<Arc<Clients>>>);

impl Guests {
    /// The clients of a runtime.
    pub(crate) fn clients(&self, runtime: Handle, members: usize) -> Arc<Clients> {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |guest: &Guest| guest.runtime.id() == runtime.id();
        if let Some(known) = guests.iter().find(|known| known.guest.as_ref().is_some_and(is_it)) {
            return known.clone();
        }
        let has_ended = |guest: &Guest| guest.resident.is_finished();
        guests.retain(|known| !known.guest.as_ref().is_some_and(has_ended));
        let guest = Some(Guest::new(runtime));
        let clients = Arc::new(Clients { guest, ..Clients::ours(members) });
        guests.push(clients.clone());
        clients
    }
}
