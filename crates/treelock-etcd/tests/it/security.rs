//! TLS and passwords: whom etcd lets in, whom we speak to, and what is said when not.

use std::{
    fs,
    net::TcpListener,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

use etcd_client::{Client, ConnectOptions};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;
use treelock_etcd::{Error, EtcdLock, Options, Tls};

use crate::{
    leases::{within, write},
    server::{Cluster, runtime},
};

/// How long most certificates of the tests are good.
const HOUR: Duration = Duration::from_secs(3600);

/// One who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Authority {
        Authority::named("an authority of the tests")
    }

    fn named(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("good parameters"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for one who serves as this host, or is this user, until then.
    fn sign(&self, name: &str, until: SystemTime) -> Signed {
        let mut params = CertificateParams::new([name.to_string()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = (SystemTime::now() - 2 * HOUR).into();
        params.not_after = until.into();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("good parameters");
        Signed { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A certificate that is good for long.
    fn good(&self, name: &str) -> Signed {
        self.sign(name, SystemTime::now() + HOUR)
    }
}

/// The files of a server with TLS.
struct Files(TempDir);

impl Files {
    fn new(server: &Signed) -> Files {
        let files = Files(tempfile::tempdir().expect("a place for temporary files"));
        files.renew(server);
        files
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("a place for temporary files");
        path.display().to_string()
    }

    /// Gives the server another certificate, which it takes with the next connection.
    fn renew(&self, server: &Signed) {
        self.put("server.crt", &server.certificate);
        self.put("server.key", &server.key);
    }

    /// One member that has this certificate; with an authority, one that demands a certificate of its clients.
    fn start(&self, clients: Option<&Authority>) -> Option<Cluster> {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let mut arguments = vec![
            format!("--cert-file={}", path("server.crt")),
            format!("--key-file={}", path("server.key")),
        ];
        if let Some(clients) = clients {
            arguments.push("--client-cert-auth".into());
            arguments
                .push(format!("--trusted-ca-file={}", self.put("clients.crt", &clients.pem())));
        }
        Cluster::start_with(1, "https", &arguments)
    }
}

/// Takes a lock and gives it back.
async fn works(options: &Options) {
    let guard = within("it is granted", EtcdLock::new(options).acquire(&write("a"))).await;
    guard.expect("good options").release().await;
}

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

/// What is said to one who asks.
async fn refused(options: &Options) -> Error {
    let asked = within("it is told", EtcdLock::new(options).acquire(&write("a"))).await;
    asked.expect_err("something is wrong")
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

/// Who only closes connections may be about to stop, or to start.
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

/// The member's certificate expires while a lock is held: the connection stays, and so does the lock. Who has to
/// connect anew loses it, is told why, and goes on when there is a new certificate.
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
        (good().ttl(Duration::MAX), "9000000000 at most"),
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

/// What the README says to do for the namespace `builds` and the user `builder`, and a user who may only read.
/// These arguments are given to etcdctl, too.
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

/// The role of the README may do everything in its namespace and nothing elsewhere; one that may only read, look.
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

/// Who holds goes on, and what he asks with the old password is denied.
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
        let ticket = guard.token().0;
        let revoke = async { while administrator.revoke(ticket).await.is_err() {} };
        within("it is back", revoke).await;
        within("the holder is told", lost).await;
        assert!(!guard.is_valid());
    });
}

#[test]
fn a_label_for_all_requests() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = EtcdLock::new(&Options::new(cluster.endpoints()).label("nightly"));
        let _one = lock.acquire(&write("a")).await.expect("it works");
        let _two = lock.acquire(&write("b").label("own")).await.expect("it works");
        let snapshot = lock.snapshot().await.expect("it works");
        let labels: Vec<_> = snapshot.entries.iter().map(|entry| entry.label.as_deref()).collect();
        assert_eq!(labels, [Some("nightly"), Some("own")]);
    });
}

/// Tokens of etcd that expire, or are older than a change to users and roles, are renewed, and no lock is lost.
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
