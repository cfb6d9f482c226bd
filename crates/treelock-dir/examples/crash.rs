//! Several processes on one tree: a process that dies releases, and one that has lost its lock is
//! refused by the resource.
//!
//! `cargo run -p treelock-dir --example crash`

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use treelock::{FenceGate, Request, Wait};
use treelock_dir::DirLock;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    // Started again by itself, it is one of the other processes.
    if let [_, directory, node, label] = &env::args().collect::<Vec<_>>()[..] {
        return work(Path::new(directory), node, label);
    }
    let scratch = tempfile::tempdir()?;
    let directory = scratch.path().join("locks");
    a_death(&directory)?;
    a_lost_lock(&directory)
}

/// Another process: takes a write lock, says so, and works until it is told to end.
fn work(directory: &Path, node: &str, label: &str) -> Outcome {
    let request = Request::new().write(node)?.with_label(label);
    let _guard = DirLock::new(directory).acquire(&request).wait()?;
    println!("holds");
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn start(directory: &Path, node: &str, label: &str) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(directory).args([node, label]);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

fn wait_until_it_holds(child: &mut Child) -> Outcome {
    let output = child.stdout.as_mut().ok_or("its output is piped")?;
    BufReader::new(output).read_line(&mut String::new())?;
    Ok(())
}

fn a_death(directory: &Path) -> Outcome {
    let lock = DirLock::new(directory);
    let mut first = start(directory, "photos/2025", "import")?;
    wait_until_it_holds(&mut first)?;
    let mut second = start(directory, "photos", "index")?;
    while lock.snapshot().wait()?.waiting().count() == 0 {
        thread::yield_now();
    }
    println!("One process holds, another waits for it:\n\n{}\n", lock.snapshot().wait()?);
    first.kill()?;
    wait_until_it_holds(&mut second)?;
    println!("The first was killed, so the second holds:\n\n{}\n", lock.snapshot().wait()?);
    drop(second.stdin.take());
    first.wait()?;
    second.wait()?;
    Ok(())
}

/// The gate stands at the resource, which remembers it with the data: a row of a database, an
/// object's metadata.
fn a_lost_lock(directory: &Path) -> Outcome {
    let write = Request::new().write("photos/2025")?;
    let mut gate = FenceGate::default();
    let old = DirLock::new(directory).acquire(&write).wait()?;
    gate.check(treelock::Access::Write, old.token())?;
    // Somebody cleans up in the wrong place.
    std::fs::remove_dir_all(directory)?;
    assert!(!old.is_valid());
    println!("The table was removed under a holder, who can see that its lock is lost.");
    let new = DirLock::new(directory).acquire(&write).wait()?;
    gate.check(treelock::Access::Write, new.token())?;
    match gate.check(treelock::Access::Write, old.token()) {
        Ok(()) => Err("a stale write was let in".into()),
        Err(stale) => {
            println!("It writes all the same, and is refused: {stale}");
            Ok(())
        }
    }
}
