//! TLS: whom to trust, and which certificate to show.

use std::{fmt, fs, path::PathBuf, sync::Arc};

use etcd_client::{Identity, TlsOptions};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::endpoint::Endpoint;

/// Whom to trust, and which certificate to show: what etcdctl calls `--cacert`, `--cert`, `--key`.
///
/// Files are read when the lock is created. If a certificate is renewed while the lock exists,
/// create a new lock to use it.
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

/// Where a certificate or a key is.
#[derive(Clone)]
enum Pem {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Tls {
    /// Returns TLS that trusts whom the system trusts, and shows no certificate.
    ///
    /// # Examples
    ///
    /// See [`Tls`].
    #[must_use]
    pub fn new() -> Tls {
        Tls::default()
    }

    /// Sets the certificates, in PEM, of those who may sign a member's certificate. They replace
    /// the ones that the system trusts.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_etcd::{Options, Tls};
    ///
    /// let tls = Tls::new().ca("not a certificate");
    /// let error = Options::new(["https://10.0.0.1:2379"]).tls(tls).check().unwrap_err();
    /// assert!(error.to_string().contains("the CA certificate contains no certificate; give PEM"));
    /// ```
    #[must_use]
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Tls {
        self.ca = Some(Pem::Bytes(pem.into()));
        self
    }

    /// Does what [`ca`](Tls::ca) does, from a file.
    ///
    /// # Examples
    ///
    /// See [`Tls`].
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Tls {
        self.ca = Some(Pem::File(path.into()));
        self
    }

    /// Sets the certificate to show to members that ask for one, and its key, both in PEM.
    ///
    /// If there are intermediate certificates between it and its CA, append them to it.
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

    /// Does what [`identity`](Tls::identity) does, from files.
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

    /// Sets the name that the members' certificates must be for, instead of the endpoint's host.
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
    /// Returns what to call it in errors, and its contents; the error says what is wrong.
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
    let found = found.map_err(|error| format!("{name} is not valid PEM: {error}"))?;
    match found.is_empty() {
        true => {
            Err(format!("{name} contains no certificate; give PEM, which begins with `-----BEGIN`"))
        }
        false => Ok(found),
    }
}

/// [`Tls`] that was read and found to be good.
#[derive(Clone)]
pub(crate) struct Secure {
    /// For this crate's own look at a member.
    pub(crate) config: Arc<ClientConfig>,
    /// The same, for etcd's client.
    options: TlsOptions,
    server_name: Option<String>,
    pub(crate) has_identity: bool,
}

impl Secure {
    /// Reads the files; the error says which one is wrong, and how.
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
            let config = Arc::new(with_http2(builder.with_no_client_auth()));
            let server_name = tls.server_name.clone();
            return Ok(Secure { config, options, server_name, has_identity: false });
        };
        let (name, certificate) = certificate.read("client certificate")?;
        let chain = certificates(&name, &certificate)?;
        let (key_name, key) = key.read("client key")?;
        let private = PrivateKeyDer::from_pem_slice(&key).map_err(|error| {
            format!("{key_name} is not an unencrypted private key in PEM: {error}")
        })?;
        let config = builder
            .with_client_auth_cert(chain, private)
            .map_err(|error| format!("{name} and {key_name} do not belong together: {error}"))?;
        Ok(Secure {
            config: Arc::new(with_http2(config)),
            options: options.identity(Identity::from_pem(certificate, key)),
            server_name: tls.server_name.clone(),
            has_identity: true,
        })
    }

    /// Returns what a lock without TLS has.
    pub(crate) fn trusting_nobody() -> Secure {
        let config = builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        Secure {
            config: Arc::new(with_http2(config)),
            options: TlsOptions::new(),
            server_name: None,
            has_identity: false,
        }
    }

    /// Returns the name that the certificate of this member must be for.
    pub(crate) fn name_of<'a>(&'a self, endpoint: &'a Endpoint) -> &'a str {
        self.server_name.as_deref().unwrap_or(&endpoint.host)
    }

    pub(crate) fn options(&self, endpoint: &Endpoint) -> TlsOptions {
        self.options.clone().domain_name(self.name_of(endpoint))
    }
}

fn builder()
-> tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier> {
    // The same one as etcd's client uses.
    let provider = CryptoProvider::get_default().cloned();
    ClientConfig::builder_with_provider(
        provider.unwrap_or_else(|| Arc::new(ring::default_provider())),
    )
    .with_safe_default_protocol_versions()
    .expect("the provider knows the versions")
}

/// Offers HTTP/2, which gRPC needs.
fn with_http2(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn trusted(ca: &Pem) -> Result<RootCertStore, String> {
    let (name, pem) = ca.read("CA certificate")?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&name, &pem)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{name} is not a valid certificate: {error}"))?;
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
