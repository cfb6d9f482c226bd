//! Read/write locks on whole sub-trees, shared by the processes of one host: no server, no daemon,
//! no lease.
//!
//! The lock table is kept in a directory, and the kernel's file locks tell which processes are
//! alive. So there is nothing to install and nothing to tune, and a process that dies, in whatever
//! way, releases its locks at once.
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
//! // No process on this host is anywhere below photos/2025, and none writes below templates.
//! drop(guard);
//! # Ok::<(), treelock_dir::Error>(())
//! ```
//!
//! # The rule
//!
//! The rule is that of [`treelock`], across threads and processes alike: **a request waits exactly
//! for the earlier live requests that conflict with it, and is granted as soon as there are none.**
//! The requests, nodes, blockers and snapshots are the same types, and the verbs are the same,
//! except that they can fail ([`Error`]). Await what a verb returns, or let a thread wait for it
//! with [`Wait`].
//!
//! # What happens when something fails
//!
//! - *A holder or waiter dies, by any signal, at any instruction*: its place is free at once, and
//!   the requests behind it proceed.
//! - *A holder's child inherited the lock* ([`Guard::inherit`]): the lock is held until the child
//!   has ended too.
//! - *A process is stopped while it holds a lock*: it keeps the lock.
//! - *A process is stopped during the microseconds in which it makes a request or reads the table*:
//!   all other requests wait for it, even those with a timeout. [`DirLock::check`] reports this.
//! - *A process forks without `exec`*: the child makes requests of its own and cannot release what
//!   the parent holds. But until the child ends too, it keeps alive whatever the parent had open.
//! - *The disk is full*: a table that cannot grow refuses requests with an error that says so;
//!   releasing still works.
//! - *The bytes of a stored request are damaged*: it counts as a write on `/` until its owner
//!   leaves.
//! - *The table is emptied or cut short while in use*: requests are refused until its users have
//!   left.
//! - *The clock is changed*: nothing happens. Ages use the time since boot, and tokens continue
//!   from the last one.
//! - *The host restarts*: everything is free.
//! - *The table is removed while in use*: the next request creates a new one and does not see the
//!   old holders. They are notified ([`Guard::lost`]), and tokens keep growing.
//!
//! # Fencing tokens
//!
//! A lock that outlives a process cannot stop a holder whose table was removed while it held the
//! lock. So every grant has a [`FencingToken`](treelock::FencingToken), which is larger than that
//! of every earlier grant that conflicts. Pass it to the resource with each access, and let a
//! [`FenceGate`](treelock::FenceGate) there refuse stale accesses.
//!
//! A token is the time in nanoseconds, or the last token plus one if that is larger. So tokens keep
//! growing even after the directory was emptied by hand, unless the clock was set back too. To
//! empty the directory safely, end the processes that use it, check that the clock is right
//! (`treelock doctor`), and remove the file.
//!
//! # Where to keep the table
//!
//! - Safe: ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs, overlayfs (containers that mount the same
//!   directory share the lock).
//! - Refused, since several hosts may share them: NFS, SMB/CIFS, AFS, Ceph, 9P, Lustre, GFS2,
//!   OCFS2, GPFS, Coda.
//! - Allowed, with a warning from [`DirLock::check`]: FUSE and unknown file systems.
//!
//! Do not use a directory whose files are removed by age, as those in `/tmp` often are: that
//! removes tables in use. Any user who may write to the directory is trusted, and so is any user
//! who may read the table, who can stop all other processes from locking. So a new table can be
//! read and written by the users who may write to its directory, and by no one else.
//!
//! Containers that share the directory share the locks, but a process ID is only meaningful inside
//! the container of its process.
//!
//! Linux only, 4.11 or later: the locks are open file description locks, and the library that we
//! use supports these on Linux. In a 32-bit program with glibc, whose file offsets have 32 bits, a
//! table ends after 2^31 requests, which are then refused with an error.
//!
//! # Cost
//!
//! An acquire and release pair takes nine system calls, and no file is created or removed. We
//! measured eight times the cost of a bare pair of flock(2) calls. Making a request reads the
//! table, which has 256 bytes for each live request; with 1,000 of them a pair takes eleven times
//! as long. The table shrinks again after a crowd has left. The cells of processes that died are
//! found by later requests, each of which queries the kernel about 16 tickets at most. So the table
//! may be half as long again as its live requests need. Requests with many roots are compared by
//! sorting and searching them, not root by root. To see what is in the way of a request, the kernel
//! is queried only about the requests that conflict with it.
//!
//! A handle keeps up to 16 files open for reuse. A waiting request sleeps in the kernel, and a
//! release wakes only the requests that wait for it at that moment. For each ticket of another
//! process that is waited for, a thread of the table sleeps until that ticket leaves. There are at
//! most 64 such threads. Further tickets are polled by one more thread, so that the end of such a
//! ticket is noticed late by up to a sixteenth of the waiting time (at least 1 ms, at most 50 ms),
//! or by more if very many tickets are polled.
//!
//! # When not to use it
//!
//! - Within one process: [`treelock`] is a hundred times faster.
//! - Across several hosts: file locks are local to a host.
//! - For one file and nothing above it: `flock(1)` is available everywhere.
//!
//! Numbers such as C22 in comments refer to CONTRACT.md at the repository's root.

#[cfg(not(target_os = "linux"))]
compile_error!("treelock-dir requires Linux: it uses open file description locks");

mod acquire;
mod ask;
mod check;
mod directory;
mod engine;
mod error;
mod events;
mod file;
mod format;
mod give_up;
mod guard;
mod holders;
mod kernel;
mod life;
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

/// Runs the README's example as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
