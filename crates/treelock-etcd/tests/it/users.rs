//! Users: whom etcd lets in, what each may do, and passwords and tokens that do not last.

use std::{fs, process::Command, time::Duration};

use etcd_client::{Client, ConnectOptions};
use treelock_etcd::{Error, EtcdLock, Options, Tls};

use crate::{
    asking::{refused, within, works, write},
    certificates::{Authority, Files, Signed},
    server::{Cluster, runtime},
};

/// Runs etcdctl with these arguments. Says so and returns `None` if there is none.
fn etcdctl(cluster: &Cluster, arguments: &str) -> Option<()> {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", cluster.endpoints().join(","));
    command.args(["--command-timeout=60s", "--dial-timeout=60s"]);
    let Ok(done) = command.args(arguments.split_whitespace()).output() else {
        eprintln!(
            "SKIPPED: there is no `etcdctl` in the PATH; on Debian: apt-get install etcd-client"
        );
        return None;
    };
    assert!(done.status.success(), "etcdctl {arguments}: {done:?}");
    Some(())
}

const AS_ROOT: &str = "--user=root:root-secret";

/// What the README says to do for the namespace `builds` and the user `builder`, and a user who may
/// only read. These arguments are given to etcdctl, too.
fn users(cluster: &Cluster, given: &str) -> Option<()> {
    let readme = include_str!("../../README.md").lines();
    let commands: Vec<&str> = readme.filter_map(|line| line.strip_prefix("etcdctl ")).collect();
    assert!(commands.len() > 3, "the README tells how to make a user");
    let looker = [
        "role add looks",
        "role grant-permission looks --prefix read /treelock/builds/",
        "user add looker:secret",
        "user grant-role looker looks",
    ];
    let mut all = commands
        .iter()
        .map(|command| format!("{given} {command}"))
        .chain(looker.iter().map(|command| format!("{given} {AS_ROOT} {command}")));
    all.try_for_each(|command| etcdctl(cluster, &command))
}

fn denied(error: &Error, expected: &str) {
    assert!(matches!(error, Error::Denied { .. }), "{expected}: {error:?}");
    assert!(error.to_string().contains(expected), "{expected}: {error}");
}

fn as_builder(cluster: &Cluster) -> Options {
    Options::new(cluster.endpoints()).namespace("builds").user("builder", "secret")
}

#[test]
fn users_that_are_not_let_in() {
    let Some(cluster) = Cluster::start(1) else { return };
    // While etcd knows no users, it wants none.
    runtime().block_on(async {
        denied(&refused(&as_builder(&cluster)).await, "authentication is not enabled");
    });
    if users(&cluster, "").is_none() {
        return;
    }
    let options = || Options::new(cluster.endpoints()).namespace("builds");
    runtime().block_on(async {
        denied(&refused(&options()).await, "user name is empty");
        denied(&refused(&options().user("builder", "wrong")).await, "authentication failed");
        denied(&refused(&options().user("stranger", "secret")).await, "authentication failed");
        works(&as_builder(&cluster)).await;
    });
}

/// The role of the README may do everything in its namespace and nothing elsewhere; one that may
/// only read, look.
#[test]
fn rights_of_roles() {
    let Some(cluster) = Cluster::start(1) else { return };
    if users(&cluster, "").is_none() {
        return;
    }
    let looker = Options::new(cluster.endpoints()).namespace("builds").user("looker", "secret");
    runtime().block_on(async {
        let lock = EtcdLock::new(&as_builder(&cluster).ttl(Duration::from_secs(2)));
        let guard = lock.acquire(&write("a")).await.expect("it may");
        assert!(lock.try_acquire(&write("a/b")).await.expect_err("it is held").is_timeout());
        let waiter = tokio::spawn(EtcdLock::new(&as_builder(&cluster)).acquire(&write("a/b")));
        let looking = EtcdLock::new(&looker);
        while looking.snapshot().await.expect("it may look").waiting().count() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(looking.blocked(&write("a")).await.expect("it may look").is_some());
        // Longer than its lease, which is renewed meanwhile.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(guard.is_valid());
        guard.release().await;
        let next = within("it is granted", waiter).await.expect("no panic");
        next.expect("it may").release().await;

        denied(&refused(&looker).await, "permission denied");
        let elsewhere = as_builder(&cluster).namespace("elsewhere");
        denied(&refused(&elsewhere).await, "permission denied");
        let error = EtcdLock::new(&elsewhere).snapshot().await.expect_err("it may not look");
        denied(&error, "permission denied");
        assert!(error.to_string().contains("all keys of the namespace"), "{error}");
    });
}

/// A holder goes on, and what it asks for with the old password is denied.
#[test]
fn a_password_that_is_changed_under_a_lock() {
    let Some(cluster) = Cluster::start(1) else { return };
    if users(&cluster, "").is_none() {
        return;
    }
    runtime().block_on(async {
        let lock = EtcdLock::new(&as_builder(&cluster).ttl(Duration::from_secs(2)));
        let guard = lock.acquire(&write("a")).await.expect("it is let in");
        let root = ConnectOptions::new().with_user("root", "root-secret");
        let root = Client::connect(cluster.endpoints(), Some(root)).await.expect("it runs");
        let changed = root.auth_client().user_change_password("builder", "changed").await;
        changed.expect("root may");
        let asked = within("it is told", lock.acquire(&write("b"))).await;
        denied(&asked.expect_err("the password is another"), "authentication failed");
        assert!(guard.is_valid());
        let lock = EtcdLock::new(&as_builder(&cluster).user("builder", "changed"));
        assert!(lock.try_acquire(&write("a")).await.expect_err("it is held").is_timeout());
        // It cannot be released, so the end of its lease does it.
        within("releasing ends", guard.release()).await;
        drop(within("its lease ends", lock.acquire(&write("a"))).await.expect("it is let in"));
    });
}

/// A member that is restarted knows no tokens any more. The session watches with a new one.
#[test]
fn a_watch_with_an_old_token() {
    let Some(mut cluster) = Cluster::start(1) else { return };
    if users(&cluster, "").is_none() {
        return;
    }
    runtime().block_on(async {
        let lock = EtcdLock::new(&as_builder(&cluster));
        let guard = lock.acquire(&write("a")).await.expect("it is let in");
        cluster.members[0].kill();
        cluster.members[0].start_again();
        let administrator = EtcdLock::new(&as_builder(&cluster));
        let lost = guard.lost();
        let ticket = guard.ticket();
        let revoke = async { while administrator.revoke(ticket).await.is_err() {} };
        within("it is back", revoke).await;
        within("the holder is told", lost).await;
        assert!(!guard.is_valid());
    });
}

/// Tokens of etcd that expire, or are older than a change to users and roles, are renewed, and no
/// lock is lost.
fn outlives_tokens(arguments: &[String]) {
    let Some(cluster) = Cluster::start_with(1, "http", arguments) else { return };
    if users(&cluster, "").is_none() {
        return;
    }
    runtime().block_on(async {
        let options = as_builder(&cluster).ttl(Duration::from_secs(2));
        let lock = EtcdLock::new(&options);
        let guard = lock.acquire(&write("a")).await.expect("it is let in");
        let waiter = tokio::spawn(EtcdLock::new(&options).acquire(&write("a/b")));
        while lock.snapshot().await.expect("it is let in").waiting().count() == 0 {
            tokio::task::yield_now().await;
        }
        for round in 0..2 {
            // Longer than a token lasts.
            tokio::time::sleep(Duration::from_secs(4)).await;
            lock.acquire(&write("b")).await.expect("another token").release().await;
            let change = format!("{AS_ROOT} role grant-permission looks read {round}");
            etcdctl(&cluster, &change).expect("it was there before");
            lock.acquire(&write("b")).await.expect("another token").release().await;
        }
        assert!(guard.is_valid());
        guard.release().await;
        let next = within("it is granted", waiter).await.expect("no panic");
        next.expect("its place was kept").release().await;
    });
}

#[test]
fn simple_tokens_that_expire() {
    outlives_tokens(&["--auth-token-ttl=1".into()]);
}

#[test]
fn signed_tokens_that_expire() {
    let files = tempfile::tempdir().expect("a place for temporary files");
    let key = files.path().join("key");
    fs::write(&key, "a secret of the tests").expect("a place for temporary files");
    let token = format!("--auth-token=jwt,sign-method=HS256,ttl=2s,priv-key={}", key.display());
    outlives_tokens(&[token]);
}

/// etcd takes the name in a client certificate for the user, without a password.
#[test]
fn a_user_by_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let files = Files::new(&authority.good("127.0.0.1"));
    let Some(cluster) = files.start(Some(&clients)) else { return };
    let options = |user: &str| {
        let Signed { certificate, key } = clients.good(user);
        let tls = Tls::new().ca(authority.pem()).identity(certificate, key);
        Options::new(cluster.endpoints()).namespace("builds").tls(tls)
    };
    let Signed { certificate, key } = clients.good("root");
    let given = [("cacert", authority.pem()), ("cert", certificate), ("key", key)];
    let given = given.map(|(name, text)| format!("--{name}={}", files.put(name, &text)));
    if users(&cluster, &given.join(" ")).is_none() {
        return;
    }
    runtime().block_on(async {
        works(&options("builder")).await;
        denied(&refused(&options("stranger")).await, "permission denied");
    });
}
