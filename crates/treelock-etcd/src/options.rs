//! Where the cluster is and how it is used.

use std::{fmt, time::Duration};

use etcd_client::ConnectOptions;

use crate::{
    endpoint::Endpoint,
    error::Error,
    tls::{Secure, Tls},
};

/// Before the namespace in every key.
const ROOT: &str = "/treelock/";

/// The longest lease that etcd grants, in seconds.
const LONGEST: u64 = 9_000_000_000;

/// Where the cluster is and how it is used.
///
/// Nothing is checked before a lock is asked for something, and its verbs then say what is wrong; whoever wants to
/// know earlier uses [`check`](Options::check).
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
///     .user("builder", "secret")
///     .label("nightly build");
/// assert!(options.check().is_ok());
/// // What is secret is not printed.
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) endpoints: Vec<String>,
    pub(crate) prefix: String,
    pub(crate) ttl: Duration,
    /// What requests without a label of their own are labelled.
    pub(crate) label: Option<String>,
    user: Option<(String, String)>,
    tls: Option<Tls>,
}

/// How all members are spoken to.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) secure: Secure,
    pub(crate) has_tls: bool,
    connect: ConnectOptions,
}

impl Options {
    /// Returns the options for a cluster with these members, such as `http://10.0.0.1:2379`: the namespace
    /// `default`, leases of 15 seconds, no user, no label. An endpoint `https://…` is spoken to with TLS; one that
    /// says neither is if [`tls`](Options::tls) is set.
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
            prefix: format!("{ROOT}default"),
            ttl: Duration::from_secs(15),
            label: None,
            user: None,
            tls: None,
        }
    }

    /// Sets the namespace: locks of different namespaces have nothing to do with each other. One name, without
    /// `/`; its keys are those that begin with `/treelock/NAMESPACE/`.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Options {
        self.prefix = format!("{ROOT}{namespace}");
        self
    }

    /// Sets how long a lock lives when its process has died; in whole seconds, rounded up. A cluster grants no
    /// lease that is shorter than one and a half times its election time-out, 2 seconds by default, but a longer
    /// one instead.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Options {
        // etcd counts seconds, and nobody must think that he has more of them than etcd does.
        let begun = u64::from(ttl.subsec_nanos() > 0);
        self.ttl = Duration::from_secs(ttl.as_secs().saturating_add(begun));
        self
    }

    /// Sets the user and the password. Without TLS they can be read on the way. A user that etcd knows by a client
    /// certificate ([`Tls::identity`]) needs neither.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Options {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// Sets the label of the requests that have none of their own.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Options {
        self.label = Some(label.into());
        self
    }

    /// Sets whom to trust, and who we are. Without it, endpoints `https://…` are trusted as far as the system does.
    ///
    /// # Examples
    ///
    /// See [`Tls`].
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Options {
        self.tls = Some(tls);
        self
    }

    /// Checks what can be checked without the cluster: endpoints, namespace, TTL, certificates and keys.
    ///
    /// # Errors
    ///
    /// [`Error::Options`], which every verb of a lock with these options gives, too.
    ///
    /// # Blocking
    ///
    /// It reads files, if [`Tls`] names any.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_etcd::Options;
    ///
    /// let error = Options::new(["127.0.0.1"]).check().unwrap_err();
    /// assert!(error.to_string().contains("has no good port; etcd's is 2379"));
    /// ```
    pub fn check(&self) -> Result<(), Error> {
        self.connect_options().map(drop).map_err(|what| Error::Options { what })
    }

    /// How the members are spoken to; an error says which option is wrong.
    pub(crate) fn connect_options(&self) -> Result<Setup, String> {
        self.check_namespace()?;
        if self.ttl.is_zero() || self.ttl.as_secs() > LONGEST {
            return Err(format!(
                "a lease cannot last {} seconds; give 1 at least and {LONGEST} at most",
                self.ttl.as_secs()
            ));
        }
        if self.endpoints.is_empty() {
            return Err("there is no endpoint; give one for each member of the cluster".into());
        }
        let mut is_secure = false;
        for endpoint in &self.endpoints {
            is_secure |= Endpoint::read(endpoint, self.tls.is_some())?.is_secure;
        }
        let secure = match &self.tls {
            Some(tls) => Secure::new(tls)?,
            None if is_secure => Secure::new(&Tls::new())?,
            None => Secure::nobody(),
        };
        Ok(Setup { secure, has_tls: self.tls.is_some(), connect: self.connect() })
    }

    fn check_namespace(&self) -> Result<(), String> {
        let namespace = self.prefix.strip_prefix(ROOT).unwrap_or_default();
        let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        match namespace {
            "" => Err("the namespace is empty; leave it out for `default`".into()),
            // Otherwise the keys of `a/R` would be among those of `a`.
            _ if namespace.contains(bad) => Err(format!(
                "the namespace {namespace:?} has a slash, a space or a control character; give one name, such as \
                 `builds`"
            )),
            _ => Ok(()),
        }
    }

    fn connect(&self) -> ConnectOptions {
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

impl Setup {
    /// How this member is spoken to.
    pub(crate) fn of(&self, endpoint: &Endpoint) -> ConnectOptions {
        match endpoint.is_secure {
            true => self.connect.clone().with_tls(self.secure.options(endpoint)),
            false => self.connect.clone(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("endpoints", &self.endpoints)
            .field("namespace", &self.prefix.strip_prefix(ROOT))
            .field("ttl", &self.ttl)
            .field("label", &self.label)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("tls", &self.tls)
            .finish()
    }
}
