//! Runtimes of the application that can make calls by themselves: [`CallerRuntimes`].
//!
//! Asking etcd by this crate's thread means handing it the question and being woken with the
//! answer: for each call, two threads that were asleep must wake up. A tokio runtime of several
//! threads is spared that for the two calls of a lock that nobody is in the way of. They go over a
//! connection of the runtime's own, which its threads drive. Our thread does everything else, and
//! also takes over what such a runtime does not bring to an end (`call.rs`).
//!
//! A `current_thread` runtime makes no calls: it has no thread of its own that would drive a
//! connection.

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

use super::thread::foreign;

/// How long a runtime makes no calls after one of its calls has failed.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Returns the runtime in which this is called, if it is not ours and has threads of its own.
pub(crate) fn caller_runtime() -> Option<Handle> {
    foreign().filter(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Panics in a runtime that has no timers or no I/O, because there is no other way to find out.
/// Otherwise a task of the client library would panic, at each call.
async fn try_out() {
    tokio::time::sleep(Duration::ZERO).await;
    // Whether a socket is to be had is not the question.
    let _ = UnixStream::pair();
}

/// The runtimes that make calls for one lock.
#[derive(Clone, Default)]
pub(crate) struct CallerRuntimes(Arc<Mutex<Vec<CallerRuntime>>>);

struct CallerRuntime {
    runtime: Handle,
    /// A task that ends when the runtime does.
    resident: JoinHandle<()>,
    links: Links,
    /// When a call has failed.
    failed: Option<Instant>,
    /// The runtime was built without I/O or timers.
    is_unable: bool,
}

/// Connections, by the number of the member.
type Links = HashMap<usize, Link>;

/// How far a connection to a member is.
enum Link {
    Begun(JoinHandle<Result<Client, Error>>),
    Made(Arc<Client>),
}

/// A connection that the caller's runtime drives.
pub(crate) struct CallerConnection {
    pub(crate) client: Arc<Client>,
    callers: CallerRuntimes,
    runtime: Id,
}

impl CallerConnection {
    /// Notes that a call has failed: the runtime makes none for a while, and connects anew then.
    pub(crate) fn has_failed(&self) {
        let mut callers = self.callers.lock();
        let caller = callers.iter_mut().find(|caller| caller.runtime.id() == self.runtime);
        let links = caller.map(CallerRuntime::fail);
        // Closed when the mutex is free.
        drop(callers);
        drop(links);
    }
}

impl CallerRuntimes {
    fn lock(&self) -> MutexGuard<'_, Vec<CallerRuntime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection of a runtime to a member. If there is none yet, begins one and
    /// returns `None`.
    pub(crate) fn connection<F>(
        &self,
        runtime: Handle,
        member: usize,
        connect: impl FnOnce() -> F,
    ) -> Option<CallerConnection>
    where
        F: Future<Output = Result<Client, Error>> + Send + 'static,
    {
        let id = runtime.id();
        // Dropped when the mutex is free.
        let (mut ended, mut links) = (Vec::new(), Links::new());
        let mut callers = self.lock();
        let index = match callers.iter().position(|caller| caller.runtime.id() == id) {
            Some(known) => known,
            None => {
                ended.extend(callers.extract_if(.., |caller| caller.resident.is_finished()));
                callers.push(CallerRuntime::new(runtime));
                callers.len() - 1
            }
        };
        let client = callers[index].client(member, connect, &mut links);
        drop(callers);
        Some(CallerConnection { client: client?, callers: self.clone(), runtime: id })
    }
}

impl CallerRuntime {
    fn new(runtime: Handle) -> CallerRuntime {
        let resident = runtime.spawn(pending());
        let links = Links::new();
        CallerRuntime { runtime, resident, links, failed: None, is_unable: false }
    }

    /// Returns its client for a member. What it gives up is put into `old`.
    fn client<F>(
        &mut self,
        member: usize,
        connect: impl FnOnce() -> F,
        old: &mut Links,
    ) -> Option<Arc<Client>>
    where
        F: Future<Output = Result<Client, Error>> + Send + 'static,
    {
        let rests = self.failed.is_some_and(|failed| failed.elapsed() < REST_AFTER_FAILURE);
        if self.is_unable || rests {
            return None;
        }
        let Some(link) = self.links.get_mut(&member) else {
            let connecting = connect();
            // A connection is driven by the runtime in which it is made.
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

    /// Begins its rest; returns the connections that it had.
    fn fail(&mut self) -> Links {
        self.failed = Some(Instant::now());
        mem::take(&mut self.links)
    }
}

impl Drop for CallerRuntime {
    fn drop(&mut self) {
        self.resident.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    /// Asks for a connection until it is made or has failed; returns whether it was made, and
    /// whether the runtime is able to.
    fn connected(callers: &CallerRuntimes, runtime: &Handle) -> (bool, bool) {
        loop {
            let connect = || Client::connect(["http://127.0.0.1:1"], None);
            let connection = callers.connection(runtime.clone(), 0, connect);
            let known = callers.lock();
            let caller = known.iter().find(|caller| caller.runtime.id() == runtime.id());
            let caller = caller.expect("it has asked");
            if connection.is_some() || caller.failed.is_some() {
                return (connection.is_some(), !caller.is_unable);
            }
            drop(known);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_runtime_without_sockets_or_timers_is_tried_once() {
        let callers = CallerRuntimes::default();
        let builder = || {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1);
            builder
        };
        let able = builder().enable_all().build().expect("threads");
        assert_eq!(connected(&callers, able.handle()), (true, true));
        let unable =
            [builder().build(), builder().enable_io().build(), builder().enable_time().build()];
        for runtime in unable {
            let runtime = runtime.expect("threads");
            assert_eq!(connected(&callers, runtime.handle()), (false, false));
        }
    }

    /// It makes no calls for a while, and closes what it had.
    #[test]
    fn a_runtime_whose_call_has_failed() {
        let callers = CallerRuntimes::default();
        let runtime = Builder::new_multi_thread().enable_all().build().expect("threads");
        assert_eq!(connected(&callers, runtime.handle()), (true, true));
        let connect = || Client::connect(["http://127.0.0.1:1"], None);
        let connection =
            callers.connection(runtime.handle().clone(), 0, connect).expect("it is connected");
        connection.has_failed();
        assert!(callers.connection(runtime.handle().clone(), 0, connect).is_none());
        assert!(callers.lock()[0].links.is_empty());
        // A minute later.
        callers.lock()[0].failed = Instant::now().checked_sub(REST_AFTER_FAILURE);
        assert!(callers.connection(runtime.handle().clone(), 0, connect).is_none());
        assert_eq!(callers.lock()[0].links.len(), 1);
        // Runtimes that have ended are forgotten when another one comes.
        drop(runtime);
        let other = Builder::new_multi_thread().enable_all().build().expect("threads");
        assert_eq!(connected(&callers, other.handle()), (true, true));
        assert_eq!(callers.lock().len(), 1);
    }
}
