//! Determines which lock the command line and the environment name.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, parser::ValueSource};
use etcetera::BaseStrategy as _;
use treelock_any::{Address, EtcdAddress, Password};

use crate::{
    arguments::{CLUSTER_OPTIONS, LockArguments},
    error::Failure,
};

/// The value of `--etcd` that takes the endpoints from etcdctl's variable.
const FROM_ETCDCTL: &str = "env";
const ENDPOINTS: &str = "ETCDCTL_ENDPOINTS";

/// A way to name the lock: an option, and the equivalent variable.
struct Way {
    name: &'static str,
    option: &'static str,
    variable: &'static str,
}

/// The mutually exclusive ways to name the lock.
const WAYS: [Way; 3] = [
    Way { name: "url", option: "--url", variable: "TREELOCK_URL" },
    Way { name: "dir", option: "--dir", variable: "TREELOCK_DIR" },
    Way { name: "etcd", option: "--etcd", variable: "TREELOCK_ETCD" },
];

/// The origin of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Option,
    Environment,
}

/// Returns the address of the lock that the user wants: the one that is named, or else the user's
/// own directory. Options take precedence over variables. Variables for etcdctl alone never select
/// a cluster.
pub(crate) fn address(arguments: &LockArguments, matches: &ArgMatches) -> Result<Address, Failure> {
    let chosen = chosen(matches)?;
    let mut address = match chosen {
        None => Address::Dir(own_dir()?),
        Some(("url", origin)) => {
            let text = utf8(arguments.url.as_deref(), "--url or TREELOCK_URL")?;
            by_text(text.unwrap_or_default(), origin)?
        }
        Some(("dir", origin)) => {
            let dir = arguments.dir.as_deref().unwrap_or(Path::new(""));
            Address::Dir(directory(dir, origin, "TREELOCK_DIR")?)
        }
        Some(_) => Address::Etcd(by_members(arguments)?),
    };
    let of_cluster =
        CLUSTER_OPTIONS.into_iter().find(|name| origin(matches, name) == Some(Origin::Option));
    match (&mut address, of_cluster) {
        (Address::Etcd(etcd), _) => complete(etcd, arguments, matches)?,
        (_, Some(option)) => {
            return Err(Failure::usage(format_args!(
                "--{option} works only for a cluster; name one with --url or --etcd"
            )));
        }
        (_, None) => {}
    }
    Ok(address)
}

/// Returns where the value of an option that names the lock comes from.
fn origin(matches: &ArgMatches, name: &str) -> Option<Origin> {
    // The option that `hold` has of this name says how long it holds.
    if name == "ttl" && matches.subcommand_name() == Some("hold") {
        return None;
    }
    match matches.value_source(name) {
        Some(ValueSource::CommandLine) => Some(Origin::Option),
        Some(ValueSource::EnvVariable) => Some(Origin::Environment),
        _ => None,
    }
}

/// Returns the way in which the lock is named.
fn chosen(matches: &ArgMatches) -> Result<Option<(&'static str, Origin)>, Failure> {
    let by = |wanted: Origin| -> Vec<&Way> {
        WAYS.iter().filter(|way| origin(matches, way.name) == Some(wanted)).collect()
    };
    match (&by(Origin::Option)[..], &by(Origin::Environment)[..]) {
        ([one, other, ..], _) => Err(Failure::usage(format_args!(
            "{} and {} name two locks, whose users do not see each other; choose one",
            one.option, other.option
        ))),
        ([way], _) => Ok(Some((way.name, Origin::Option))),
        ([], [one, other, ..]) => Err(Failure::usage(format_args!(
            "{} and {} name two locks; unset one of them, or use {} or {}",
            one.variable, other.variable, one.option, other.option
        ))),
        ([], [way]) => Ok(Some((way.name, Origin::Environment))),
        ([], []) => Ok(None),
    }
}

/// Parses a text as an address.
fn by_text(text: &str, from: Origin) -> Result<Address, Failure> {
    let source = match from {
        Origin::Option => "--url",
        Origin::Environment => "TREELOCK_URL",
    };
    let address = text
        .parse()
        .map_err(|error| Failure::usage(format_args!("{source} does not name a lock: {error}")))?;
    Ok(match address {
        Address::Dir(dir) => Address::Dir(directory(&dir, from, "TREELOCK_URL")?),
        other => other,
    })
}

/// Returns the directory of the table of this host, as an absolute path.
fn directory(dir: &Path, from: Origin, variable: &str) -> Result<PathBuf, Failure> {
    if dir.as_os_str().is_empty() {
        return Err(Failure::usage(
            "the directory of the lock table is empty (an unset variable?); unset TREELOCK_DIR to \
             use the default",
        ));
    }
    if dir.is_relative() && from == Origin::Environment {
        return Err(Failure::usage(format_args!(
            "{variable} names {dir:?}, which depends on the working directory; make it absolute"
        )));
    }
    std::path::absolute(dir).map_err(|error| {
        Failure::usage(format_args!(
            "cannot tell which directory {dir:?} is, because the working directory is gone or \
             inaccessible ({error}); use an absolute path"
        ))
    })
}

/// Returns the default directory, which is where the user's state is. It is not the run-time
/// directory, which cron, ssh and sudo do not set: two tables would be two locks, and processes
/// with different tables do not exclude each other.
fn own_dir() -> Result<PathBuf, Failure> {
    let base = etcetera::base_strategy::Xdg::new().ok();
    let state = base.and_then(|base| base.state_dir());
    let state = state.filter(|path| path.is_absolute()).ok_or_else(|| {
        Failure::usage(
            "this user has no home directory; name the lock table's directory with \
            --dir",
        )
    })?;
    Ok(state.join("treelock"))
}

/// Returns the address of the cluster with the members that `--etcd` names.
fn by_members(arguments: &LockArguments) -> Result<EtcdAddress, Failure> {
    let given = utf8(arguments.etcd.as_deref(), "--etcd or TREELOCK_ETCD")?;
    let from_etcdctl = env::var(ENDPOINTS).ok();
    let members = endpoints(given.unwrap_or_default(), from_etcdctl.as_deref())?;
    Ok(EtcdAddress::new(members))
}

/// Returns the addresses of the members. The library checks whether they are valid.
fn endpoints(given: &str, from_etcdctl: Option<&str>) -> Result<Vec<String>, Failure> {
    let (given, source) = match given {
        FROM_ETCDCTL => (from_etcdctl.unwrap_or_default(), ENDPOINTS),
        given => (given, "--etcd or TREELOCK_ETCD"),
    };
    let each = given.split(',').map(str::trim).filter(|endpoint| !endpoint.is_empty());
    let endpoints: Vec<String> = each.map(str::to_owned).collect();
    match endpoints.is_empty() {
        false => Ok(endpoints),
        true => Err(Failure::usage(format_args!(
            "the cluster has no endpoints: {source} is empty or not set; name its members, as in \
             http://10.0.0.1:2379"
        ))),
    }
}

/// Fills in what options and variables say about a cluster. An option must not repeat what the URL
/// says, and the URL takes precedence over variables.
fn complete(
    etcd: &mut EtcdAddress,
    arguments: &LockArguments,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let said = [
        ("namespace", etcd.namespace.is_some()),
        ("ttl", etcd.ttl.is_some()),
        ("cacert", etcd.ca_file.is_some()),
        ("cert", etcd.cert_file.is_some()),
        ("key", etcd.key_file.is_some()),
        ("user", etcd.user.is_some()),
        ("password", etcd.password.is_some()),
    ];
    let twice = said
        .iter()
        .find(|(name, is_said)| *is_said && origin(matches, name) == Some(Origin::Option));
    if let Some((name, _)) = twice {
        return Err(Failure::usage(format_args!(
            "the URL and --{name} say the same thing twice; omit one of them"
        )));
    }
    if etcd.namespace.is_none() {
        let namespace = utf8(arguments.namespace.as_deref(), "--namespace or TREELOCK_NAMESPACE")?;
        etcd.namespace = namespace.map(str::to_owned);
    }
    let lease = arguments.ttl.filter(|_| origin(matches, "ttl").is_some());
    etcd.ttl = etcd.ttl.or(lease);
    let given = |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
    etcd.ca_file = etcd.ca_file.take().or_else(|| given(&arguments.cacert));
    if etcd.cert_file.is_none() {
        etcd.cert_file = given(&arguments.cert);
        etcd.key_file = given(&arguments.key);
    }
    if etcd.cert_file.is_some() != etcd.key_file.is_some() {
        return Err(Failure::usage(
            "a certificate needs its key; give both --cert and --key, or neither",
        ));
    }
    complete_user(etcd, arguments)
}

fn complete_user(etcd: &mut EtcdAddress, arguments: &LockArguments) -> Result<(), Failure> {
    if etcd.password.is_some() {
        return Ok(());
    }
    let by_text = etcd.user.take();
    let name = match &by_text {
        Some(name) => Some(&**name),
        None => utf8(arguments.user.as_deref(), "--user or ETCDCTL_USER")?,
    };
    let password = utf8(arguments.password.as_deref(), "--password or ETCDCTL_PASSWORD")?;
    if let Some((name, password)) = user(name, password)? {
        etcd.password = Some(Password::Text(password.to_owned()));
        etcd.user = Some(name.to_owned());
    }
    Ok(())
}

/// Returns the user and the password, in the way etcdctl reads them.
fn user<'a>(
    user: Option<&'a str>,
    password: Option<&'a str>,
) -> Result<Option<(&'a str, &'a str)>, Failure> {
    let is_given = |text: &&str| !text.is_empty();
    match (user.filter(is_given), password.filter(is_given)) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Failure::usage(
            "there is a password but no user; name the user with --user or ETCDCTL_USER",
        )),
        (Some(user), Some(password)) => Ok(Some((user, password))),
        (Some(user), None) => user.split_once(':').map(Some).ok_or_else(|| {
            Failure::usage(format_args!(
                "user {user:?} has no password; set ETCDCTL_PASSWORD, or ETCDCTL_USER to \
                 name:password"
            ))
        }),
    }
}

/// Returns a value, which may be a secret, as text.
fn utf8<'a>(given: Option<&'a OsStr>, source: &str) -> Result<Option<&'a str>, Failure> {
    let text = given.map(|given| given.to_str().ok_or(source)).transpose();
    text.map_err(|source| Failure::usage(format_args!("the value of {source} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_options_and_of_etcdctl() {
        let of = |given, etcdctl| endpoints(given, etcdctl).map_err(|failure| failure.message);
        assert_eq!(of("a:1, https://b:2,", None).unwrap(), ["a:1", "https://b:2"]);
        assert_eq!(of("env", Some("c:3")).unwrap(), ["c:3"]);
        for (given, etcdctl, says) in [
            ("", Some("c:3"), "--etcd or TREELOCK_ETCD is empty"),
            (" , ", None, "--etcd or TREELOCK_ETCD is empty"),
            ("env", None, "ETCDCTL_ENDPOINTS is empty or not set"),
        ] {
            let message = of(given, etcdctl).unwrap_err();
            assert!(message.contains(says), "{given}: {message}");
        }
    }

    #[test]
    fn users_as_etcdctl_takes_them() {
        assert_eq!(user(None, None).unwrap(), None);
        assert_eq!(user(Some(""), Some("")).unwrap(), None);
        assert_eq!(user(Some("me:a:b"), None).unwrap(), Some(("me", "a:b")));
        assert_eq!(user(Some("me:x"), Some("secret")).unwrap(), Some(("me:x", "secret")));
        assert!(user(Some("me"), None).unwrap_err().message.contains("\"me\" has no password"));
        let message = user(None, Some("secret")).unwrap_err().message;
        assert!(message.contains("no user") && !message.contains("secret"), "{message}");
    }
}
