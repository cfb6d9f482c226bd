//! Read/write locks on whole sub-trees, shared between machines through etcd, with fencing tokens.
//!
//! ```no_run
//! use treelock_etcd::{EtcdLock, Options, treelock::Request};
//!
//! # async fn example() -> Result<(), treelock_etcd::Error> {
//! let lock = EtcdLock::new(&Options::new(["http://10.0.0.1:2379", "http://10.0.0.2:2379"]));
//! let request = Request::new().write("photos/2025")?.read("templates")?.with_label("import");
//! let guard = lock.acquire(&request).await?;
//! // While the lease lives, no other process on any machine is below photos/2025, and none writes
//! // below templates. Send `guard.token()` to the store with each write, and let the store reject
//! // stale tokens.
//! guard.release().await;
//! # Ok(())
//! # }
//! ```
//!
//! Blocking code writes [`.wait()`](Wait::wait) instead of `.await`.
//!
//! # The rule
//!
//! The rule is that of [`treelock`], and holds between all handles of all processes: **a request
//! waits exactly for the earlier live requests that conflict with it, and is granted as soon as
//! there are none.** Requests, nodes, blockers and snapshots are the same types.
//!
//! # What a lease promises, and what needs a token
//!
//! When a process dies, its locks are released when its lease ends, at most [`Options::ttl`] later
//! (15 seconds by default). In the other direction a lease promises little: a process that was
//! paused for longer, or cut off, may go on as if it held the lock. By its own clock it learns of
//! the loss ([`Guard::lost`], [`Guard::is_valid`]) before etcd gives the lock to another request.
//! But a write that it sent earlier may still arrive after that.
//!
//! So **a distributed lock alone protects nothing; a [fencing token](treelock::FencingToken)
//! does**, if the resource checks it: send [`Guard::token`] with each access, and let a
//! [`FenceGate`](treelock::FenceGate) there reject stale tokens. The page [`leases`] explains this
//! at length. Two examples pause a holder for longer than its lease lasts: `fenced_row` protects a
//! row of a database, `fenced_object` an object, by the object store's conditional put.
//!
//! To lock whole folders of an object store, give the lock to a `LockedStore` of the crate
//! `treelock-object-store`, which takes any [`Engine`](treelock::engine::Engine). The example
//! `two_processes` does so.
//!
//! # What happens in each case
//!
//! | | |
//! |---|---|
//! | a future is dropped, at any time | whatever it has, or may still get, is given back in the background; the requests behind it proceed |
//! | a guard is dropped | its lock is released in the background; [`Guard::release`] waits until etcd has confirmed the release |
//! | a process dies | its locks are free when its lease ends |
//! | the member that was asked does not answer | another member is asked; a call that is sent twice takes effect at most once |
//! | no member answers | a new request gets [`Error::Unavailable`]; waiters keep waiting and holders keep holding until the lease may have ended: [`Error::Lost`], [`Guard::lost`] |
//! | the lease is ended from outside, or the lock is taken away ([`EtcdLock::revoke`]) | [`Error::Lost`], [`Guard::lost`], as soon as etcd reports it |
//! | etcd is out of space | [`Error::NoSpace`]; releasing still works |
//! | an option, or a certificate or its absence, is wrong | [`Error::Options`], [`Error::Tls`], at once |
//! | a certificate expires | open connections stay; a process that must reconnect gets the error above, or loses its lease |
//! | a token of etcd expires | it is renewed with the password |
//! | etcd was restored from a backup | call [`EtcdLock::begin_epoch`] before the lock is used again |
//!
//! # Cost
//!
//! A request is one transaction if nothing is in its way; a release is another one. A waiter
//! watches the two latest of the requests in its way, so a release wakes only the requests that
//! wait for it. Tasks of one process notify each other without etcd. Everything that a process
//! watches goes through one stream.
//!
//! # Threads
//!
//! A thread of this crate talks to etcd and renews the lease, so an application that blocks its own
//! threads loses no lock. Any executor can poll the futures, and any thread can
//! [`wait`](Wait::wait) for them. A thread that drives an async runtime should not: the runtime's
//! other tasks would stall, although the wait does end.
//!
//! A `multi_thread` runtime of tokio gets its own connections. Over these it makes the call that
//! enters a request and the call that releases it, which saves the trip to the thread and back. If
//! a call has no answer within two to three seconds, because the runtime's threads are busy or the
//! future is not polled, the thread takes the call over, and the runtime makes no calls for a
//! minute. The runtime should have I/O and timers (`enable_all`). In a runtime without them a task
//! panics once for each [`EtcdLock`], and the thread makes all calls.
//!
//! # Building
//!
//! The build needs the protobuf compiler; the README says what to install. Numbers such as C20 in
//! comments refer to the repository's CONTRACT.md.

mod acquire;
mod ask;
mod call;
mod check;
mod clock;
mod cluster;
mod engine;
mod enter;
mod error;
mod events;
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

/// Runs the README's examples as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
