//! Read/write locks on whole sub-trees, with the engine chosen at run time by one text.
//!
//! "Memory in tests, a directory on my machine, etcd in production" is one program and one setting:
//!
//! | text | lock | feature |
//! |---|---|---|
//! | `memory:` | in the memory of this process | always |
//! | `dir:/var/lib/app/locks`, `dir:locks` | of all processes of one host | `dir` (default) |
//! | `etcd://a:2379,b:2379/builds?ttl=15s` | between machines | `etcd` |
//!
//! [`AnyLock`] has the verbs that every engine has, with the same names, and each returns a value
//! that can be awaited, or waited for by a thread with [`Wait`]:
//!
//! ```
//! use std::time::Duration;
//! use treelock_any::{AnyLock, Error, Wait, treelock::Request};
//!
//! fn import(lock: &AnyLock) -> Result<(), Error> {
//!     let request = Request::new().write("photos/2025")?.with_label("import");
//!     let mut acquire = lock.acquire(&request);
//!     let guard = loop {
//!         match acquire.wait_timeout(Duration::from_secs(5)) {
//!             Some(granted) => break granted?,
//!             // The place in the line is kept meanwhile.
//!             None => match acquire.blocked().wait()? {
//!                 Some(blocked) => eprintln!("still waiting: {blocked}"),
//!                 None => {}
//!             },
//!         }
//!     };
//!     println!("write with token {}", guard.token());
//!     guard.release().wait();
//!     Ok(())
//! }
//!
//! import(&AnyLock::open("memory:")?)?;
//! # Ok::<(), Error>(())
//! ```
//!
//! # What all have in common, and what they do not
//!
//! Code that is written for `memory:` is correct on a cluster only if it expects what can happen
//! there: asking can fail ([`Error`]), and a lock can be lost while it is held
//! ([`Guard::is_valid`], [`Guard::lost`]). **Only a fencing token protects** what a lock on a
//! cluster guards: give [`Guard::token`] with each write to the resource, which refuses one that is
//! too low ([`FenceGate`](treelock::FenceGate)). In memory and on one host a lock ends with its
//! process; on a cluster it ends when the lease does.
//!
//! What only one engine has is reached by [`AnyLock::downcast_ref`] and [`Guard::downcast_ref`].
//!
//! # When not to use it
//!
//! - The engine never changes: use [`TreeLock`](treelock::TreeLock), `DirLock` or `EtcdLock`
//!   itself.
//! - The engine is known when the program is compiled: be generic over
//!   [`Engine`](treelock::engine::Engine). This crate costs an allocation for each request and each
//!   guard.
//!
//! The numbers C1, C2 and so on in comments are those of the repository's CONTRACT.md.
//!
//! # Passwords
//!
//! A text may hold a password. It is in no `Display`, no `Debug` and no error of this crate. A file
//! (`password-file`) or a variable (`password-env`) is the better place for one.

mod acquire;
mod address;
mod address_error;
mod error;
mod escape;
mod guard;
mod lock;
mod open;
mod parse;
#[cfg(feature = "etcd")]
mod password;

pub use treelock;
pub use treelock::Wait;
#[cfg(feature = "dir")]
pub use treelock_dir;
#[cfg(feature = "etcd")]
pub use treelock_etcd;

pub use crate::{
    acquire::Acquire,
    address::{Address, EtcdAddress, Password},
    address_error::AddressError,
    error::{EngineFailure, Error},
    guard::Guard,
    lock::AnyLock,
};

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
