//! Read/write locks on whole sub-trees, shared by the processes of one host: no server, no daemon,
//! no lease.
//!
//! The lock table is a file in a directory, which its processes share as memory, and the kernel's
//! file locks tell which processes are alive. So there is nothing to install and nothing to tune, a
//! process that dies, in whatever way, releases its locks, and what a request costs does not depend
//! on how many others are live.
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
//!   the requests behind it proceed within 100 ms.
//! - *A holder's child inherited the lock* ([`Guard::inherit`]): the lock is held until the child
//!   has ended too.
//! - *A process is stopped while it holds a lock*: it keeps the lock.
//! - *A process is stopped during the microsecond in which it makes a request*: no other request
//!   can be made until it is resumed or dies. A try fails after a quarter of a second, and a limit
//!   ends on time, with [`Error::Stuck`], which names the process. Releasing and looking go on.
//! - *A process forks without `exec`*: the child makes requests of its own and cannot release what
//!   the parent holds. But until the child ends too, it keeps alive whatever the parent had open.
//! - *The disk is full*: a table that cannot grow refuses requests with an error that says so;
//!   releasing still works.
//! - *The bytes of a stored request are damaged*: whoever looks at it takes it for a write on `/`,
//!   until its owner leaves.
//! - *The table is emptied or cut short while in use*: requests are refused until all processes
//!   that have it open have noticed, by a request or a release, or have ended.
//! - *A file that is not a lock table has its name*: it is refused, and left as it is.
//! - *The table is one of an earlier version*: if it is in use, it is refused ([`Error::Former`]);
//!   otherwise it is begun anew.
//! - *The clock is changed*: nothing happens. Ages use the time since boot, and tokens continue
//!   from the last one.
//! - *The host restarts*: everything is free.
//! - *The table is removed while in use*: a request that is made a millisecond later, or more,
//!   creates a new one and does not see the old holders. They are notified ([`Guard::lost`]), and
//!   tokens keep growing.
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
//! removes tables in use. Any user who may write to the directory is trusted. So is any user who
//! may read the table, who can keep others from opening it. So a new table can be read and written
//! by the users who may write to its directory, and by no one else.
//!
//! Containers that share the directory share the locks, but a process ID is only meaningful inside
//! the container of its process.
//!
//! Linux only, 4.14 or later, with glibc or musl. A 32-bit program needs glibc 2.28 or musl, for
//! file offsets of 64 bits. macOS has the same file locks, but not this way to sleep in shared
//! memory before version 14.4, and nobody has run the lock there; so it is not supported.
//!
//! # Cost
//!
//! An uncontended acquire and release pair takes about half a microsecond and makes no system call,
//! however many other requests are live. Its cost depends on the number of its roots and their
//! ancestors, and on the requests that conflict with it. Once in a millisecond, the kernel is asked
//! whether the table is still in its place.
//!
//! The table has 256 bytes for each request that it can take, and 576 for indexes. It doubles when
//! it is full, and becomes as small as a new one when it is empty; up to 420 KiB it keeps its size.
//! The cells of processes that died are found by later requests.
//!
//! A handle keeps one file open, and one more for each guard that a child
//! [inherits](Guard::inherit). A thread that waits sleeps until a request that it waits for leaves,
//! and a release wakes only those who wait for it at that moment. Futures are woken by one thread
//! of the handle. The death of a process is noticed after at most 100 ms by those who have waited
//! for less than a second; then, a thread sleeps in the kernel until that process ends, and notices
//! it at once. There are at most 64 such threads; beyond that, each 100 ms.
//!
//! The memory is mapped, so the kernel raises `SIGBUS` when somebody cuts the file. The crate
//! installs a handler for this signal, which lets signals for other addresses pass to the handler
//! before it. A program that replaces it must do the same.
//!
//! # When not to use it
//!
//! - Within one process: [`treelock`] is a hundred times faster.
//! - Across several hosts: file locks are local to a host.
//! - For one file and nothing above it: `flock(1)` is available everywhere.
//!
//! Numbers such as C22 in comments refer to CONTRACT.md at the repository's root.

#[cfg(not(target_os = "linux"))]
compile_error!("treelock-dir requires Linux: it uses futexes and open file description locks");

mod acquire;
mod ask;
mod check;
mod directory;
mod engine;
mod error;
mod events;
mod file;
mod format;
mod futex;
mod guard;
mod handle;
mod holders;
mod index;
mod kernel;
mod latch;
mod ledger;
mod life;
mod listen;
mod listeners;
mod lock;
mod look;
mod lost;
mod map;
mod marks;
mod memory;
mod mirror;
mod process;
mod record;
mod ring;
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
