//! Runtimes of the application that can make calls by themselves.
//!
//! Whoever asks etcd by this crate's thread hands it the question and is woken with the answer: two threads have to
//! wake up that were asleep, for each call. A tokio runtime of several threads, a *guest*, is spared that for the two
//! calls of a lock that nobody is in the way of: they go over a connection of the guest's own, which its threads
//! drive. All else is done by our thread, and so is what a guest does not bring to an end (`flight.rs`).
//!
//! A `current_thread` runtime is no guest: it has no thread of its own that would drive anything.

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
    net::UnixStream,
    runtime::{Handle, Id, RuntimeFlavor},
    task::JoinHandle,
};

use crate::runtime::foreign;

/// The runtime in which this is called, if it is not ours and has threads of its own.
pub(crate) fn driven() -> Option<Handle> {
    foreign().filter(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Panics in a runtime that has no timers or no I/O: there is no other way to ask. Else a task of the client library
/// would panic, at each call.
async fn try_out() {
    tokio::time::sleep(Duration::ZERO).await;
    // Whether there are sockets to be had is not the question.
    let _ = UnixStream::pair();
}

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

    /// The connection of a runtime to a member; `None` if there is none, or none yet: one is begun then.
    pub(crate) fn here<F>(
        &self,
        runtime: Handle,
        member: usize,
        connect: impl FnOnce() -> F,
    ) -> Option<Here>
    where
        F: Future<Output = Result<Client, Error>> + Send + 'static,
    {
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
            let connecting = connect();
            // What drives a connection is the runtime in which it is made.
            let link = self.runtime.spawn(async move {
                try_out().await;
                connecting.await
            });
            self.links.insert(member, Link::Begun(link));
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

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    /// Asks for a connection until it is known what comes of it; returns that and whether the runtime is able.
    fn connected(guests: &Guests, runtime: &Handle) -> (bool, bool) {
        loop {
            let connect = || Client::connect(["http://127.0.0.1:1"], None);
            let here = guests.here(runtime.clone(), 0, connect);
            let known = guests.lock();
            let guest = known.iter().find(|guest| guest.runtime.id() == runtime.id());
            let guest = guest.expect("it has asked");
            if here.is_some() || guest.failed.is_some() {
                return (here.is_some(), !guest.is_unable);
            }
            drop(known);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn who_has_no_sockets_or_timers_is_asked_once() {
        let guests = Guests::default();
        let builder = || {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1);
            builder
        };
        let able = builder().enable_all().build().expect("threads");
        assert_eq!(connected(&guests, able.handle()), (true, true));
        let unable =
            [builder().build(), builder().enable_io().build(), builder().enable_time().build()];
        for runtime in unable {
            let runtime = runtime.expect("threads");
            assert_eq!(connected(&guests, runtime.handle()), (false, false));
        }
    }

    /// It is left alone for a while, with what it had.
    #[test]
    fn a_guest_that_has_failed() {
        let guests = Guests::default();
        let runtime = Builder::new_multi_thread().enable_all().build().expect("threads");
        assert_eq!(connected(&guests, runtime.handle()), (true, true));
        let connect = || Client::connect(["http://127.0.0.1:1"], None);
        let here = guests.here(runtime.handle().clone(), 0, connect).expect("it is connected");
        here.has_failed();
        assert!(guests.here(runtime.handle().clone(), 0, connect).is_none());
        assert!(guests.lock()[0].links.is_empty());
        // A minute later.
        guests.lock()[0].failed = Instant::now().checked_sub(REST);
        assert!(guests.here(runtime.handle().clone(), 0, connect).is_none());
        assert_eq!(guests.lock()[0].links.len(), 1);
        // Those that have ended are forgotten when another comes.
        drop(runtime);
        let other = Builder::new_multi_thread().enable_all().build().expect("threads");
        assert_eq!(connected(&guests, other.handle()), (true, true));
        assert_eq!(guests.lock().len(), 1);
    }
}
