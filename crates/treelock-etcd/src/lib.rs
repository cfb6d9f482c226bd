//! Read/write locks on whole sub-trees between machines, on etcd, with fencing tokens.
//!
//! ```no_run
//! use treelock_etcd::{EtcdLock, Options, treelock::Request};
//!
//! # async fn example() -> Result<(), treelock_etcd::Error> {
//! let lock = EtcdLock::new(&Options::new(["http://10.0.0.1:2379", "http://10.0.0.2:2379"]));
//! let request = Request::new().write("photos/2025")?.read("templates")?.with_label("import");
//! let guard = lock.acquire(&request).await?;
//! // As long as the lease lives, no other process of any machine is below photos/2025, and none
//! // writes below templates. Give `guard.token()` to the store with each write, and let the store
//! // refuse what is stale.
//! guard.release().await;
//! # Ok(())
//! # }
//! ```
//!
//! Code that blocks its threads writes [`.wait()`](Wait::wait) in place of `.await`.
//!
//! # The rule
//!
//! It is that of [`treelock`], between all handles of all processes: **a request waits exactly for
//! the earlier live requests that conflict with it, and is granted as soon as there are none.**
//! Requests, nodes, blockers and snapshots are the same values.
//!
//! # What a lease promises, and what only a token does
//!
//! A process that dies gives its locks back when its lease ends, at most [`Options::ttl`] later (15
//! seconds by default). In the other direction a lease promises little: a process that was paused
//! for longer, or cut off, may go on as if it held the lock. It learns of the loss
//! ([`Guard::lost`], [`Guard::is_valid`]) by its own clock before etcd gives the lock to somebody
//! else; but a write that it has sent before may arrive after that.
//!
//! So **a distributed lock alone protects nothing; a [fencing token](treelock::FencingToken)
//! does**, if the resource checks it: give [`Guard::token`] with each access, and let a
//! [`FenceGate`](treelock::FenceGate) there refuse what is stale. A page of its own explains this
//! at length: [`leases`]. Two examples pause a holder for longer than its lease lasts: `fenced_row`
//! with a row of a database, `fenced_object` with the conditional put of an object store.
//!
//! To lock whole folders of an object store, give the lock to a `LockedStore` of the crate
//! `treelock-object-store`, which takes any [`Engine`](treelock::engine::Engine); the example
//! `two_processes` does.
//!
//! # What happens when
//!
//! | | |
//! |---|---|
//! | a future is dropped, at any time | what it has, or may get, is given back in the background; those behind it go on |
//! | a guard is dropped | it is released in the background; [`Guard::release`] waits until etcd has confirmed that |
//! | a process dies | its locks are free when its lease ends |
//! | the member that was asked does not answer | another one is asked; what was sent twice is done at most once |
//! | no member answers | a request that asks gets [`Error::Unavailable`]; waiters go on waiting and holders go on holding until the lease may have ended: [`Error::Lost`], [`Guard::lost`] |
//! | somebody else ended the lease or took the lock away ([`EtcdLock::revoke`]) | [`Error::Lost`], [`Guard::lost`], as soon as etcd tells of it |
//! | etcd has no space | [`Error::NoSpace`]; releasing works |
//! | an option, or a certificate or its absence, is wrong | [`Error::Options`], [`Error::Tls`], at once |
//! | a certificate expires | connections stay; a process that must connect again is told as above, or loses the lease |
//! | a token of etcd expires | it is renewed with the password |
//! | etcd was restored from a backup | call [`EtcdLock::begin_epoch`] before the lock is used again |
//!
//! # Cost
//!
//! Asking is one transaction if nobody is in the way; releasing is another one. A waiter watches
//! the two latest of those in its way, so a release wakes those that wait for it and no others; and
//! tasks of one process tell each other without etcd. Everything that a process has to watch goes
//! through one stream.
//!
//! # Threads
//!
//! A thread of this crate talks to etcd and renews the lease, so an application that blocks its own
//! threads loses no lock. Any executor can poll the futures, and any thread can
//! [`wait`](Wait::wait) for them. A thread that drives an async runtime should not: its other tasks
//! would stand still, although the wait comes to its end.
//!
//! A `multi_thread` runtime of tokio gets connections of its own, over which it makes the call that
//! enters a request and the one that releases it. That saves the way to the thread and back. If a
//! call has no answer in two to three seconds, because the runtime's threads are busy or nobody
//! polls the future, the thread takes it over, and the runtime makes no calls for a minute. The
//! runtime should have I/O and timers (`enable_all`): in one without them a task panics once for
//! each [`EtcdLock`], and the thread does everything.
//!
//! # Building
//!
//! The build needs the protobuf compiler; the README says what to install. Numbers such as C20 in
//! comments refer to CONTRACT.md at the repository's root.

mod acquire;
mod ask;
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
pub use error::Error;
pub use guard::Guard;
pub use lock::EtcdLock;
pub use options::{Options, tls::Tls};
pub use treelock;
pub use treelock::Wait;

#[doc = include_str!("../LEASES.md")]
pub mod leases {}

/// The README's example is a test too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
