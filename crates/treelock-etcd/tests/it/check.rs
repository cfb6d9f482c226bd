//! What `check` says of clusters that are well, and of those that are not.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, Client, CompactionOptions, Permission};
use nix::sys::signal::Signal;
use treelock::engine::{Finding, Severity};
use treelock_etcd::{Error, EtcdLock, Options};

use crate::{
    asking::{within, write},
    server::{Cluster, runtime},
};

async fn check(endpoints: Vec<String>) -> Vec<Finding> {
    within("it is checked", EtcdLock::new(&Options::new(endpoints)).check()).await.expect("it runs")
}

/// The one finding that says this; fails if there is none, or it is graded otherwise.
#[track_caller]
fn one<'a>(found: &'a [Finding], severity: Severity, says: &str) -> &'a Finding {
    let mut those = found.iter().filter(|finding| finding.what.contains(says));
    let (Some(finding), None) = (those.next(), those.next()) else {
        panic!("{says:?} is not said once: {found:#?}")
    };
    assert_eq!(finding.severity, severity, "{finding}");
    finding
}

async fn client(cluster: &Cluster) -> Client {
    within("a leader is elected", cluster.leader()).await;
    Client::connect(cluster.endpoints(), None).await.expect("it runs")
}

#[test]
fn a_cluster_that_is_well() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        client(&cluster).await;
        let lock = EtcdLock::new(&Options::new(cluster.endpoints()));
        let _held = lock.acquire(&write("a").read("b").expect("a node")).await.expect("it works");
        let found = check(cluster.endpoints()).await;
        let endpoint = &cluster.endpoints()[0];
        // Of which version is the machine's own affair; what is said of versions has a test beside
        // it.
        assert!(found[0].what.starts_with(&format!("{endpoint} is etcd 3.")), "{found:#?}");
        let others: Vec<&Finding> = found[1..].iter().collect();
        assert!(others.iter().all(|finding| finding.severity == Severity::Good), "{found:#?}");
        for says in [
            "one cluster, with a leader",
            "of 2.1 GB",
            "the clocks of this machine and of the members agree",
            "one member",
            "no alarm is raised",
            "never compacted",
            "free after 15 s",
            "1 request is live, and 1 session",
        ] {
            one(&found, Severity::Good, says);
        }
        let mut client = Client::connect(cluster.endpoints(), None).await.expect("it runs");
        let leases = client.leases().await.expect("it works");
        assert_eq!(leases.leases().len(), 1, "the lease that it took is given back");
    });
}

#[test]
fn a_member_that_is_down_and_one_that_is_not_named() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    runtime().block_on(async {
        client(&cluster).await;
        let found = check(cluster.endpoints()).await;
        one(&found, Severity::Good, "3 members; locks work while 2 of them do");
        let found = check(vec![cluster.endpoints()[0].clone()]).await;
        one(&found, Severity::Odd, "1 of the cluster's 3 members");
        cluster.members[2].kill();
        within("two of them have a leader", cluster.leader()).await;
        let found = check(cluster.endpoints()).await;
        one(&found, Severity::Odd, &format!("{} does not answer", cluster.endpoints()[2]));
        one(&found, Severity::Good, "one cluster, with a leader");
        // The one that is left answers for itself, and for nobody else.
        cluster.members[1].kill();
        let found = check(cluster.endpoints()).await;
        one(&found, Severity::Bad, "answers no read");
        cluster.members[0].kill();
        let lock = EtcdLock::new(&Options::new(cluster.endpoints()));
        let error = within("it gives up", lock.check()).await.expect_err("nobody is there");
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    });
}

#[test]
fn two_clusters() {
    let (Some(one_cluster), Some(other)) = (Cluster::start(1), Cluster::start(1)) else { return };
    runtime().block_on(async {
        client(&one_cluster).await;
        client(&other).await;
        let found = check([one_cluster.endpoints(), other.endpoints()].concat()).await;
        one(&found, Severity::Bad, "members of 2 clusters");
    });
}

#[test]
fn alarms() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let mut client = client(&cluster).await;
        client.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await.expect("it works");
        let found = check(cluster.endpoints()).await;
        one(&found, Severity::Bad, "alarm NOSPACE");
        client.alarm(AlarmAction::Activate, AlarmType::Corrupt, None).await.expect("it works");
        let found = check(cluster.endpoints()).await;
        one(&found, Severity::Bad, "alarm CORRUPT");
    });
}

#[test]
fn a_small_quota() {
    let more = ["--quota-backend-bytes=300000".to_string()];
    let Some(cluster) = Cluster::start_with(1, "http", &more) else { return };
    runtime().block_on(async {
        let mut client = client(&cluster).await;
        one(&check(cluster.endpoints()).await, Severity::Good, "of 300.0 kB");
        // Until nothing more goes in.
        let value = vec![b'x'; 20_000];
        while client.put("filling", value.clone(), None).await.is_ok() {}
        let found = check(cluster.endpoints()).await;
        one(&found, Severity::Odd, "of 300.0 kB; once it is full");
        one(&found, Severity::Bad, "alarm NOSPACE");
    });
}

#[test]
fn history() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let mut client = client(&cluster).await;
        let mut last = 0;
        for _ in 0..20 {
            let put = client.put("x", "y", None).await.expect("it works");
            last = put.header().expect("a header").revision();
        }
        let options = CompactionOptions::new().with_physical();
        client.compact(last - 5, Some(options)).await.expect("it works");
        let found = check(cluster.endpoints()).await;
        one(&found, Severity::Good, "keeps 5 revisions since it was compacted last");
    });
}

/// etcd gives no lease that is shorter than its elections.
#[test]
fn a_lease_that_is_too_short() {
    let Some(cluster) = Cluster::start_with(1, "http", &["--election-timeout=3000".into()]) else {
        return;
    };
    runtime().block_on(async {
        client(&cluster).await;
        let options = Options::new(cluster.endpoints()).ttl(Duration::from_secs(2));
        let found = EtcdLock::new(&options).check().await.expect("it runs");
        one(&found, Severity::Odd, "leases of 2 s are asked for and etcd grants ");
    });
}

#[test]
fn what_does_not_belong_into_the_namespace() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let mut client = client(&cluster).await;
        let lock = EtcdLock::new(&Options::new(cluster.endpoints()));
        let _held = lock.acquire(&write("a")).await.expect("it works");
        let future = r#"{"nonce":1,"host":"h","pid":1,"since":9999999999999}"#;
        for (key, value) in [
            ("/treelock/default/W/b/!1.0", future),
            ("/treelock/default/W/b/c/!1.1", "damaged"),
            ("/treelock/default/R/no entry", ""),
            ("/treelock/default/notes", "mine"),
            ("/treelock/default/M", "what is said of the whole"),
            ("/treelock/other/W/b/!1.0", "of no concern"),
        ] {
            client.put(key, value, None).await.expect("it works");
        }
        let found = check(cluster.endpoints()).await;
        one(&found, Severity::Good, "2 requests are live, and 1 session");
        one(&found, Severity::Bad, "1 key (/treelock/default/W/b/!1.0): without a lease");
        let first = "2 keys (/treelock/default/R/no entry is the first): among the requests";
        one(&found, Severity::Bad, first);
        one(&found, Severity::Odd, "1 key (/treelock/default/notes): not a lock");
        one(&found, Severity::Odd, "1 key (/treelock/default/W/b/!1.0): written in the future");
    });
}

/// A user that may do nothing is no cluster that is cut off, and one that may only look gets no
/// lock.
#[test]
fn rights_that_are_missing() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let client = client(&cluster).await;
        let mut users = client.auth_client();
        users.role_add("looks").await.expect("it works");
        let reads = Permission::read("/treelock/").with_prefix();
        users.role_grant_permission("looks", reads).await.expect("it works");
        for (user, role) in [("root", Some("root")), ("looker", Some("looks")), ("nobody", None)] {
            users.user_add(user, "secret", None).await.expect("it works");
            if let Some(role) = role {
                users.user_grant_role(user, role).await.expect("it works");
            }
        }
        users.auth_enable().await.expect("it works");
        let check = async |user: &str| {
            let options = Options::new(cluster.endpoints()).user(user, "secret");
            within("it is checked", EtcdLock::new(&options).check()).await.expect("it runs")
        };
        let says = "let this user read the namespace (etcdserver: permission denied)";
        one(&check("nobody").await, Severity::Bad, says);
        let says = "let this user write into the namespace (etcdserver: permission denied)";
        let found = check("looker").await;
        one(&found, Severity::Bad, says);
        one(&found, Severity::Good, "0 requests are live, and 0 sessions");
        let found = check("root").await;
        assert!(!found.iter().any(|finding| finding.what.contains("let this user")), "{found:#?}");
        one(&found, Severity::Good, "never compacted");
    });
}

/// More keys than are read at once.
#[test]
fn many_keys() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let mut client = client(&cluster).await;
        for number in 0..1100 {
            let key = format!("/treelock/default/S/{number}");
            client.put(key, "", None).await.expect("it works");
        }
        let found = check(cluster.endpoints()).await;
        one(&found, Severity::Good, "0 requests are live, and 1100 sessions");
        one(&found, Severity::Bad, "1100 keys (/treelock/default/S/0 is the first): without");
    });
}

/// One that is being added: it takes no locks, and is no reason not to give them.
#[test]
fn a_member_that_learns() {
    let Some(mut cluster) = Cluster::start(1) else { return };
    let data = tempfile::tempdir().expect("a place for temporary files");
    runtime().block_on(async {
        cluster.add_learner(data.path()).await;
        let endpoints = cluster.endpoints();
        let says = format!("{} (etcd ", endpoints[1]);
        let seen = async {
            loop {
                let found = check(endpoints.clone()).await;
                // Until it has caught up it does not answer.
                if found.iter().any(|finding| finding.what.contains("is a learner")) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let found = within("it learns", seen).await;
        let finding = one(&found, Severity::Odd, "is a learner, which accepts no locks");
        assert!(finding.what.starts_with(&says), "{finding}");
        one(&found, Severity::Good, "the cluster has one member");
        // Whichever is named first.
        for endpoints in [endpoints.clone(), endpoints.into_iter().rev().collect()] {
            let lock = EtcdLock::new(&Options::new(endpoints));
            let guard = within("another votes", lock.acquire(&write("a"))).await;
            guard.expect("it works").release().await;
            lock.close().await;
        }
    });
}

/// One that takes what is sent and does not answer, as a network that is cut.
#[test]
fn a_member_that_hangs() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        client(&cluster).await;
        let lock = EtcdLock::new(&Options::new(cluster.endpoints()));
        lock.check().await.expect("it runs");
        cluster.members[0].signal(Signal::SIGSTOP);
        let error = within("it gives up", lock.check()).await.expect_err("it hangs");
        assert!(error.is_unavailable() && error.to_string().contains("no answer"), "{error}");
    });
}
