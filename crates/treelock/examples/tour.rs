//! A tour of the lock on two threads: who gets in, who waits for whom, and what the lock says about it.
//!
//! `cargo run -p treelock --example tour`

use std::{error::Error, thread, time::Duration};

use treelock::{Request, TreeLock, Wait};

fn main() -> Result<(), Box<dyn Error>> {
    let lock = TreeLock::new();

    // One request for everything a job needs: a sub-tree to write and one to read.
    let import = Request::new().write("photos/2025")?.read("templates")?.with_label("import");
    let importing = lock.acquire(&import).wait();

    // What does not conflict does not wait: a sibling, and another reader of the templates.
    let other_year =
        lock.try_acquire(&Request::new().write("photos/2024")?.with_label("cleanup")).wait()?;
    let _reader =
        lock.try_acquire(&Request::new().read("templates/blog")?.with_label("preview")).wait()?;

    // What conflicts is told who is in the way.
    let index = Request::new().read("photos")?.with_label("index");
    let mut indexing = lock.acquire(&index);
    if indexing.wait_timeout(Duration::from_millis(50)).is_none() {
        let blocked = indexing.blocked().wait().ok_or("photos/2025 is being written")?;
        println!("still waiting: {blocked}\n");
    }

    // It goes on waiting at the same place in the line, and everybody can see for whom.
    let waiting = thread::spawn(move || drop(indexing.wait()));
    println!("{}\n", lock.snapshot().wait());

    drop(importing);
    drop(other_year);
    waiting.join().map_err(|_| "the waiting thread panicked")?;
    println!("the index was built; still there:\n\n{}", lock.snapshot().wait());
    Ok(())
}
