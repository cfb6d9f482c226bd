//! A tour of the lock on two threads: who gets in, who waits for whom, and what the lock says about it.
//!
//! `cargo run -p treelock --example tour`

use std::{error::Error, thread, time::Duration};

use treelock::{Request, TreeLock};

fn main() -> Result<(), Box<dyn Error>> {
    let lock = TreeLock::new();

    // One request for everything a job needs: a sub-tree to write and one to read.
    let import = Request::new().write("photos/2025")?.read("templates")?.label("import");
    let importing = lock.acquire_blocking(&import);

    // What does not conflict does not wait: a sibling, and another reader of the templates.
    let other_year = lock.try_acquire(&Request::new().write("photos/2024")?.label("cleanup"))?;
    let _reader = lock.try_acquire(&Request::new().read("templates/blog")?.label("preview"))?;

    // What conflicts is told who is in the way.
    let index = Request::new().read("photos")?.label("index");
    match lock.acquire_timeout(&index, Duration::from_millis(50)) {
        Ok(_) => unreachable!("photos/2025 is being written"),
        Err(blocked) => println!("gave up: {blocked}\n"),
    }

    // Or it waits, and everybody can see for whom.
    let waiting = thread::spawn({
        let lock = lock.clone();
        move || drop(lock.acquire_blocking(&index))
    });
    while lock.snapshot().waiting().count() == 0 {
        thread::yield_now();
    }
    println!("{}\n", lock.snapshot());

    drop(importing);
    drop(other_year);
    waiting.join().map_err(|_| "the waiting thread panicked")?;
    println!("the index was built; still there:\n\n{}", lock.snapshot());
    Ok(())
}
