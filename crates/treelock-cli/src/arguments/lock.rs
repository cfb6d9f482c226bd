//! The options that name the lock.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser as _},
};

use super::values::lease;

/// Which lock to use, and how to reach it. Options that etcdctl also has have the same names.
///
/// Values that may come from the environment are accepted as they are, even if they are empty or
/// not UTF-8. Variables for etcdctl must not break a program that uses no cluster.
#[derive(Args)]
pub(crate) struct LockArguments {
    #[arg(long, global = true, value_name = "URL", env = "TREELOCK_URL", hide_env_values = true)]
    #[arg(help = URL_HELP, long_help = URL_LONG_HELP)]
    pub(crate) url: Option<OsString>,

    /// Directory of the lock table; the same as --url dir:PATH
    ///
    /// The default is a directory of the user: $XDG_STATE_HOME/treelock, or ~/.local/state/treelock
    /// if that variable is not set. It is created on first use, for this user only.
    #[arg(long, global = true, value_name = "PATH", env = "TREELOCK_DIR", hide_env_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))] // may be empty
    pub(crate) dir: Option<PathBuf>,

    /// Use the lock in this etcd cluster, shared between machines, instead of this host's lock
    ///
    /// The value lists its members, as in http://10.0.0.1:2379,http://10.0.0.2:2379; or is `env`,
    /// for the members in ETCDCTL_ENDPOINTS.
    #[arg(long, global = true, value_name = "ENDPOINTS")]
    #[arg(help_heading = CLUSTER, hide = !HAS_CLUSTERS)]
    #[arg(env = "TREELOCK_ETCD", hide_env_values = true)]
    pub(crate) etcd: Option<OsString>,

    /// Namespace of the lock; namespaces are independent of each other [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    #[arg(help_heading = CLUSTER, hide = !HAS_CLUSTERS)]
    #[arg(env = "TREELOCK_NAMESPACE", hide_env_values = true, hide_short_help = true)]
    pub(crate) namespace: Option<OsString>,

    /// About how long the lock stays after this process has died or is cut off [default: 15s]
    ///
    /// It stays longer if etcd does not grant such short leases, or if its leader changes
    /// meanwhile.
    #[arg(long, global = true, value_name = "DURATION")]
    #[arg(help_heading = CLUSTER, hide = !HAS_CLUSTERS)]
    #[arg(value_parser = lease, hide_short_help = true)]
    pub(crate) ttl: Option<Duration>,

    /// File with the CA certificates that verify the members (PEM)
    #[arg(long, global = true, value_name = "PATH")]
    #[arg(help_heading = CLUSTER, hide = !HAS_CLUSTERS)]
    #[arg(env = "ETCDCTL_CACERT", hide_env_values = true, hide_short_help = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) cacert: Option<PathBuf>,

    /// File with this client's certificate (PEM)
    #[arg(long, global = true, value_name = "PATH")]
    #[arg(help_heading = CLUSTER, hide = !HAS_CLUSTERS)]
    #[arg(env = "ETCDCTL_CERT", hide_env_values = true, hide_short_help = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) cert: Option<PathBuf>,

    /// File with the key of this client's certificate (PEM)
    #[arg(long, global = true, value_name = "PATH")]
    #[arg(help_heading = CLUSTER, hide = !HAS_CLUSTERS)]
    #[arg(env = "ETCDCTL_KEY", hide_env_values = true, hide_short_help = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) key: Option<PathBuf>,

    /// User name on the cluster, or name and password as in `name:password`
    ///
    /// All users of this host can see the command line, so pass passwords in the environment.
    #[arg(long, global = true, value_name = "USER")]
    #[arg(help_heading = CLUSTER, hide = !HAS_CLUSTERS)]
    #[arg(env = "ETCDCTL_USER", hide_env_values = true, hide_short_help = true)]
    pub(crate) user: Option<OsString>,

    /// Password of the user
    #[arg(long, global = true, value_name = "PASSWORD")]
    #[arg(help_heading = CLUSTER, hide = !HAS_CLUSTERS)]
    #[arg(env = "ETCDCTL_PASSWORD", hide_env_values = true, hide_short_help = true)]
    pub(crate) password: Option<OsString>,
}

const CLUSTER: &str = "Cluster";
/// Whether this build can use a cluster. If not, what concerns clusters is not shown, and refused
/// with a sentence that says how to get it.
pub(crate) const HAS_CLUSTERS: bool = cfg!(feature = "etcd");

const URL_HELP: &str = match HAS_CLUSTERS {
    true => "The lock to use, as in dir:/var/lib/app/locks or etcd://a:2379,b:2379/builds?ttl=15s",
    false => "The lock to use, as in dir:/var/lib/app/locks",
};
const URL_LONG_HELP: &str = match HAS_CLUSTERS {
    true => {
        "The lock to use, as in dir:/var/lib/app/locks or etcd://a:2379,b:2379/builds?ttl=15s\n\n\
         Processes that name the same directory, or the same cluster and namespace, exclude each \
         other. An etcd URL may contain USER:PASSWORD@ before the members, and the parameters ttl, \
         ca, cert, key, password-file and password-env. The options for clusters supply what the \
         URL omits. All users of this host can see the command line, so pass passwords in \
         TREELOCK_URL or a file."
    }
    false => {
        "The lock to use, as in dir:/var/lib/app/locks\n\n\
         Processes that name the same directory exclude each other."
    }
};
/// The options that only apply to a cluster.
pub(crate) const CLUSTER_OPTIONS: [&str; 7] =
    ["namespace", "ttl", "cacert", "cert", "key", "user", "password"];
