//! Locks between the processes of one host: `treelock-dir`, and what people use today instead.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use rusqlite::Connection;
use treelock::{Request, Wait};
use treelock_dir::{DirLock, Guard};

/// One lock in a directory. All processes that open it there exclude each other.
pub trait HostLock: Sized {
    /// Its name in the tables.
    const NAME: &'static str;

    /// Creates what it needs in a directory, if it is missing. Locks with different numbers are not
    /// in each other's way.
    fn open(directory: &Path, number: usize) -> Self;

    /// Waits for the lock and takes it.
    fn acquire(&mut self);

    /// Gives the lock back.
    fn release(&mut self);
}

/// Returns a node that others hold, and that no lock here requests.
#[must_use]
pub fn held(number: usize) -> String {
    format!("/held/dir01/dir02/leaf{number}")
}

/// `treelock-dir`: a write lock at depth 4, from a prebuilt request.
pub struct Directory {
    lock: DirLock,
    request: Request,
    guard: Option<Guard>,
}

impl Directory {
    /// Returns the lock of this node alone, in the directory.
    #[must_use]
    pub fn on(directory: &Path, node: &str) -> Directory {
        let request = Request::new().write(node).expect("the path is valid");
        Directory { lock: DirLock::new(directory.join("locks")), request, guard: None }
    }
}

impl HostLock for Directory {
    const NAME: &'static str = "treelock-dir";

    fn open(directory: &Path, number: usize) -> Directory {
        Directory::on(directory, &format!("/dir00/dir01/dir02/leaf{number}"))
    }

    fn acquire(&mut self) {
        self.guard = Some(self.lock.acquire(&self.request).wait().expect("a table that works"));
    }

    fn release(&mut self) {
        self.guard = None;
    }
}

/// flock(2) on a file that stays open: two system calls, the least that a kernel lock can cost.
pub struct OpenFlock(Option<Flocked>);

enum Flocked {
    Free(File),
    Held(Flock<File>),
}

fn flock(file: File) -> Flock<File> {
    Flock::lock(file, FlockArg::LockExclusive).expect("a local file")
}

fn lock_file(path: &Path) -> File {
    File::options().append(true).create(true).open(path).expect("room for a file")
}

impl HostLock for OpenFlock {
    const NAME: &'static str = "flock, file kept open";

    fn open(directory: &Path, number: usize) -> OpenFlock {
        OpenFlock(Some(Flocked::Free(lock_file(&directory.join(format!("flock{number}"))))))
    }

    fn acquire(&mut self) {
        self.0 = match self.0.take() {
            Some(Flocked::Free(file)) => Some(Flocked::Held(flock(file))),
            held => held,
        };
    }

    fn release(&mut self) {
        self.0 = match self.0.take() {
            Some(Flocked::Held(held)) => Some(Flocked::Free(held.unlock().expect("an open file"))),
            free => free,
        };
    }
}

/// Locks as flock(1) does: opens the file, locks it, closes it.
pub struct NewFlock {
    path: std::path::PathBuf,
    held: Option<Flock<File>>,
}

impl HostLock for NewFlock {
    const NAME: &'static str = "flock, as in flock(1): open, lock, close";

    fn open(directory: &Path, number: usize) -> NewFlock {
        NewFlock { path: directory.join(format!("flock{number}")), held: None }
    }

    fn acquire(&mut self) {
        self.held = Some(flock(lock_file(&self.path)));
    }

    fn release(&mut self) {
        self.held = None;
    }
}

/// SQLite: `BEGIN IMMEDIATE` takes the database's only write lock, and `ROLLBACK` gives it back.
pub struct Sqlite(Connection);

impl HostLock for Sqlite {
    const NAME: &'static str = "SQLite, BEGIN IMMEDIATE … ROLLBACK";

    fn open(directory: &Path, number: usize) -> Sqlite {
        let path = directory.join(format!("sqlite{number}"));
        let connection = Connection::open(path).expect("room for a database");
        connection.busy_timeout(Duration::from_secs(600)).expect("a timeout");
        Sqlite(connection)
    }

    fn acquire(&mut self) {
        let mut begin = self.0.prepare_cached("BEGIN IMMEDIATE").expect("good SQL");
        begin.execute([]).expect("granted within the timeout");
    }

    fn release(&mut self) {
        self.0.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([])).expect("began");
    }
}
