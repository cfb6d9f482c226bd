//! Where a lock is: [`Address`], the value of a text such as `dir:/var/lib/app/locks`.

use std::{fmt, path::PathBuf, time::Duration};

use crate::{address_error::AddressError, escape::escaped};

/// Where a lock is, and how to reach it: the value of a text.
///
/// | text | lock |
/// |---|---|
/// | `memory:` | of this value and its clones, in the memory of this process |
/// | `dir:/var/lib/app/locks`, `dir:locks` | of one host; all after `dir:` is the directory |
/// | `etcd://a:2379,b:2379/builds?ttl=15s` | between machines, on etcd; [`EtcdAddress`] |
///
/// Its `Display` is the text again, without a password.
///
/// # Examples
///
/// ```
/// use treelock_any::Address;
///
/// let address: Address = "etcd://builder:s3cret@a:2379/builds".parse()?;
/// assert_eq!(address.to_string(), "etcd://builder@a:2379/builds");
/// assert!(!format!("{address:?}").contains("s3cret"));
/// # Ok::<(), treelock_any::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// In the memory of this process.
    Memory,
    /// In a directory of this host.
    Dir(PathBuf),
    /// On an etcd cluster.
    Etcd(EtcdAddress),
}

/// A lock on an etcd cluster: the value of a text such as
/// `etcd://builder@a:2379,b:2379/builds?ttl=15s&password-file=/run/secrets/etcd`.
///
/// In the text, `%` and two hexadecimal digits stand for a byte: a password with `@`, `/`, `?`, `#`
/// or `%` has to be written so. The parameters are `ttl`, `ca`, `cert`, `key`, `password-file` and
/// `password-env`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use treelock_any::{Address, EtcdAddress};
///
/// let mut etcd = EtcdAddress::new(["a:2379", "b:2379"]);
/// etcd.namespace = Some("builds".into());
/// etcd.ttl = Some(Duration::from_secs(15));
/// let address = Address::Etcd(etcd);
/// assert_eq!(address, "etcd://a:2379,b:2379/builds?ttl=15s".parse()?);
/// # Ok::<(), treelock_any::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EtcdAddress {
    /// The members, as in `a:2379`. One may begin with `http://` or `https://`; one that does not
    /// is spoken to with TLS if there are certificates.
    pub endpoints: Vec<String>,
    /// The namespace; `default` if it is `None`. Locks of different namespaces do not see each
    /// other.
    pub namespace: Option<String>,
    /// How long the lock stays, about, when its process has died; 15 seconds if it is `None`.
    pub ttl: Option<Duration>,
    /// The user, who needs a password.
    pub user: Option<String>,
    /// The password of the user, or where to find it.
    pub password: Option<Password>,
    /// File with the certificates by which to recognise members (PEM).
    pub ca_file: Option<PathBuf>,
    /// File with this client's certificate (PEM).
    pub cert_file: Option<PathBuf>,
    /// File with the key of this client's certificate (PEM).
    pub key_file: Option<PathBuf>,
}

/// A password, or where to find it. Its `Debug` does not show the password.
///
/// # Examples
///
/// ```
/// use treelock_any::Password;
///
/// assert_eq!(format!("{:?}", Password::Text("s3cret".into())), "Text(…)");
/// assert_eq!(format!("{:?}", Password::Variable("SECRET".into())), "Variable(\"SECRET\")");
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Password {
    /// The password itself.
    Text(String),
    /// The file that holds it, and nothing else but white space at its end.
    File(PathBuf),
    /// The environment variable that holds it.
    Variable(String),
}

impl EtcdAddress {
    /// Returns the address of a cluster with these members, and nothing else said.
    ///
    /// # Examples
    ///
    /// See [`EtcdAddress`].
    #[must_use]
    pub fn new<I>(endpoints: I) -> EtcdAddress
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        EtcdAddress {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            namespace: None,
            ttl: None,
            user: None,
            password: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }

    /// Checks what one part says of another.
    pub(crate) fn check(&self) -> Result<(), AddressError> {
        if self.password.is_some() && self.user.is_none() {
            return Err(AddressError::new(
                "user",
                "there is a password and no user; write USER@HOST:PORT",
            ));
        }
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => {
                Err(AddressError::new("key", "it is missing; a certificate goes with its key"))
            }
            (None, Some(_)) => {
                Err(AddressError::new("cert", "it is missing; a key goes with its certificate"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the parameters of the text, without a password.
    fn parameters(&self) -> Vec<String> {
        let file = |name: &str, path: &Option<PathBuf>| {
            path.as_ref().map(|path| format!("{name}={}", escaped(&path.to_string_lossy())))
        };
        let password = match &self.password {
            None | Some(Password::Text(_)) => None,
            Some(Password::File(path)) => file("password-file", &Some(path.clone())),
            Some(Password::Variable(name)) => Some(format!("password-env={}", escaped(name))),
        };
        let ttl = self.ttl.map(|ttl| format!("ttl={}s", ttl.as_secs()));
        let files =
            [file("ca", &self.ca_file), file("cert", &self.cert_file), file("key", &self.key_file)];
        [ttl].into_iter().chain(files).chain([password]).flatten().collect()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Memory => f.write_str("memory:"),
            Address::Dir(path) => write!(f, "dir:{}", path.display()),
            Address::Etcd(etcd) => etcd.fmt(f),
        }
    }
}

impl fmt::Display for EtcdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("etcd://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", escaped(user))?;
        }
        f.write_str(&self.endpoints.join(","))?;
        if let Some(namespace) = &self.namespace {
            write!(f, "/{}", escaped(namespace))?;
        }
        let parameters = self.parameters();
        if !parameters.is_empty() {
            write!(f, "?{}", parameters.join("&"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Password::Text(_) => f.write_str("Text(…)"),
            Password::File(path) => f.debug_tuple("File").field(path).finish(),
            Password::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
        }
    }
}
