//! One function for every engine that is known when the program is compiled: in memory, in a
//! directory, and on a cluster if the variable `APP_ETCD` names its members and the feature `etcd`
//! is on.
//!
//! Its threads block; `any.rs` does the same with async code.

use std::{error::Error, time::Duration};

use treelock_any::{
    Wait,
    treelock::{
        Access, FenceGate, Request, TreeLock,
        engine::{Engine, EngineError, Held, Pending},
    },
};

fn show<L: Engine>(lock: &L, gate: &mut FenceGate) -> Result<(), L::Error> {
    println!("with {lock:?}");

    // Acquire: waits for earlier requests that conflict, and for nothing else.
    let import = Request::new().write("photos/2025")?.read("templates")?.with_label("import");
    let guard = lock.acquire(&import).wait()?;
    println!("{import} is held with token {}", guard.token());

    // Try: never waits, and says who is in the way.
    let thumbnails = Request::new().write("photos")?.with_label("thumbnails");
    match lock.try_acquire(&thumbnails).wait() {
        Err(error) if error.is_timeout() => println!("not now: {error}"),
        other => println!("nobody was in the way: {other:?}"),
    }

    // Wait with a limit: the place in the line is kept, and it is known who blocks.
    let mut acquire = lock.acquire(&thumbnails);
    if acquire.wait_timeout(Duration::from_millis(300)).is_none()
        && let Some(blocked) = acquire.blocked().wait()?
    {
        println!("still waiting as #{}: {blocked}", acquire.ticket().unwrap_or_default());
    }

    // One who has waited long enough gives up, and leaves nothing in the line.
    let mut other = lock.acquire(&Request::new().read("photos")?);
    let given_up = match other.wait_timeout(Duration::from_millis(300)) {
        Some(granted) => granted,
        None => other.give_up().wait(),
    };
    println!("gave up: {}", given_up.err().map_or("no".into(), |error| error.to_string()));

    // The work: every write carries the token, and it stops if the lock is lost.
    match gate.check(Access::Write, guard.token()) {
        Ok(()) if guard.is_valid() => println!("written"),
        Ok(()) => println!("written, and the lock was lost meanwhile"),
        Err(stale) => println!("not written: {stale}"),
    }
    let is_lost = guard.lost().wait_timeout(Duration::ZERO).is_some();
    println!("lost: {is_lost}\n{}", lock.snapshot().wait()?);

    // Release: returns when others can see it.
    guard.release().wait();
    let next = acquire.wait()?;
    println!("{} is held with token {}\n", next.request(), next.token());
    drop(next); // releases, too, without waiting for anybody
    lock.close().wait(); // at the end of a program: everything is given back
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    show(&TreeLock::new(), &mut FenceGate::default())?;
    #[cfg(feature = "dir")]
    {
        let scratch = tempfile::tempdir()?;
        let lock = treelock_any::treelock_dir::DirLock::new(scratch.path().join("locks"));
        show(&lock, &mut FenceGate::default())?;
    }
    #[cfg(feature = "etcd")]
    if let Ok(members) = std::env::var("APP_ETCD") {
        use treelock_any::treelock_etcd::{EtcdLock, Options};
        let lock = EtcdLock::new(&Options::new(members.split(',')));
        show(&lock, &mut FenceGate::default())?;
    }
    Ok(())
}
