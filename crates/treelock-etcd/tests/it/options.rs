//! Options: what is refused at once, and what the others do.

use std::time::Duration;

use treelock_etcd::{Error, EtcdLock, Options, Tls};

use crate::{
    asking::{refused, works, write},
    certificates::Authority,
    server::{Cluster, runtime},
};

#[test]
fn options_that_cannot_be_right() {
    let good = || Options::new(["https://127.0.0.1:2379"]);
    let authority = Authority::new();
    let client = authority.good("me");
    let tls = |tls: Tls| good().tls(tls);
    let other_key = authority.good("me").key;
    let cases = [
        (Options::new([] as [&str; 0]), "there is no endpoint"),
        (Options::new(["http://127.0.0.1:2379", "ftp://127.0.0.1:1"]), "is neither http:// nor"),
        (Options::new(["http://127.0.0.1:2379"]).tls(Tls::new()), "and TLS is set"),
        (good().namespace(""), "the namespace is empty"),
        (good().namespace("/builds"), "has a slash"),
        (good().namespace("builds/R"), "has a slash"),
        (good().namespace("my builds"), "a space"),
        (good().ttl(Duration::ZERO), "cannot last 0 seconds"),
        (good().ttl(Duration::MAX), "at most 9000000000"),
        (tls(Tls::new().ca("")), "the CA certificate contains no certificate"),
        (tls(Tls::new().ca(&*client.key)), "the CA certificate contains no certificate"),
        (tls(Tls::new().ca("-----BEGIN CERTIFICATE-----\n!")), "is not valid PEM"),
        (tls(Tls::new().ca_file("/nobody/has/this")), "/nobody/has/this cannot be read"),
        (
            tls(Tls::new().identity("", &*client.key)),
            "the client certificate contains no certificate",
        ),
        (
            tls(Tls::new().identity(&*client.certificate, "")),
            "the client key is not an unencrypted private key",
        ),
        (tls(Tls::new().identity(&*client.certificate, other_key)), "do not belong together"),
        (tls(Tls::new().server_name("not a name")), "is neither a DNS name nor an address"),
    ];
    runtime().block_on(async {
        for (options, expected) in cases {
            let checked = options.check().expect_err(expected);
            let looked = EtcdLock::new(&options).snapshot().await.expect_err(expected);
            for error in [checked, looked, refused(&options).await] {
                assert!(matches!(error, Error::Options { .. }), "{expected}: {error:?}");
                assert!(error.to_string().contains(expected), "{expected}: {error}");
            }
        }
    });
}

#[test]
fn the_shortest_and_the_longest_lease() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        for ttl in [Duration::from_nanos(1), Duration::from_secs(9_000_000_000)] {
            works(&Options::new(cluster.endpoints()).ttl(ttl)).await;
        }
    });
}

#[test]
fn a_label_for_all_requests() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = EtcdLock::new(&Options::new(cluster.endpoints()).label("nightly"));
        let _one = lock.acquire(&write("a")).await.expect("it works");
        let _two = lock.acquire(&write("b").with_label("own")).await.expect("it works");
        let snapshot = lock.snapshot().await.expect("it works");
        let labels: Vec<_> = snapshot.entries.iter().map(|entry| entry.label.as_deref()).collect();
        assert_eq!(labels, [Some("nightly"), Some("own")]);
    });
}
