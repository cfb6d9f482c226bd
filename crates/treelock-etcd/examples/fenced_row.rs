//! A row of a database that refuses the write of a holder that was paused for longer than its lease
//! lasted.
//!
//! `cargo run -p treelock-etcd --example fenced_row -- --start-etcd`

mod support;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use support::{Cluster, Holder, Result, hold};
use treelock::{Access, FenceGate, FencingToken, Request, Stale};

/// Show how a row of a database is fenced: a write that comes too late is refused.
///
/// A process holds the lock on a page and is paused (SIGSTOP) for longer than its lease lasts.
/// Another takes the lock and writes. Then what the first one had sent arrives.
#[derive(Parser)]
#[command(name = "fenced_row", after_help = "Exit code: 0 if no stale access was accepted.")]
struct Args {
    #[command(flatten)]
    cluster: Cluster,

    /// Be the process that is paused
    #[arg(long, hide = true)]
    hold: bool,
}

/// The gate's two numbers stand in the row that they protect.
const SCHEMA: &str = "
    CREATE TABLE page (
        name TEXT PRIMARY KEY,
        text TEXT NOT NULL,
        max_read INTEGER NOT NULL DEFAULT 0,
        max_write INTEGER NOT NULL DEFAULT 0
    );
    INSERT INTO page (name, text) VALUES ('handbook', 'empty');
";

/// Does something with the row, unless a later holder was here; all in one transaction.
///
/// `IMMEDIATE` takes SQLite's own write lock at the start, so that nobody comes between the check
/// and the work. Other databases: `SELECT … FOR UPDATE`.
fn with_row<T>(
    database: &mut Connection,
    access: Access,
    token: FencingToken,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> Result<T> {
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let gate = "SELECT max_read, max_write FROM page WHERE name = 'handbook'";
    let numbers: (i64, i64) =
        transaction.query_row(gate, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let [max_read, max_write] =
        [numbers.0, numbers.1].map(|number| FencingToken::new(number as u64));
    let mut gate = FenceGate { max_read, max_write };
    gate.check(access, token)?;
    transaction.execute(
        "UPDATE page SET max_read = ?1, max_write = ?2 WHERE name = 'handbook'",
        params![gate.max_read.get() as i64, gate.max_write.get() as i64],
    )?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// Writes in one statement that every database has: its condition is the gate's rule. Returns
/// whether the row was written.
fn write_at_once(database: &Connection, token: FencingToken, text: &str) -> Result<bool> {
    let changed = database.execute(
        "UPDATE page SET text = ?1, max_write = ?2
         WHERE name = 'handbook' AND max_read <= ?2 AND max_write <= ?2",
        params![text, token.get() as i64],
    )?;
    Ok(changed == 1)
}

fn write(database: &mut Connection, token: FencingToken, text: &str) -> Result<()> {
    let update = "UPDATE page SET text = ?1 WHERE name = 'handbook'";
    with_row(database, Access::Write, token, |row| row.execute(update, [text]).map(drop))
}

fn read(database: &mut Connection, token: FencingToken) -> Result<String> {
    let select = "SELECT text FROM page WHERE name = 'handbook'";
    with_row(database, Access::Read, token, |row| row.query_row(select, [], |row| row.get(0)))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fenced_row: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut args: Args) -> Result<()> {
    let _etcd = args.cluster.start()?;
    let lock = args.cluster.lock(Duration::from_secs(2)).await?;
    let page = Request::new().write("pages/handbook")?;
    if args.hold {
        return hold(&lock, &page).await;
    }
    let mut database = Connection::open_in_memory()?;
    database.execute_batch(SCHEMA)?;

    let mut first = Holder::start(&args.cluster)?;
    write(&mut database, first.token, "first")?;
    println!("A process holds the lock with token {}, and the row takes its write.", first.token);

    first.pause()?;
    println!("It is paused. Another asks, and gets the lock when the lease has ended …");
    let guard = lock.acquire(&page).await?;
    write(&mut database, guard.token(), "second")?;
    println!("… with token {}, and the row takes its write.", guard.token());

    let is_valid = first.wake()?;
    println!("The first goes on. By its own clock it has the lock: {is_valid}.");
    if is_valid {
        return Err("it believes that it holds a lock that another process holds".into());
    }
    println!("But what it had sent before arrives now:");
    refused(write(&mut database, first.token, "late"))?;
    refused(read(&mut database, first.token))?;
    if write_at_once(&database, first.token, "late")? {
        return Err("the condition accepted a stale write".into());
    }
    println!("  by the condition in one statement: no row was changed");

    let text = read(&mut database, guard.token())?;
    if text != "second" || !write_at_once(&database, guard.token(), "third")? {
        return Err(format!("the row says {text:?}, or refuses the holder of the lock").into());
    }
    println!("The row says {text:?}, and takes what the second writes next.");
    guard.release().await;
    Ok(())
}

/// Fails if an access that came too late was accepted.
fn refused<T>(result: Result<T>) -> Result<()> {
    match result {
        Ok(_) => Err("a stale access was accepted".into()),
        Err(error) if error.is::<Stale>() => {
            println!("  {error}");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
