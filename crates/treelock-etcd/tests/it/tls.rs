//! TLS: whom the lock talks to, and what it says if it does not.

use std::{
    net::TcpListener,
    thread,
    time::{Duration, SystemTime},
};

use treelock_etcd::{Error, EtcdLock, Options, Tls};

use crate::{
    asking::{refused, within, works, write},
    certificates::{Authority, Files, HOUR, Signed},
    server::{Cluster, runtime},
};

/// Also what etcd's API does not tell is seen, by a client that has the certificate for it.
#[test]
fn a_check_with_certificates() {
    let authority = Authority::new();
    let files = Files::new(&authority.good("127.0.0.1"));
    let Some(cluster) = files.start(Some(&authority)) else { return };
    let client = authority.good("somebody");
    let tls = Tls::new().ca(authority.pem()).identity(client.certificate, client.key);
    let options = Options::new(cluster.endpoints()).tls(tls);
    runtime().block_on(async {
        works(&options).await;
        let found =
            within("it is checked", EtcdLock::new(&options).check()).await.expect("it runs");
        for says in ["of 2.1 GB", "the clocks of this machine and of the members agree"] {
            assert!(found.iter().any(|finding| finding.what.contains(says)), "{says}: {found:#?}");
        }
    });
}

/// What is said of TLS, to one who asks and to one who looks.
async fn refused_by_tls(options: &Options, expected: &str) {
    let looked = within("it is told", EtcdLock::new(options).snapshot()).await;
    for error in [refused(options).await, looked.expect_err("something is wrong")] {
        let Error::Tls { endpoint, what, .. } = &error else { panic!("{expected}: {error:?}") };
        assert!(what.contains(expected), "{error}");
        assert!(endpoint.contains("127.0.0.1:") && error.to_string().contains(what), "{error}");
    }
}

#[test]
fn tls_that_is_good() {
    let authority = Authority::new();
    let files = Files::new(&authority.good("127.0.0.1"));
    let Some(cluster) = files.start(None) else { return };
    let tls = Tls::new().ca(authority.pem());
    runtime().block_on(async {
        works(&Options::new(cluster.endpoints()).tls(tls.clone())).await;
        // An endpoint that does not say, and certificates in a file, of several authorities.
        let bare = cluster.endpoints()[0].replace("https://", "");
        let ca = files.put("ca.crt", &(Authority::new().pem() + &authority.pem()));
        works(&Options::new([bare]).tls(Tls::new().ca_file(ca))).await;
    });
}

#[test]
fn members_that_are_not_trusted() {
    let authority = Authority::new();
    let files = Files::new(&authority.good("127.0.0.1"));
    let Some(cluster) = files.start(None) else { return };
    let options = |tls| Options::new(cluster.endpoints()).tls(tls);
    let tls = Tls::new().ca(authority.pem());
    runtime().block_on(async {
        works(&options(tls.clone())).await;
        for another in [Authority::named("another"), Authority::new()] {
            let trusting = options(Tls::new().ca(another.pem()));
            refused_by_tls(&trusting, "signed by a CA that is not trusted").await;
        }
        // The system does not trust it either; a system that trusts nobody at all says so.
        let error = refused(&Options::new(cluster.endpoints())).await.to_string();
        let expected = ["signed by a CA that is not trusted", "trusts no certificate at all"];
        assert!(expected.iter().any(|expected| error.contains(expected)), "{error}");

        files.renew(&authority.sign("127.0.0.1", SystemTime::now() - HOUR));
        refused_by_tls(&options(tls.clone()), "has expired").await;

        files.renew(&authority.good("elsewhere.example"));
        refused_by_tls(&options(tls.clone()), "is not for 127.0.0.1").await;
        let elsewhere = tls.clone().server_name("elsewhere.example");
        works(&options(elsewhere.clone())).await;
        files.renew(&authority.good("127.0.0.1"));
        refused_by_tls(&options(elsewhere), "is not for elsewhere.example").await;
        works(&options(tls)).await;
    });
}

#[test]
fn client_certificates() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let files = Files::new(&authority.good("127.0.0.1"));
    let Some(cluster) = files.start(Some(&clients)) else { return };
    let tls = Tls::new().ca(authority.pem());
    let given = |client: Signed| {
        let tls = tls.clone().identity(client.certificate, client.key);
        Options::new(cluster.endpoints()).tls(tls)
    };
    runtime().block_on(async {
        works(&given(clients.good("me"))).await;
        let client = clients.good("me");
        let [certificate, key] = [("me.crt", client.certificate), ("me.key", client.key)]
            .map(|(name, text)| files.put(name, &text));
        let from_files = tls.clone().identity_files(certificate, key);
        works(&Options::new(cluster.endpoints()).tls(from_files)).await;

        let none = Options::new(cluster.endpoints()).tls(tls.clone());
        refused_by_tls(&none, "asks for a client certificate").await;
        let strange = given(Authority::new().good("me"));
        refused_by_tls(&strange, "does not accept our client certificate").await;
        let expired = given(clients.sign("me", SystemTime::now() - HOUR));
        refused_by_tls(&expired, "does not accept our client certificate").await;
    });
}

#[test]
fn tls_on_one_side_only() {
    let authority = Authority::new();
    let files = Files::new(&authority.good("127.0.0.1"));
    let Some(secure) = files.start(None) else { return };
    let Some(plain) = Cluster::start(1) else { return };
    let tls = Tls::new().ca(authority.pem());
    let with = |cluster: &Cluster, scheme: &str| {
        cluster.endpoints()[0].replace("https", "http").replace("http", scheme)
    };
    runtime().block_on(async {
        works(&Options::new(secure.endpoints()).tls(tls.clone())).await;
        works(&Options::new(plain.endpoints())).await;
        refused_by_tls(&Options::new([with(&secure, "http")]), "it uses TLS").await;
        let https = Options::new([with(&plain, "https")]).tls(tls.clone());
        refused_by_tls(&https, "it does not use TLS").await;
        // Where one member is right, the lock works.
        let both = [with(&plain, "https"), with(&secure, "https")];
        works(&Options::new(both.clone()).tls(tls.clone())).await;
        // Where that one is gone, it may come back.
        drop(secure);
        let error = refused(&Options::new(both).tls(tls)).await;
        assert!(error.is_unavailable(), "{error:?}");
    });
}

/// A server that only closes connections may be about to stop, or to start.
#[test]
fn connections_that_are_closed_are_no_misconfiguration() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || listener.incoming().for_each(drop));
    let tls = Tls::new().ca(Authority::new().pem());
    runtime().block_on(async {
        let plain = Options::new([format!("http://127.0.0.1:{port}")]);
        let secure = Options::new([format!("https://127.0.0.1:{port}")]).tls(tls);
        let (plain, secure) = tokio::join!(refused(&plain), refused(&secure));
        assert!(plain.is_unavailable(), "{plain:?}");
        assert!(secure.is_unavailable(), "{secure:?}");
    });
}

/// The member's certificate expires while a lock is held: the connection stays, and so does the
/// lock. Whoever must connect again loses it, is told why, and goes on when there is a new
/// certificate.
#[test]
fn a_certificate_that_expires_under_a_lock() {
    let authority = Authority::new();
    let expires = SystemTime::now() + Duration::from_secs(6);
    let files = Files::new(&authority.sign("127.0.0.1", expires));
    let Some(mut cluster) = files.start(None) else { return };
    let tls = Tls::new().ca(authority.pem());
    let options = Options::new(cluster.endpoints()).tls(tls).ttl(Duration::from_secs(3));
    runtime().block_on(async {
        let lock = EtcdLock::new(&options);
        let guard = lock.acquire(&write("a")).await.expect("it has not expired");
        while SystemTime::now() < expires + Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        refused_by_tls(&options, "has expired").await;
        assert!(guard.is_valid());
        lock.acquire(&write("b")).await.expect("it is connected").release().await;

        let lost = guard.lost();
        cluster.members[0].kill();
        cluster.members[0].start_again();
        within("it learns that its lease may have ended", lost).await;
        assert!(!guard.is_valid());
        let error = lock.acquire(&write("a")).await.expect_err("the certificate has expired");
        assert!(matches!(error, Error::Tls { .. }), "{error:?}");
        within("releasing what is lost", guard.release()).await;

        files.renew(&authority.good("127.0.0.1"));
        // What was seen to be wrong is not looked at again for a moment.
        let again = async {
            loop {
                match lock.acquire(&write("a")).await {
                    Err(Error::Tls { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
                    other => return other,
                }
            }
        };
        let again = within("a new session", again).await;
        again.expect("a new certificate").release().await;
    });
}
