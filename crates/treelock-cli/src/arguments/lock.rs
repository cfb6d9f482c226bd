//! The options that name the lock.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser as _},
};

use super::values::lease;

/// Which lock, and how to reach it. Where etcdctl has the same option, it has the same name.
///
/// What the environment may hold is taken as it is, even empty or not UTF-8: variables for etcdctl
/// must not end a program that uses no cluster.
#[derive(Args)]
pub(crate) struct LockArguments {
    /// The lock, as in dir:/var/lib/app/locks or etcd://a:2379,b:2379/builds?ttl=15s
    ///
    /// Processes that name the same directory, or the same cluster and namespace, exclude each
    /// other. An etcd URL may hold USER:PASSWORD@ before the members, and the parameters ttl, ca,
    /// cert, key, password-file and password-env; the options for clusters fill in what it does not
    /// say. All users of this host can see what is on the command line: give passwords by
    /// TREELOCK_URL or a file.
    #[arg(long, global = true, value_name = "URL", env = "TREELOCK_URL", hide_env_values = true)]
    pub(crate) url: Option<OsString>,

    /// Directory of the lock table, as --url dir:PATH
    ///
    /// The default is the user's own: $XDG_STATE_HOME/treelock, which is ~/.local/state/treelock if
    /// that is not set. It is made at the first use, for this user alone.
    #[arg(long, global = true, value_name = "PATH", env = "TREELOCK_DIR", hide_env_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))] // which may be empty
    pub(crate) dir: Option<PathBuf>,

    /// Take the lock between machines, in this etcd cluster, instead of the one of this host
    ///
    /// Its members, as in http://10.0.0.1:2379,http://10.0.0.2:2379; or `env` for those that
    /// ETCDCTL_ENDPOINTS names.
    #[arg(long, global = true, value_name = "ENDPOINTS", help_heading = CLUSTER)]
    #[arg(env = "TREELOCK_ETCD", hide_env_values = true)]
    pub(crate) etcd: Option<OsString>,

    /// Namespace of the lock; namespaces do not see each other [default: default]
    #[arg(long, global = true, value_name = "NAME", help_heading = CLUSTER)]
    #[arg(env = "TREELOCK_NAMESPACE", hide_env_values = true, hide_short_help = true)]
    pub(crate) namespace: Option<OsString>,

    /// How long the lock stays, about, when this process has died or is cut off [default: 15s]
    ///
    /// It stays longer if etcd gives no lease that short, or changes its leader meanwhile.
    #[arg(long, global = true, value_name = "DURATION", help_heading = CLUSTER)]
    #[arg(value_parser = lease, hide_short_help = true)]
    pub(crate) ttl: Option<Duration>,

    /// File with the certificates by which to recognise members (PEM)
    #[arg(long, global = true, value_name = "PATH", help_heading = CLUSTER)]
    #[arg(env = "ETCDCTL_CACERT", hide_env_values = true, hide_short_help = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) cacert: Option<PathBuf>,

    /// File with this client's certificate (PEM)
    #[arg(long, global = true, value_name = "PATH", help_heading = CLUSTER)]
    #[arg(env = "ETCDCTL_CERT", hide_env_values = true, hide_short_help = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) cert: Option<PathBuf>,

    /// File with the key of this client's certificate (PEM)
    #[arg(long, global = true, value_name = "PATH", help_heading = CLUSTER)]
    #[arg(env = "ETCDCTL_KEY", hide_env_values = true, hide_short_help = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) key: Option<PathBuf>,

    /// User of the cluster, or user and password as in `name:password`
    ///
    /// All users of this host can see what is on the command line: give passwords by the
    /// environment.
    #[arg(long, global = true, value_name = "USER", help_heading = CLUSTER)]
    #[arg(env = "ETCDCTL_USER", hide_env_values = true, hide_short_help = true)]
    pub(crate) user: Option<OsString>,

    /// Password of the user
    #[arg(long, global = true, value_name = "PASSWORD", help_heading = CLUSTER)]
    #[arg(env = "ETCDCTL_PASSWORD", hide_env_values = true, hide_short_help = true)]
    pub(crate) password: Option<OsString>,
}

const CLUSTER: &str = "Cluster";
/// The options that mean something with a cluster only.
pub(crate) const CLUSTER_OPTIONS: [&str; 7] =
    ["namespace", "ttl", "cacert", "cert", "key", "user", "password"];
