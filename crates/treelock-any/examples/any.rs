//! One program for every lock, which a text names: `cargo run --example any -- memory:`, or
//! `dir:PATH`, or `etcd://HOST:PORT/NAMESPACE` with `--features etcd`. Without one it is that of
//! `APP_LOCK`.
//!
//! It is async; `generic.rs` does the same with threads that block.

use std::{env, error::Error, time::Duration};

use tokio::time::timeout;
use treelock_any::{
    AnyLock,
    treelock::{Access, FenceGate, Request},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let text = env::args().nth(1).or_else(|| env::var("APP_LOCK").ok());
    let lock = AnyLock::open(text.as_deref().unwrap_or("memory:"))?;
    println!("with {lock}");

    // Acquire: waits for earlier requests that conflict, and for nothing else.
    let import = Request::new().write("photos/2025")?.read("templates")?.with_label("import");
    let guard = lock.acquire(&import).await?;
    println!("{import} is held with token {}", guard.token());

    // Try: never waits, and says who is in the way.
    let thumbnails = Request::new().write("photos")?.with_label("thumbnails");
    match lock.try_acquire(&thumbnails).await {
        Err(error) if error.is_timeout() => println!("not now: {error}"),
        other => println!("nobody was in the way: {other:?}"),
    }

    // Wait with a limit: the place in the line is kept, and it is known who blocks.
    let mut acquire = lock.acquire(&thumbnails);
    if timeout(Duration::from_millis(300), &mut acquire).await.is_err()
        && let Some(blocked) = acquire.blocked().await?
    {
        println!("still waiting as #{}: {blocked}", acquire.ticket().unwrap_or_default());
    }

    // One who has waited long enough gives up, and leaves nothing in the line.
    let mut other = lock.acquire(&Request::new().read("photos")?);
    let given_up = match timeout(Duration::from_millis(300), &mut other).await {
        Ok(granted) => granted,
        Err(_) => other.give_up().await,
    };
    println!("gave up: {}", given_up.err().map_or("no".into(), |error| error.to_string()));

    // The work: every write carries the token, and it stops if the lock is lost.
    let mut photos = FenceGate::default(); // stored with what it protects
    let work = async { photos.check(Access::Write, guard.token()) };
    tokio::select! {
        written = work => written?,
        () = guard.lost() => return Err("the lock was lost".into()),
    }
    println!("written; still valid: {}", guard.is_valid());
    println!("{}", lock.snapshot().await?);

    // Release: returns when others can see it.
    guard.release().await;
    let next = acquire.await?;
    println!("{} is held with token {}", next.request(), next.token());
    drop(next); // releases, too, without waiting for anybody
    lock.close().await; // at the end of a program: everything is given back
    Ok(())
}
