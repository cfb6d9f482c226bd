//! Read/write locks on whole sub-trees between machines, on etcd, with fencing tokens.
//!
//! ```no_run
//! use treelock::Request;
//! use treelock_etcd::{EtcdLock, Options};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let lock = EtcdLock::new(&Options::new(["http://10.0.0.1:2379", "http://10.0.0.2:2379"]));
//! let request = Request::new().write("photos/2025")?.read("templates")?.label("import");
//! let guard = lock.acquire(&request).await?;
//! // No process of any machine is below photos/2025, and none writes below templates, as long as the lease
//! // lives. Give `guard.token()` to the store with each write, and let it refuse what is stale.
//! guard.release().await;
//! # Ok(())
//! # }
//! ```
//!
//! # The rule
//!
//! Is that of [`treelock`], between all handles of all processes: **a request waits exactly for the earlier live
//! requests that conflict with it, and is granted as soon as there are none.** Requests, nodes, blockers and
//! snapshots are the same values.
//!
//! # What a lease promises, and what only a token does
//!
//! A process that dies gives its locks back when its lease ends, at most [`Options::ttl`] later (15 seconds by
//! default). The other way round a lease promises little: a process that was paused for longer, or cut off,
//! may go on as if it held. It learns of the loss ([`Guard::lost`], [`Guard::is_valid`]) by its own clock before
//! etcd gives the lock to somebody else; but a write that it has sent before may arrive after that. So **a
//! distributed lock alone protects nothing; a [fencing token](treelock::FencingToken) does**, if the resource
//! checks it: give [`Guard::token`] with each access, and let a [`FenceGate`](treelock::FenceGate) there refuse
//! what is stale. A page of its own says it at length: [`leases`]. Two examples pause a holder for longer than its lease lasts: `fenced_row` with a row of a
//! database, `fenced_object` with the conditional put of an object store.
//!
//! For whole folders of an object store, give the lock to a `LockedStore` of the crate `treelock-object-store`,
//! which takes any [`Engine`](treelock::Engine); the example `two_processes` does.
//!
//! # What happens when
//!
//! | | |
//! |---|---|
//! | a future is dropped, at any time | what it has, or may get, is given back in the background; those behind go on |
//! | a guard is dropped | released in the background; [`Guard::release`] waits for etcd's word |
//! | a process dies | its locks are free when its lease ends |
//! | the member that was asked does not answer | another is asked; what was sent twice is done at most once |
//! | no member answers | [`Error::Unavailable`] to who asks; who waits goes on waiting, and who holds goes on holding, until the lease may have ended: [`Error::Lost`], [`Guard::lost`] |
//! | the lease was ended by others, or the lock taken away ([`EtcdLock::revoke`]) | [`Error::Lost`], [`Guard::lost`], as soon as etcd tells of it |
//! | etcd has no space | [`Error::NoSpace`]; releasing works |
//! | an option is wrong, or a certificate or its absence | [`Error::Options`], [`Error::Tls`], at once |
//! | a certificate expires | connections stay; who has to connect anew is told as above, or loses the lease |
//! | a token of etcd expires | it is renewed with the password |
//! | etcd was restored from a backup | [`EtcdLock::begin_epoch`], before the lock is used again |
//!
//! # Cost
//!
//! Asking is one transaction where nobody is in the way, releasing another. A waiter watches the two latest of
//! those in its way, so a release wakes those that wait for it and no others; and tasks of one process tell each
//! other without etcd. All that a process has to watch goes through one stream.
//!
//! # Threads
//!
//! A thread of this crate talks to etcd and renews the lease, so an application that blocks its own threads
//! loses no lock. The futures can be polled by any executor, and [`EtcdLock::blocking`] has the same verbs for code without one.
//!
//! A `multi_thread` runtime of tokio gets connections of its own, over which it makes the call that enters a request
//! and the one that releases it. That spares both the way to the thread and back. What has no answer in two to three
//! seconds, because the runtime's threads are busy or nobody polls the future, the thread goes on with, and such a
//! runtime is left alone for a minute. It should have I/O and timers (`enable_all`): in one without them a task panics
//! once for each [`EtcdLock`], and the thread does everything.
//!
//! # Building
//!
//! The client library generates code: `apt-get install protobuf-compiler libprotobuf-dev`, or the like.

mod acquire;
mod ask;
mod blocking;
mod call;
mod check;
mod clock;
mod cluster;
mod engine;
mod enter;
mod error;
mod guard;
mod key;
mod leave;
mod live;
mod lock;
mod look;
mod namespace;
mod options;
mod pool;
mod protocol;
mod revoke;
mod runtime;
mod session;
mod shared;
mod turn;
mod value;
mod wait;
mod wire;

pub use acquire::Acquire;
pub use blocking::Blocking;
pub use error::Error;
pub use guard::Guard;
pub use lock::EtcdLock;
pub use options::{Options, tls::Tls};

#[doc = include_str!("../LEASES.md")]
pub mod leases {}

/// The README's example is a test too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
