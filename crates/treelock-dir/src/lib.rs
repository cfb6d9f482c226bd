//! Read/write locks on whole sub-trees between the processes of one host: no server, no daemon, no
//! lease.
//!
//! The lock table is a directory, and the kernel's file locks say who is alive. So there is nothing
//! to install and nothing to tune, and a process that dies, however it dies, releases at once.
//!
//! ```
//! use treelock::{Request, Wait};
//! use treelock_dir::DirLock;
//!
//! # let scratch = tempfile::tempdir().unwrap();
//! # let path = scratch.path().join("locks");
//! let lock = DirLock::new(path);
//! let request = Request::new().write("photos/2025")?.read("templates")?.with_label("import");
//! let guard = lock.acquire(&request).wait()?; // in async code: .await?
//! // No process of this host is anywhere below photos/2025, and none writes below templates.
//! drop(guard);
//! # Ok::<(), treelock_dir::Error>(())
//! ```
//!
//! # The rule
//!
//! The rule is that of [`treelock`], between threads and processes alike: **a request waits exactly
//! for the earlier live requests that conflict with it, and is granted as soon as there are none.**
//! The requests, nodes, blockers and snapshots are the same types, and the verbs are the same; but
//! asking can fail ([`Error`]). Each verb returns a value that can be awaited, or waited for by a
//! thread with [`Wait`].
//!
//! # What happens when
//!
//! - *A holder or waiter dies, by any signal, at any instruction*: its place is free at once, and
//!   those behind it go on.
//! - *A holder's child inherited the lock* ([`Guard::inherit`]): it is held until the child has
//!   ended too.
//! - *A process is stopped while it holds*: it goes on holding.
//! - *A process is stopped within the microseconds in which it asks or looks*: all who ask wait for
//!   it, even those with a time-out. [`DirLock::check`] says so.
//! - *A process forks without `exec`*: the child asks for itself and cannot release what the parent
//!   holds. But until the child ends too, it keeps alive what the parent had open.
//! - *The disk is full*: a table that cannot grow refuses, and says so; releasing works.
//! - *The bytes of a stored request are damaged*: it counts as a write on `/` until its owner
//!   leaves.
//! - *The table is emptied or cut short in use*: requests are refused until those who use it have
//!   left.
//! - *The clock is changed*: nothing. Ages use the clock of the boot, and tokens go on from the
//!   last one.
//! - *The host restarts*: everything is free.
//! - *The table is removed while in use*: the next request makes a new one and does not see the old
//!   holders. These learn of it ([`Guard::lost`]), and tokens go on growing.
//!
//! # Fencing tokens
//!
//! A lock that outlives a process cannot stop a holder whose table was removed under it. So every
//! grant has a [`FencingToken`](treelock::FencingToken), larger than that of every earlier grant
//! that conflicts. Give it to the resource with each access, and let a
//! [`FenceGate`](treelock::FenceGate) there refuse what is stale.
//!
//! A token is the time in nanoseconds, or the last token plus one if that is more. So tokens go on
//! growing even after the directory was emptied by hand, unless the clock was set back too. To
//! empty it in good order, end those who use it, check that the clock is right (`treelock doctor`),
//! and remove the file.
//!
//! # Where
//!
//! - Safe: ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs, overlayfs (containers that mount the same
//!   directory share the lock).
//! - Refused, since several hosts may share them: NFS, SMB/CIFS, AFS, Ceph, 9P, Lustre, GFS2,
//!   OCFS2, GPFS, Coda.
//! - Allowed, with a remark by [`DirLock::check`]: FUSE and unknown file systems.
//!
//! Do not use a place that is cleaned by age, as `/tmp` often is: the cleaner removes what is in
//! use. Whoever may write the directory is trusted, and so is whoever may read the table, who can
//! keep all others from asking. So a new table may be read and written by those who may write its
//! directory, and by nobody else.
//!
//! Containers that share the directory share the locks, but the number of a process means something
//! only where that process is.
//!
//! Linux only, 4.11 or later: the locks are those of open file descriptions, which the library that
//! we use supports on Linux.
//!
//! # Cost
//!
//! A pair of acquire and release is nine system calls, and no file is made or removed: we measured
//! eight times a bare pair of flock(2). Asking reads the table, 256 bytes for each live request;
//! with 1,000 of them a pair takes eleven times as long. A table that a crowd has left is made
//! short again. A handle keeps up to 16 files open to use them again. Whoever waits sleeps in the
//! kernel, and a release wakes only those who waited for it last. For each ticket of another
//! process that somebody waits for, there is a sleeping thread until that ticket leaves.
//!
//! # When not to use it
//!
//! - One process: [`treelock`] is a hundred times faster.
//! - Several hosts: file locks end at the host.
//! - One file to guard and nothing above it: `flock(1)` is everywhere.

#[cfg(not(target_os = "linux"))]
compile_error!("treelock-dir needs Linux: its locks are those of open file descriptions");

mod acquire;
mod ask;
mod check;
mod directory;
mod engine;
mod error;
mod file;
mod format;
mod give_up;
mod guard;
mod holders;
mod kernel;
mod lock;
mod look;
mod lost;
mod site;
mod table;
mod turn;
mod watch;

pub use treelock;
pub use treelock::Wait;

pub use acquire::Acquire;
pub use error::Error;
pub use guard::Guard;
pub use lock::DirLock;

/// The README's example is a test too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
