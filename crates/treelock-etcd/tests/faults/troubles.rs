//! Servers that say no: without space, on a full disk, to a wrong password. The error must say so,
//! and what was held must be released or end with its lease.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Client, ConnectOptions, DeleteOptions, GetOptions,
};
use tokio::time::{sleep, timeout};
use treelock::Request;
use treelock_etcd::{Error, EtcdLock, Guard, Options};

use crate::{
    cluster::{Cluster, NEVER, Outcome},
    plan::Plan,
    report::Line,
};

const TTL: Duration = Duration::from_secs(4);

async fn within<T>(what: &str, happens: impl Future<Output = T>) -> Outcome<T> {
    timeout(NEVER, happens).await.map_err(|_| format!("never: {what}"))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn write(node: &str) -> Request {
    Request::new().write(node).expect("a good node")
}

fn options(cluster: &Cluster) -> Options {
    Options::new([format!("http://{}", cluster.members[0].address)]).ttl(TTL)
}

async fn times(plan: Plan, trouble: impl AsyncFn() -> Outcome<u64>) -> Line {
    let started = Instant::now();
    let mut line = Line { name: plan.name.into(), ..Line::default() };
    for _ in 0..plan.count {
        match trouble().await {
            Ok(sections) => line.sections += sections,
            Err(error) => line.wrong.push(error),
        }
        line.faults += 1;
        (plan.tick)(1);
    }
    line.took = started.elapsed();
    line
}

/// Asking must fail, and for this reason.
async fn is_refused(lock: &EtcdLock, why: &str, is_why: fn(&Error) -> bool) -> Outcome<()> {
    match within("an answer", lock.acquire(&write("b"))).await? {
        Err(error) if is_why(&error) => Ok(()),
        Err(error) => Err(format!("not told that {why}, but {error:?}")),
        Ok(_) => Err(format!("granted although {why}")),
    }
}

/// Released, or at least lost and ended with its lease.
async fn is_given_back(guard: Guard) -> Outcome<()> {
    within("a release returns", guard.release()).await
}

/// The quota is used up while one holds and one waits.
pub(crate) async fn no_space(plan: Plan) -> Line {
    times(plan, async || {
        let cluster = Cluster::start(1, &["--quota-backend-bytes=2000000"]).await?;
        let (lock, other) = (EtcdLock::new(&options(&cluster)), EtcdLock::new(&options(&cluster)));
        let guard = lock.acquire(&write("a")).await.map_err(text)?;
        let waiter = tokio::spawn(other.acquire(&write("a/b")));
        while cluster.entries().await?.len() < 2 {
            sleep(Duration::from_millis(20)).await;
        }
        let mut client = cluster.members[0].client().await?;
        let full = |error: etcd_client::Error| error.to_string().contains("space exceeded");
        while !client.put("/fill", vec![0; 200_000], None).await.is_err_and(full) {}
        is_refused(&lock, "there is no space", |error| matches!(error, Error::NoSpace)).await?;
        let new = EtcdLock::new(&options(&cluster));
        is_refused(&new, "there is no space", |error| matches!(error, Error::NoSpace)).await?;
        // Renewals go on.
        sleep(TTL).await;
        if !guard.is_valid() {
            return Err("the session was lost".into());
        }
        is_given_back(guard).await?;
        let next = within("the next is granted", waiter).await?.map_err(text)?.map_err(text)?;
        is_given_back(next).await?;
        let left = cluster.entries().await?;
        if !left.is_empty() {
            return Err(format!("left behind: {left:?}"));
        }
        make_space(&cluster, &mut client).await?;
        let again = within("it works again", lock.acquire(&write("b"))).await?.map_err(text)?;
        is_given_back(again).await?;
        Ok(3)
    })
    .await
}

/// What an operator does.
async fn make_space(cluster: &Cluster, client: &mut Client) -> Outcome<()> {
    client.delete("/fill", Some(DeleteOptions::new())).await.map_err(text)?;
    client.compact(cluster.revision().await?, None).await.map_err(text)?;
    client.defragment().await.map_err(text)?;
    let mut member = AlarmOptions::new();
    member.with_member(u64::from_str_radix(&cluster.members[0].id, 16).map_err(text)?);
    let disarm = client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(member));
    disarm.await.map(|_| ()).map_err(text)
}

/// Mounts a small disk that only this process and its children see, and is etcd.
const ON_A_SMALL_DISK: &str = r#"mount -t tmpfs -o size=150m none "$0" && exec etcd "$@""#;

/// The disk of the only member is full, of which etcd dies: all learn that nobody answers, and
/// holders that their lease ends.
pub(crate) async fn disk_full(plan: Plan) -> Line {
    let unshare = ["unshare", "--mount"];
    let may_mount = std::process::Command::new("unshare").args(["--mount", "true"]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        let why =
            "a small disk needs the right to mount one: run it as root, where there is `unshare`";
        return Line { left_out: Some(why.into()), name: plan.name.into(), ..Line::default() };
    }
    times(plan, async || {
        let data = tempfile::tempdir().map_err(text)?;
        let at = data.path().display().to_string();
        let wrapper = [&unshare[..], &["sh", "-c", ON_A_SMALL_DISK, &at]].concat();
        let mut cluster = Cluster::start_in(data, 1, &[], &wrapper).await?;
        let lock = EtcdLock::new(&options(&cluster));
        let guard = lock.acquire(&write("a")).await.map_err(text)?;
        let lost = guard.lost();
        let mut client = cluster.members[0].client().await?;
        let mut number = 0;
        while cluster.members[0].is_running() {
            number += 1;
            let put = client.put(format!("/fill/{number}"), vec![0; 1_000_000], None);
            if !matches!(timeout(Duration::from_secs(2), put).await, Ok(Ok(_))) {
                sleep(Duration::from_millis(50)).await;
            }
            if number > 1_000 {
                return Err("etcd still runs on a disk that is too small".into());
            }
        }
        // Its session may end while it asks, and then it is told to ask again.
        is_refused(&lock, "no member answers", |error| error.is_unavailable() || error.is_lost())
            .await?;
        is_refused(&lock, "no member answers", Error::is_unavailable).await?;
        within("the holder learns of it", lost).await?;
        if guard.is_valid() {
            return Err("the lock is called valid although its lease may have ended".into());
        }
        is_given_back(guard).await?;
        Ok(1)
    })
    .await
}

/// Passwords are switched on while a client without one holds; one's password is changed; and the
/// member forgets whom it has let in, when it is restarted.
pub(crate) async fn passwords(plan: Plan) -> Line {
    times(plan, async || {
        let mut cluster = Cluster::start(1, &[]).await?;
        let denied = |error: &Error| matches!(error, Error::Denied { .. });
        let nobody = EtcdLock::new(&options(&cluster));
        let guard = nobody.acquire(&write("a")).await.map_err(text)?;
        let admin = cluster.members[0].client().await?;
        let mut auth = admin.auth_client();
        auth.user_add("root", "right", None).await.map_err(text)?;
        auth.role_add("root").await.map_err(text)?;
        auth.user_grant_role("root", "root").await.map_err(text)?;
        auth.user_add("one", "right", None).await.map_err(text)?;
        auth.user_grant_role("one", "root").await.map_err(text)?;
        auth.auth_enable().await.map_err(text)?;
        is_refused(&nobody, "nobody may ask without a password", denied).await?;
        is_given_back(guard).await.map_err(|error| format!("without a password: {error}"))?;
        are_gone(&cluster).await?;

        let one = EtcdLock::new(&options(&cluster).user("one", "right"));
        let guard = one.acquire(&write("a")).await.map_err(text)?;
        cluster.members[0].kill();
        cluster.members[0].start()?;
        let other = within("it is let in again", one.acquire(&write("b"))).await?.map_err(text)?;
        is_given_back(other).await?;
        is_given_back(guard).await?;
        are_gone(&cluster).await?;

        let guard = one.acquire(&write("a")).await.map_err(text)?;
        let mut auth = as_root(&cluster).await?.auth_client();
        auth.user_change_password("one", "changed").await.map_err(text)?;
        is_refused(&one, "the password has changed", denied).await?;
        is_given_back(guard).await.map_err(|error| format!("with a wrong password: {error}"))?;
        are_gone(&cluster).await?;
        Ok(4)
    })
    .await
}

async fn as_root(cluster: &Cluster) -> Outcome<Client> {
    let endpoint = format!("http://{}", cluster.members[0].address);
    let options = ConnectOptions::new().with_user("root", "right");
    Client::connect([endpoint], Some(options)).await.map_err(text)
}

/// Waits until no entry is left, which the end of the leases brings about at the latest.
async fn are_gone(cluster: &Cluster) -> Outcome<()> {
    let all = || GetOptions::new().with_prefix().with_keys_only();
    let mut client = as_root(cluster).await?;
    let start = Instant::now();
    loop {
        let found = client.get("/treelock/", Some(all())).await.map_err(text)?;
        let left = found.kvs().iter().filter(|kv| kv.key().contains(&b'!')).count();
        if left == 0 {
            return Ok(());
        }
        if start.elapsed() > NEVER {
            return Err(format!("{left} entries stay"));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
