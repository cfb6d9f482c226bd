//! How a cluster is reached: endpoints, users, certificates.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

use super::scene;
use crate::{
    scene::{Done, Running, Scene, until},
    server::Cluster,
};

#[test]
fn which_lock_is_meant() {
    let Some((cluster, scene)) = scene() else { return };
    let endpoint = &cluster.endpoints()[0];
    let _holder = scene.hold(&["-w", "a"]);
    let host = Scene::new();
    let who = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = host.treelock(arguments);
        Done(command.envs(environment.iter().copied()).output().unwrap())
    };
    // Variables for etcdctl move nobody to a cluster.
    let etcdctl = [("ETCDCTL_ENDPOINTS", &**endpoint), ("ETCDCTL_USER", "nobody:secret")];
    assert_eq!(who(&["who", "a"], &etcdctl).code(), 0);
    // An option counts for more than the environment.
    assert_eq!(who(&["who", "a", "--etcd", endpoint], &[]).code(), 75);
    let bare = endpoint.strip_prefix("http://").unwrap();
    assert_eq!(who(&["--etcd", bare, "who", "a"], &[]).code(), 75);
    assert_eq!(who(&["who", "a", "--etcd", "env"], &etcdctl[..1]).code(), 75);
    let dir = host.table();
    let dir = dir.to_str().unwrap();
    assert_eq!(who(&["who", "a", "--dir", dir], &[("TREELOCK_ETCD", endpoint)]).code(), 0);
    for (arguments, environment, says) in [
        (&["ls", "--etcd", endpoint, "--dir", dir][..], &[][..], "--dir and --etcd name two"),
        (&["ls"], &[("TREELOCK_ETCD", &**endpoint)], "TREELOCK_DIR and TREELOCK_ETCD name two"),
        (&["ls", "--namespace", "x"], &[], "--namespace works only for a cluster"),
        (&["ls", "--etcd", ""], &[], "has no endpoints"),
        (&["ls", "--etcd", "env"], &[], "ETCDCTL_ENDPOINTS is empty or not set"),
        (&["ls", "--etcd", endpoint, "--ttl", "1s"], &[], "from 2 seconds to one day"),
        (&["ls", "--etcd", endpoint, "--user", "me"], &[], "has no password"),
        (&["ls", "--etcd", endpoint, "--namespace", ""], &[], "the namespace is empty"),
        (&["ls", "--etcd", endpoint, "--namespace", "a/W"], &[], "has a slash"),
        (&["ls", "--etcd", "unix://x:1"], &[], "neither http:// nor https://"),
        (&["ls", "--etcd", bare, "--cert", "c"], &[], "give both --cert and --key"),
        (&["ls", "--etcd", bare, "--cacert", "no-such"], &[], "no-such cannot be read"),
        (&["ls", "--etcd", bare], &[("ETCDCTL_CACERT", "no-such")], "no-such cannot be read"),
    ] {
        let done = who(arguments, environment);
        assert_eq!(done.code(), 64, "{arguments:?}");
        assert!(done.stderr().contains(says), "{arguments:?}: {}", done.stderr());
    }
}

#[test]
fn a_url_is_another_name_of_the_same_lock() {
    let Some((cluster, scene)) = scene() else { return };
    let members = cluster.endpoints().join(",");
    let bare = members.replace("http://", "");
    let _holder = scene.hold(&["-w", "a", "--namespace", "one"]);
    let host = Scene::new();
    let who = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = host.treelock([&["who", "a"], arguments].concat());
        command.env_remove("TREELOCK_DIR").envs(environment.iter().copied());
        Done(command.output().unwrap())
    };
    let one = format!("etcd://{bare}/one");
    let (verbose, with_ttl) = (format!("etcd://{members}/one"), format!("{one}?ttl=5s"));
    let nobody = format!("etcd://{bare}");
    for (arguments, environment, code) in [
        (&["--url", &one][..], &[][..], 75),
        (&["--url", &verbose], &[], 75),
        (&["--url", &with_ttl], &[], 75),
        (&[], &[("TREELOCK_URL", &*one)], 75),
        (&["--url", &nobody], &[], 0),
        // Options and variables fill in what the URL does not say.
        (&["--url", &nobody, "--namespace", "one"], &[], 75),
        (&["--url", &nobody], &[("TREELOCK_NAMESPACE", "one")], 75),
        (&["--url", &one, "--ttl", "5s"], &[("TREELOCK_NAMESPACE", "two")], 75),
    ] {
        let done = who(arguments, environment);
        assert_eq!(done.code(), code, "{arguments:?} {environment:?}: {}", done.stderr());
    }
    for (arguments, says) in [
        (&["--url", &with_ttl, "--ttl", "5s"][..], "the URL and --ttl say the same thing twice"),
        (&["--url", &one, "--namespace", "one"], "the URL and --namespace say"),
        (&["--url", "etcd://me@a:1", "--user", "me"], "the URL and --user say"),
        (&["--url", "etcd://me@a:1"], "user \"me\" has no password"),
        (&["--url", "etcd://a:1?ca=no-such"], "no-such cannot be read"),
        (&["--url", "etcd://me@a:1?password-file=no-such"], "\"no-such\" cannot be read"),
    ] {
        let done = who(arguments, &[]);
        assert_eq!(done.code(), 64, "{arguments:?}");
        assert!(done.stderr().contains(says), "{arguments:?}: {}", done.stderr());
    }
    let report = host.done(&["doctor", "--json", "--url", &with_ttl]).stdout();
    assert!(report.contains(&format!("\"place\":\"{with_ttl}\"")), "{report}");
}

/// Lets the cluster ask everybody for a password; `root` has `right`.
fn with_password(cluster: &Cluster) {
    let etcdctl = |arguments: &[&str]| {
        let mut command = std::process::Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &cluster.endpoints()[0]]);
        command.args(arguments).output().is_ok_and(|output| output.status.success())
    };
    until("it runs", || etcdctl(&["user", "add", "root:right"]));
    assert!(etcdctl(&["user", "grant-role", "root", "root"]));
    assert!(etcdctl(&["auth", "enable"]));
}

#[test]
fn passwords() {
    let Some((cluster, scene)) = scene() else { return };
    if !crate::scene::can(&["etcdctl", "version"]) {
        return;
    }
    with_password(&cluster);
    let with = |user: &str, password: Option<&str>, arguments: &[&str]| {
        let mut command = scene.treelock(arguments);
        command.env("ETCDCTL_USER", user);
        if let Some(password) = password {
            command.env("ETCDCTL_PASSWORD", password);
        }
        Done(command.output().unwrap())
    };
    let run = ["run", "-w", "a", "--", "true"];
    assert_eq!(with("root:right", None, &run).code(), 0);
    assert_eq!(with("root", Some("right"), &run).code(), 0);
    let by_option = ["run", "-w", "a", "--user", "root", "--password", "right", "--", "true"];
    assert_eq!(scene.done(&by_option).code(), 0);
    for arguments in [&run[..], &["ls"], &["doctor"]] {
        let wrong = with("root", Some("wr0ng-secret"), arguments);
        assert_eq!(wrong.code(), 74, "{arguments:?}");
        assert!(wrong.stderr().contains("check the user name and the password"));
        assert!(!wrong.stderr().contains("wr0ng-secret"), "{}", wrong.stderr());
    }
    let shown = with("root:right", None, &["doctor", "--json"]).stdout();
    assert!(!shown.contains("right"), "{shown}");
    // Who works under the lock need not be able to break all locks.
    let script = "echo ${ETCDCTL_USER-none} ${ETCDCTL_PASSWORD-none}";
    let shows = ["run", "-w", "a", "--", "sh", "-c", script];
    assert_eq!(with("root:right", None, &shows).stdout(), "none none\n");
    assert_eq!(with("root", Some("right"), &shows).stdout(), "root none\n");
    let no_text = OsStr::from_bytes(b"\xff-secret");
    let mut command = scene.treelock(["ls"]);
    command.env("ETCDCTL_USER", "root").env("ETCDCTL_PASSWORD", no_text);
    let done = Done(command.output().unwrap());
    let said = "treelock: the value of --password or ETCDCTL_PASSWORD is not UTF-8\n";
    assert_eq!((done.code(), &*done.stderr()), (64, said));
    // What the processes of this host are shown with.
    let mut command = scene.treelock(["run", "-w", "a", "--", "sh", "-c", "echo up; read line"]);
    let mut running = Running::start(command.env("ETCDCTL_USER", "root:right"));
    assert_eq!(running.line(), "up");
    let shown = fs::read_to_string(format!("/proc/{}/cmdline", running.id())).unwrap();
    assert!(shown.contains("treelock") && !shown.contains("right"), "{shown}");
    assert_eq!(running.finish(), 1, "of `read`, at the end of its input");
}

#[test]
fn passwords_of_a_url() {
    let Some((cluster, scene)) = scene() else { return };
    if !crate::scene::can(&["etcdctl", "version"]) {
        return;
    }
    with_password(&cluster);
    let member = cluster.endpoints()[0].replace("http://", "");
    fs::write(scene.path("secret"), "right\n").unwrap();
    let with = |url: &str, environment: &[(&str, &str)], arguments: &[&str]| {
        let mut command = scene.treelock(arguments);
        command.env_remove("TREELOCK_ETCD").env("TREELOCK_URL", url);
        Done(command.envs(environment.iter().copied()).output().unwrap())
    };
    let run = ["run", "-w", "a", "--", "true"];
    let right = format!("etcd://root:right@{member}");
    let by_file = format!("etcd://root@{member}?password-file=secret");
    let by_variable = format!("etcd://root@{member}?password-env=SECRET");
    let by_nothing = format!("etcd://root@{member}");
    for (url, environment) in [
        (&right, &[][..]),
        (&by_file, &[]),
        (&by_variable, &[("SECRET", "right")]),
        (&by_nothing, &[("ETCDCTL_PASSWORD", "right")]),
    ] {
        let done = with(url, environment, &run);
        assert_eq!((done.code(), &*done.stderr()), (0, ""), "{url}");
    }
    let wrong = with(&right.replace("right", "wr0ng"), &[], &["ls"]);
    assert_eq!(wrong.code(), 74, "{}", wrong.stderr());
    assert!(!wrong.stderr().contains("wr0ng"), "{}", wrong.stderr());
    // A command under the lock finds the URL without the password, so that a treelock inside says
    // what it lacks instead of using another lock.
    let script =
        format!("echo $TREELOCK_URL ${{SECRET-none}}; {} ls; echo $?", crate::scene::TREELOCK);
    let shows = ["run", "-w", "a", "--", "sh", "-c", &script];
    let shown = with(&right, &[], &shows);
    assert_eq!(shown.stdout(), format!("{by_nothing} none\n64\n"));
    assert!(shown.stderr().contains("user \"root\" has no password"), "{}", shown.stderr());
    let shown = with(&by_variable, &[("SECRET", "right")], &shows);
    assert_eq!(shown.stdout(), format!("{by_variable} none\n64\n"));
    // So it does when an option names the lock; and it finds no URL that nobody could read.
    let unreadable = "etcd://me:s3cret@host";
    let script = "echo ${TREELOCK_URL-none} ${SECRET-none}";
    let shows = ["run", "--url", &by_variable, "-w", "a", "--", "sh", "-c", script];
    let shown = with(unreadable, &[("SECRET", "right")], &shows);
    assert_eq!(shown.stdout(), "none none\n", "{}", shown.stderr());
    let report = with(&right, &[], &["doctor", "--json"]).stdout();
    assert!(report.contains(&by_nothing) && !report.contains("right"), "{report}");
}

/// An authority, and a certificate of it for members and clients alike, in this scene's directory.
const CERTIFICATES: &str = "set -e
new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
openssl req -x509 $new -keyout ca.key -out ca.crt -days 1 -subj /CN=tests
openssl req $new -keyout own.key -out own.csr -subj /CN=member
echo subjectAltName=IP:127.0.0.1 > names
openssl x509 -req -in own.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out own.crt -days 1 \\
  -extfile names";

#[test]
fn certificates() {
    let host = Scene::new();
    let mut openssl = std::process::Command::new("sh");
    let made = openssl.args(["-c", CERTIFICATES]).current_dir(host.dir()).output().unwrap();
    if !made.status.success() {
        return eprintln!("not tested, since there is no openssl: {made:?}");
    }
    let file = |name: &str| host.path(name).display().to_string();
    let (ca, cert, key) = (file("ca.crt"), file("own.crt"), file("own.key"));
    let arguments = [
        format!("--cert-file={cert}"),
        format!("--key-file={key}"),
        "--client-cert-auth".into(),
        format!("--trusted-ca-file={ca}"),
    ];
    let Some(cluster) = Cluster::start_with(1, "https", &arguments) else { return };
    let scene = Scene::on(&cluster.endpoints());
    let options = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    let by_option = [&["run", "-w", "a"], &options[..], &["--", "true"]].concat();
    until("it runs", || scene.done(&by_option).code() == 0);
    // As etcdctl has them, and an endpoint that does not say https.
    let bare = cluster.endpoints()[0].replace("https://", "");
    let mut command = scene.treelock(["who", "a"]);
    command.env("TREELOCK_ETCD", bare).env("ETCDCTL_CACERT", &ca);
    command.env("ETCDCTL_CERT", &cert).env("ETCDCTL_KEY", &key);
    let done = Done(command.output().unwrap());
    assert_eq!((done.code(), &*done.stderr()), (0, ""));
    // What is set and empty is as good as not set.
    let mut command = scene.treelock([&["who", "a"], &options[..]].concat());
    command.env("ETCDCTL_USER", "").env("ETCDCTL_PASSWORD", "");
    assert_eq!(Done(command.output().unwrap()).code(), 0);
    let mut command = scene.treelock([&["who", "a"], &options[..2]].concat());
    command.env("ETCDCTL_CERT", "").env("ETCDCTL_KEY", "");
    assert_eq!(Done(command.output().unwrap()).code(), 74);
    let without = scene.done(&["ls", "--cacert", &ca]);
    assert_eq!(without.code(), 74);
    assert!(without.stderr().contains("certificate"), "{}", without.stderr());
}
