//! TLS: whom we trust, and who we are.

use std::{fmt, fs, path::PathBuf, sync::Arc};

use etcd_client::{Identity, TlsOptions};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::endpoint::Endpoint;

/// Whom to trust, and who we are: what etcdctl has as `--cacert`, `--cert`, `--key`.
///
/// Files are read when the lock is made. A lock that lives longer than its certificate has to be made anew with
/// the next one.
///
/// # Examples
///
/// ```no_run
/// use treelock_etcd::{EtcdLock, Options, Tls};
///
/// let tls = Tls::new()
///     .ca_file("/etc/etcd/ca.crt")
///     .identity_files("/etc/etcd/client.crt", "/etc/etcd/client.key");
/// let lock = EtcdLock::new(&Options::new(["https://10.0.0.1:2379"]).tls(tls));
/// # let _ = lock;
/// ```
#[derive(Clone, Default)]
pub struct Tls {
    ca: Option<Pem>,
    identity: Option<(Pem, Pem)>,
    server_name: Option<String>,
}

#[derive(Clone)]
enum Pem {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Tls {
    /// Returns TLS that trusts as far as the system does, and shows no certificate.
    ///
    /// # Examples
    ///
    /// See [`Tls`].
    #[must_use]
    pub fn new() -> Tls {
        Tls::default()
    }

    /// Sets the certificates, in PEM, of those who may sign a member's certificate, in place of those that the
    /// system trusts.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_etcd::{Options, Tls};
    ///
    /// let tls = Tls::new().ca("not a certificate");
    /// let error = Options::new(["https://10.0.0.1:2379"]).tls(tls).check().unwrap_err();
    /// assert!(error.to_string().contains("the CA certificate has no certificate in it; give PEM"));
    /// ```
    #[must_use]
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Tls {
        self.ca = Some(Pem::Bytes(pem.into()));
        self
    }

    /// As [`ca`](Tls::ca), from a file.
    ///
    /// # Examples
    ///
    /// See [`Tls`].
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Tls {
        self.ca = Some(Pem::File(path.into()));
        self
    }

    /// Sets the certificate, with those that lead to its CA if there are any between, and the key that we show
    /// to members that ask for it, both in PEM.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_etcd::Tls;
    ///
    /// # let (certificate, key) = (vec![], vec![]);
    /// let tls = Tls::new().identity(certificate, key);
    /// # let _ = tls;
    /// ```
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Tls {
        self.identity = Some((Pem::Bytes(certificate.into()), Pem::Bytes(key.into())));
        self
    }

    /// As [`identity`](Tls::identity), from files.
    ///
    /// # Examples
    ///
    /// See [`Tls`].
    #[must_use]
    pub fn identity_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Tls {
        self.identity = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// Sets the name for which the members' certificates have to be, in place of the host of the endpoint.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_etcd::Tls;
    ///
    /// let tls = Tls::new().server_name("etcd.example");
    /// # let _ = tls;
    /// ```
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Tls {
        self.server_name = Some(name.into());
        self
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca)
            .field("identity", &self.identity)
            .field("server_name", &self.server_name)
            .finish()
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pem::Bytes(_) => f.write_str(".."),
            Pem::File(path) => path.fmt(f),
        }
    }
}

impl Pem {
    /// What is in it; an error says what is wrong with this, which is called so.
    fn read(&self, name: &str) -> Result<(String, Vec<u8>), String> {
        match self {
            Pem::Bytes(bytes) => Ok((format!("the {name}"), bytes.clone())),
            Pem::File(path) => {
                let name = format!("the {name} {}", path.display());
                match fs::read(path) {
                    Ok(bytes) => Ok((name, bytes)),
                    Err(error) => Err(format!("{name} cannot be read: {error}")),
                }
            }
        }
    }
}

fn certificates(name: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("{name} is not good PEM: {error}"))?;
    match found.is_empty() {
        true => Err(format!(
            "{name} has no certificate in it; give PEM, which begins with `-----BEGIN`"
        )),
        false => Ok(found),
    }
}

/// [`Tls`] that was read and is good.
#[derive(Clone)]
pub(crate) struct Secure {
    /// What our own look at a member uses.
    pub(crate) config: Arc<ClientConfig>,
    /// The same for etcd's client.
    options: TlsOptions,
    server_name: Option<String>,
    pub(crate) has_identity: bool,
}

impl Secure {
    /// Reads it; an error says what is wrong with what.
    pub(crate) fn new(tls: &Tls) -> Result<Secure, String> {
        if let Some(name) = &tls.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            return Err(format!("the server name {name:?} is neither a DNS name nor an address"));
        }
        let roots = match &tls.ca {
            Some(ca) => trusted(ca)?,
            None => trusted_by_the_system()?,
        };
        let options = TlsOptions::new().trust_anchors(roots.roots.clone());
        let builder = builder().with_root_certificates(roots);
        let Some((certificate, key)) = &tls.identity else {
            let config = Arc::new(spoken(builder.with_no_client_auth()));
            let server_name = tls.server_name.clone();
            return Ok(Secure { config, options, server_name, has_identity: false });
        };
        let (name, certificate) = certificate.read("client certificate")?;
        let chain = certificates(&name, &certificate)?;
        let (key_name, key) = key.read("client key")?;
        let private = PrivateKeyDer::from_pem_slice(&key).map_err(|error| {
            format!("{key_name} is no private key in PEM that is not encrypted: {error}")
        })?;
        let config = builder
            .with_client_auth_cert(chain, private)
            .map_err(|error| format!("{name} and {key_name} do not go together: {error}"))?;
        Ok(Secure {
            config: Arc::new(spoken(config)),
            options: options.identity(Identity::from_pem(certificate, key)),
            server_name: tls.server_name.clone(),
            has_identity: true,
        })
    }

    /// Of one who does not use TLS, and trusts nobody.
    pub(crate) fn nobody() -> Secure {
        let config = builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        Secure {
            config: Arc::new(spoken(config)),
            options: TlsOptions::new(),
            server_name: None,
            has_identity: false,
        }
    }

    /// The name for which the certificate of this member has to be.
    pub(crate) fn name_of<'a>(&'a self, endpoint: &'a Endpoint) -> &'a str {
        self.server_name.as_deref().unwrap_or(&endpoint.host)
    }

    pub(crate) fn options(&self, endpoint: &Endpoint) -> TlsOptions {
        self.options.clone().domain_name(self.name_of(endpoint))
    }
}

fn builder()
-> tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier> {
    // The same as etcd's client takes.
    let provider = CryptoProvider::get_default().cloned();
    ClientConfig::builder_with_provider(
        provider.unwrap_or_else(|| Arc::new(ring::default_provider())),
    )
    .with_safe_default_protocol_versions()
    .expect("the provider knows the versions")
}

/// gRPC is HTTP/2.
fn spoken(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn trusted(ca: &Pem) -> Result<RootCertStore, String> {
    let (name, pem) = ca.read("CA certificate")?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&name, &pem)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{name} is no good certificate: {error}"))?;
    }
    Ok(roots)
}

fn trusted_by_the_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
    Err(format!("this system trusts no certificate at all{why}; give the CA of the cluster"))
}
