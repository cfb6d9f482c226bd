//! Where the cluster is and how it is used.

use std::time::Duration;

use etcd_client::ConnectOptions;

/// Where the cluster is and how it is used.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use treelock_etcd::Options;
///
/// let options = Options::new(["http://127.0.0.1:2379"])
///     .namespace("builds")
///     .ttl(Duration::from_secs(30))
///     .user("builder", "secret");
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) endpoints: Vec<String>,
    pub(crate) prefix: String,
    pub(crate) ttl: Duration,
    user: Option<(String, String)>,
}

impl Options {
    /// Returns the options for a cluster with these members, such as `http://10.0.0.1:2379`: the namespace
    /// `default`, leases of 15 seconds, no user.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn new<I>(endpoints: I) -> Options
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Options {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: "/treelock/default".into(),
            ttl: Duration::from_secs(15),
            user: None,
        }
    }

    /// Sets the namespace: locks of different namespaces have nothing to do with each other.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Options {
        self.prefix = format!("/treelock/{namespace}");
        self
    }

    /// Sets how long a lock lives when its process has died; in whole seconds, one at least.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Options {
        self.ttl = ttl;
        self
    }

    /// Sets the user and the password.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Options {
        self.user = Some((name.into(), password.into()));
        self
    }

    pub(crate) fn connect_options(&self) -> ConnectOptions {
        let alive = Duration::from_secs(2);
        let options = ConnectOptions::new()
            .with_require_leader(true)
            .with_connect_timeout(alive)
            .with_keep_alive(alive, alive)
            .with_keep_alive_while_idle(true);
        match &self.user {
            None => options,
            Some((name, password)) => {
                options.with_user(name, password).with_auto_token_refresh(true)
            }
        }
    }
}
