//! Which lock the command line and the environment mean.

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

/// The value of `--etcd` that takes the endpoints from where etcdctl has them.
const FROM_ETCDCTL: &str = "env";
const ENDPOINTS: &str = "ETCDCTL_ENDPOINTS";

/// A way to name the lock: an option, and the variable that stands for it.
struct Way {
    name: &'static str,
    option: &'static str,
    variable: &'static str,
}

/// The ways that exclude each other.
const WAYS: [Way; 3] = [
    Way { name: "url", option: "--url", variable: "TREELOCK_URL" },
    Way { name: "dir", option: "--dir", variable: "TREELOCK_DIR" },
    Way { name: "etcd", option: "--etcd", variable: "TREELOCK_ETCD" },
];

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Option,
    Environment,
}

/// Returns the address of the lock that the user wants: the one named, or the user's own directory.
/// An option counts for more than a variable. Variables for etcdctl move nobody to a cluster.
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
                "--{option} is for a cluster; name one with --url or --etcd"
            )));
        }
        (_, None) => {}
    }
    Ok(address)
}

fn origin(matches: &ArgMatches, name: &str) -> Option<Origin> {
    match matches.value_source(name) {
        Some(ValueSource::CommandLine) => Some(Origin::Option),
        Some(ValueSource::EnvVariable) => Some(Origin::Environment),
        _ => None,
    }
}

/// Returns which way names the lock.
fn chosen(matches: &ArgMatches) -> Result<Option<(&'static str, Origin)>, Failure> {
    let by = |wanted: Origin| -> Vec<&Way> {
        WAYS.iter().filter(|way| origin(matches, way.name) == Some(wanted)).collect()
    };
    match (&by(Origin::Option)[..], &by(Origin::Environment)[..]) {
        ([one, other, ..], _) => Err(Failure::usage(format_args!(
            "{} and {} name two locks; processes that use one do not see the other: choose one",
            one.option, other.option
        ))),
        ([way], _) => Ok(Some((way.name, Origin::Option))),
        ([], [one, other, ..]) => Err(Failure::usage(format_args!(
            "{} and {} name two locks; unset one of them, or say {} or {}",
            one.variable, other.variable, one.option, other.option
        ))),
        ([], [way]) => Ok(Some((way.name, Origin::Environment))),
        ([], []) => Ok(None),
    }
}

/// Returns the address that a text is.
fn by_text(text: &str, from: Origin) -> Result<Address, Failure> {
    let source = match from {
        Origin::Option => "--url",
        Origin::Environment => "TREELOCK_URL",
    };
    let address = text
        .parse()
        .map_err(|error| Failure::usage(format_args!("{source} names no lock: {error}")))?;
    Ok(match address {
        Address::Dir(dir) => Address::Dir(directory(&dir, from, "TREELOCK_URL")?),
        other => other,
    })
}

/// Returns the directory of the table of this host, as an absolute path.
fn directory(dir: &Path, from: Origin, variable: &str) -> Result<PathBuf, Failure> {
    if dir.as_os_str().is_empty() {
        return Err(Failure::usage(
            "the lock table has no directory: it is empty (an unset variable?); unset TREELOCK_DIR \
             for the default",
        ));
    }
    if dir.is_relative() && from == Origin::Environment {
        return Err(Failure::usage(format_args!(
            "{variable} names {dir:?}, which is another directory from each place; make it absolute"
        )));
    }
    std::path::absolute(dir).map_err(|error| {
        Failure::usage(format_args!(
            "cannot tell which directory {dir:?} is, since the working directory is gone or closed \
             ({error}); name it from `/` on"
        ))
    })
}

/// Returns the directory of a user who names none: where the user's state is. Not the run-time
/// directory, which cron, ssh and sudo do not set: two tables are two locks, and exclude nobody.
fn own_dir() -> Result<PathBuf, Failure> {
    let base = etcetera::base_strategy::Xdg::new().ok();
    let state = base.and_then(|base| base.state_dir());
    let state = state.filter(|path| path.is_absolute()).ok_or_else(|| {
        Failure::usage("this user has no home directory; name one for the lock table with --dir")
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

/// Returns the addresses of the members. Whether they are good is for the library to say.
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

/// Fills in what options and variables say of a cluster. What the text says already cannot be said
/// by an option too, and counts for more than a variable.
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
            "the URL and --{name} say the same thing twice; leave one out"
        )));
    }
    if etcd.namespace.is_none() {
        let namespace = utf8(arguments.namespace.as_deref(), "--namespace or TREELOCK_NAMESPACE")?;
        etcd.namespace = namespace.map(str::to_owned);
    }
    etcd.ttl = etcd.ttl.or(arguments.ttl);
    let given = |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
    etcd.ca_file = etcd.ca_file.take().or_else(|| given(&arguments.cacert));
    if etcd.cert_file.is_none() {
        etcd.cert_file = given(&arguments.cert);
        etcd.key_file = given(&arguments.key);
    }
    if etcd.cert_file.is_some() != etcd.key_file.is_some() {
        return Err(Failure::usage(
            "a certificate goes with its key; give both --cert and --key, or neither",
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

/// Returns the user and the password, as etcdctl takes them.
fn user<'a>(
    user: Option<&'a str>,
    password: Option<&'a str>,
) -> Result<Option<(&'a str, &'a str)>, Failure> {
    let is_given = |text: &&str| !text.is_empty();
    match (user.filter(is_given), password.filter(is_given)) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Failure::usage(
            "there is a password and no user; name the user with --user or ETCDCTL_USER",
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

/// Returns what is given, which may be a secret, as text.
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
