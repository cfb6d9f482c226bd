//! Runtimes of the application that can make calls by themselves.
//!
//! Whoever asks etcd by this crate's thread hands it the question and is woken with the answer: two threads have to
//! wake up that were asleep, for each call. A tokio runtime of several threads, a *guest*, is spared that for the two
//! calls of a lock that nobody is in the way of: they go over a connection of the guest's own, which its threads
//! drive. All else is done by our thread, and so is what a guest does not bring to an end (`flight.rs`).
//!
//! A runtime of one thread is no guest: it drives nothing while that thread does something else.

use std::{
    collections::HashMap,
    future::{Future, pending},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use etcd_client::{Client, Error};
use tokio::{
    runtime::{Handle, Id, RuntimeFlavor},
    task::JoinHandle,
};

use crate::runtime::foreign;

/// How long a guest is left alone after a call of his has failed.
const REST: Duration = Duration::from_secs(60);

/// The guests of one lock.
#[derive(Clone, Default)]
pub(crate) struct Guests(Arc<Mutex<Vec<Guest>>>);

struct Guest {
    runtime: Handle,
    /// Ends when the runtime does.
    resident: JoinHandle<()>,
    links: Links,
    /// When a call has failed.
    failed: Option<Instant>,
    /// It was built without I/O or timers.
    is_unable: bool,
}

/// By the number of the member.
type Links = HashMap<usize, Link>;

/// What there is of a connection to a member.
enum Link {
    Begun(JoinHandle<Result<Client, Error>>),
    Made(Arc<Client>),
}

/// A connection of a guest.
pub(crate) struct Here {
    pub(crate) client: Arc<Client>,
    guests: Guests,
    runtime: Id,
}

impl Here {
    /// A call has failed: the guest is left alone for a while, and connects anew then.
    pub(crate) fn has_failed(&self) {
        let mut guests = self.guests.lock();
        let guest = guests.iter_mut().find(|guest| guest.runtime.id() == self.runtime);
        let links = guest.map(Guest::fail);
        // Not under the lock.
        drop(guests);
        drop(links);
    }
}

impl Guests {
    fn lock(&self) -> MutexGuard<'_, Vec<Guest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection of the runtime that this is called in to a member; `None` if there is none, or none yet: one
    /// is begun then.
    pub(crate) fn here<F>(&self, member: usize, connect: impl FnOnce() -> F) -> Option<Here>
    where
        F: Future<Output = Result<Client, Error>> + Send + 'static,
    {
        let runtime = foreign()?;
        if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
            return None;
        }
        let id = runtime.id();
        // Dropped when nothing is locked any more.
        let (mut ended, mut links) = (Vec::new(), Links::new());
        let mut guests = self.lock();
        let index = match guests.iter().position(|guest| guest.runtime.id() == id) {
            Some(known) => known,
            None => {
                ended.extend(guests.extract_if(.., |guest| guest.resident.is_finished()));
                guests.push(Guest::new(runtime));
                guests.len() - 1
            }
        };
        let client = guests[index].client(member, connect, &mut links);
        drop(guests);
        Some(Here { client: client?, guests: self.clone(), runtime: id })
    }
}

impl Guest {
    fn new(runtime: Handle) -> Guest {
        let resident = runtime.spawn(pending());
        Guest { runtime, resident, links: Links::new(), failed: None, is_unable: false }
    }

    /// Puts what it gives up into `old`.
    fn client<F>(
        &mut self,
        member: usize,
        connect: impl FnOnce() -> F,
        old: &mut Links,
    ) -> Option<Arc<Client>>
    where
        F: Future<Output = Result<Client, Error>> + Send + 'static,
    {
        if self.is_unable || self.failed.is_some_and(|failed| failed.elapsed() < REST) {
            return None;
        }
        let Some(link) = self.links.get_mut(&member) else {
            // What drives a connection is the runtime in which it is made.
            self.links.insert(member, Link::Begun(self.runtime.spawn(connect())));
            return None;
        };
        let begun = match link {
            Link::Made(client) => return Some(client.clone()),
            Link::Begun(begun) => begun,
        };
        match Pin::new(begun).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => None,
            Poll::Ready(Ok(Ok(client))) => {
                let client = Arc::new(client);
                *link = Link::Made(client.clone());
                Some(client)
            }
            Poll::Ready(made) => {
                self.is_unable = made.is_err_and(|error| error.is_panic());
                *old = self.fail();
                None
            }
        }
    }

    /// Returns what it had.
    fn fail(&mut self) -> Links {
        self.failed = Some(Instant::now());
        mem::take(&mut self.links)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.resident.abort();
    }
}
