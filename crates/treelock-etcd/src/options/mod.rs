//! Where the cluster is, and how it is used: [`Options`].

pub(crate) mod endpoint;
pub(crate) mod tls;

use std::{fmt, time::Duration};

use etcd_client::ConnectOptions;

use crate::error::Error;

use endpoint::Endpoint;
use tls::{Secure, Tls};

/// The beginning of every key, before the namespace.
const KEY_ROOT: &str = "/treelock/";

/// The longest lease that etcd grants, in seconds.
const TTL_MAX_SECONDS: u64 = 9_000_000_000;

/// How long a lease lasts unless the user says otherwise.
const DEFAULT_TTL: Duration = Duration::from_secs(15);

/// How long connecting may take, how often an idle connection is probed, and how long the answer
/// to a probe may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the cluster is, and how it is used.
///
/// Nothing is checked until the lock is asked for something; its verbs then say what is wrong. To
/// know earlier, use [`check`](Options::check).
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
/// // Secrets are not printed.
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) endpoints: Vec<String>,
    pub(crate) prefix: String,
    pub(crate) ttl: Duration,
    /// The label of requests that have none of their own.
    pub(crate) label: Option<String>,
    user: Option<(String, String)>,
    tls: Option<Tls>,
}

/// How to connect to each member, once the options were found to be good.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) secure: Secure,
    pub(crate) has_tls: bool,
    connect: ConnectOptions,
}

impl Options {
    /// Returns the options for a cluster with these members, such as `http://10.0.0.1:2379`.
    ///
    /// The namespace is `default`, leases last 15 seconds, and there is neither a user nor a label.
    /// TLS is used for endpoints `https://…`, and, if [`tls`](Options::tls) is set, also for those
    /// that name no scheme.
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
            prefix: format!("{KEY_ROOT}default"),
            ttl: DEFAULT_TTL,
            label: None,
            user: None,
            tls: None,
        }
    }

    /// Sets the namespace: one name, without `/`.
    ///
    /// Locks of different namespaces have nothing to do with each other. The keys of a namespace
    /// are those that begin with `/treelock/NAMESPACE/`.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Options {
        self.prefix = format!("{KEY_ROOT}{namespace}");
        self
    }

    /// Sets how long a lock survives the death of its process, in whole seconds, rounded up.
    ///
    /// The cluster grants no lease that is shorter than one and a half times its election time-out
    /// (2 seconds by default). It grants that one instead.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Options {
        // etcd counts whole seconds, and no holder may believe in more of them than etcd grants.
        let started = u64::from(ttl.subsec_nanos() > 0);
        self.ttl = Duration::from_secs(ttl.as_secs().saturating_add(started));
        self
    }

    /// Sets the user and the password.
    ///
    /// Without TLS, anybody on the network can read them. A user that etcd recognises by a client
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

    /// Sets the label of requests that have none of their own.
    ///
    /// # Examples
    ///
    /// See [`Options`].
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Options {
        self.label = Some(label.into());
        self
    }

    /// Sets whom to trust, and which certificate to show.
    ///
    /// Without it, endpoints `https://…` are trusted if the system trusts them.
    ///
    /// # Examples
    ///
    /// See [`Tls`].
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Options {
        self.tls = Some(tls);
        self
    }

    /// Checks what can be checked without the cluster: endpoints, namespace, TTL, certificates and
    /// keys.
    ///
    /// # Errors
    ///
    /// [`Error::Options`], which every verb of a lock with these options returns, too.
    ///
    /// # Blocking
    ///
    /// Reads files if [`Tls`] names any.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_etcd::Options;
    ///
    /// let error = Options::new(["127.0.0.1"]).check().unwrap_err();
    /// assert!(error.to_string().contains("has no valid port; etcd's is 2379"));
    /// ```
    pub fn check(&self) -> Result<(), Error> {
        self.setup().map(drop).map_err(|what| Error::Options { what })
    }

    /// Prepares connecting; the error says which option is wrong.
    pub(crate) fn setup(&self) -> Result<Setup, String> {
        self.check_namespace()?;
        if self.ttl.is_zero() || self.ttl.as_secs() > TTL_MAX_SECONDS {
            return Err(format!(
                "a lease cannot last {} seconds; use at least 1 and at most {TTL_MAX_SECONDS}",
                self.ttl.as_secs()
            ));
        }
        if self.endpoints.is_empty() {
            return Err("there is no endpoint; name each member of the cluster".into());
        }
        let mut is_secure = false;
        for endpoint in &self.endpoints {
            is_secure |= Endpoint::read(endpoint, self.tls.is_some())?.is_secure;
        }
        let secure = match &self.tls {
            Some(tls) => Secure::new(tls)?,
            None if is_secure => Secure::new(&Tls::new())?,
            None => Secure::trusting_nobody(),
        };
        Ok(Setup { secure, has_tls: self.tls.is_some(), connect: self.connect() })
    }

    fn check_namespace(&self) -> Result<(), String> {
        let namespace = self.prefix.strip_prefix(KEY_ROOT).unwrap_or_default();
        let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        match namespace {
            "" => Err("the namespace is empty; leave it out to use `default`".into()),
            // Otherwise the keys of `a/R` would be among those of `a`.
            _ if namespace.contains(bad) => Err(format!(
                "the namespace {namespace:?} has a slash, a space or a control character; use one \
                 name, such as `builds`"
            )),
            _ => Ok(()),
        }
    }

    fn connect(&self) -> ConnectOptions {
        let options = ConnectOptions::new()
            .with_require_leader(true)
            .with_connect_timeout(CONNECTION_TIMEOUT)
            .with_keep_alive(CONNECTION_TIMEOUT, CONNECTION_TIMEOUT)
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
    /// Returns how to connect to this member.
    pub(crate) fn of(&self, endpoint: &Endpoint) -> ConnectOptions {
        match endpoint.is_secure {
            true => self.connect.clone().with_tls(self.secure.options(endpoint)),
            false => self.connect.clone(),
        }
    }
}

/// Shows neither the password nor any key.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An endpoint with a user in it is refused, but its password must not be printed either.
        let endpoints: Vec<_> = self.endpoints.iter().map(|text| without_user(text)).collect();
        f.debug_struct("Options")
            .field("endpoints", &endpoints)
            .field("namespace", &self.prefix.strip_prefix(KEY_ROOT))
            .field("ttl", &self.ttl)
            .field("label", &self.label)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("tls", &self.tls)
            .finish()
    }
}

/// Returns an endpoint without what stands before the `@`.
fn without_user(endpoint: &str) -> &str {
    endpoint.rsplit_once('@').map_or(endpoint, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let tls = Tls::new().identity("certificate-secret", "key-secret");
        let options = Options::new(["https://me:url-secret@a:1", "https://b:2"])
            .user("me", "password-secret")
            .tls(tls);
        let printed = format!("{options:?} {:#?}", options.check());
        assert!(!printed.contains("secret"), "{printed}");
        assert!(printed.contains("b:2") && printed.contains("\"me\""), "{printed}");
    }
}
