//! An object of an object store that refuses the write of a holder that was paused for longer than
//! its lease lasted.
//!
//! `cargo run -p treelock-etcd --example fenced_object -- --start-etcd`

mod support;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use object_store::{
    Attribute, Attributes, Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    UpdateVersion, memory::InMemory, path::Path,
};
use support::{Cluster, Holder, Result, hold};
use treelock::{Access, FenceGate, FencingToken, Request, Stale};

/// Show how an object is fenced by conditional puts: a write that comes too late is refused.
///
/// A process holds the lock on an object and is paused (SIGSTOP) for longer than its lease lasts.
/// Another takes the lock and writes. Then what the first one had sent arrives. The store is in
/// memory; S3, Google Cloud Storage and Azure have the same conditional put; a local directory has
/// none.
#[derive(Parser)]
#[command(name = "fenced_object", after_help = "Exit code: 0 if no stale write was accepted.")]
struct Args {
    #[command(flatten)]
    cluster: Cluster,

    /// Be the process that is paused
    #[arg(long, hide = true)]
    hold: bool,
}

/// The gate's number stands in the object's metadata, so that one put changes both.
///
/// There is one number only: raising one for reads would take a put for each read. So a read is
/// fenced from the writes before it, and a late write is refused from the next write on.
const TOKEN: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("fencing-token"));

/// What was there when we looked.
struct Seen {
    gate: FenceGate,
    /// The put is done only if the object is still that one.
    mode: PutMode,
}

async fn look(store: &impl ObjectStore, at: &Path) -> Result<Seen> {
    match store.get_opts(at, GetOptions::new().with_head(true)).await {
        Ok(found) => {
            // An object without the number was never fenced, and is taken for the oldest.
            let max_write = match found.attributes.get(&TOKEN) {
                Some(token) => token.parse()?,
                None => FencingToken::new(0),
            };
            let version = UpdateVersion { e_tag: found.meta.e_tag, version: found.meta.version };
            let gate = FenceGate { max_write, ..FenceGate::default() };
            Ok(Seen { gate, mode: PutMode::Update(version) })
        }
        Err(Error::NotFound { .. }) => {
            Ok(Seen { gate: FenceGate::default(), mode: PutMode::Create })
        }
        Err(error) => Err(error.into()),
    }
}

/// Puts the object if the token is not stale and the object is still the one that was seen. Returns
/// whether it was.
async fn put_if_unchanged(
    store: &impl ObjectStore,
    at: &Path,
    mut seen: Seen,
    token: FencingToken,
    text: &'static str,
) -> Result<bool> {
    seen.gate.check(Access::Write, token)?;
    let attributes = Attributes::from_iter([(TOKEN, seen.gate.max_write.to_string())]);
    let options = PutOptions { mode: seen.mode, attributes, ..PutOptions::default() };
    match store.put_opts(at, text.into(), options).await {
        Ok(_) => Ok(true),
        Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Puts the object, unless a later holder was here. If somebody else wrote meanwhile, that may have
/// been an earlier holder, so it looks again.
async fn put(
    store: &impl ObjectStore,
    at: &Path,
    token: FencingToken,
    text: &'static str,
) -> Result<()> {
    while !put_if_unchanged(store, at, look(store, at).await?, token, text).await? {}
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fenced_object: {error}");
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
    let (store, at) = (InMemory::new(), Path::from("pages/handbook"));

    let mut first = Holder::start(&args.cluster)?;
    put(&store, &at, first.token, "first").await?;
    println!("A process holds the lock with token {}, and the store takes its put.", first.token);

    // It has looked, and found that nobody later was there, when it is paused.
    let seen = look(&store, &at).await?;
    first.pause()?;
    println!("It is paused. Another asks, and gets the lock when the lease has ended …");
    let guard = lock.acquire(&page).await?;
    put(&store, &at, guard.token(), "second").await?;
    println!("… with token {}, and the store takes its put.", guard.token());

    let is_valid = first.wake()?;
    println!("The first goes on. By its own clock it has the lock: {is_valid}.");
    if is_valid {
        return Err("it believes that it holds a lock that another process holds".into());
    }
    println!("But what it had sent before arrives now:");
    if put_if_unchanged(&store, &at, seen, first.token, "late").await? {
        return Err("a stale put was accepted".into());
    }
    println!("  the object is no longer the one that it had looked at, so the store refuses");
    match put(&store, &at, first.token, "late").await {
        Ok(()) => return Err("a stale put was accepted".into()),
        Err(error) if error.is::<Stale>() => println!("  it looks again: {error}"),
        Err(error) => return Err(error),
    }

    let bytes = store.get(&at).await?.bytes().await?;
    let text = String::from_utf8_lossy(&bytes);
    if text != "second" {
        return Err(format!("the object says {text:?}").into());
    }
    put(&store, &at, guard.token(), "third").await?;
    println!("The object says {text:?}, and the store takes what the second puts next.");
    guard.release().await;
    Ok(())
}
