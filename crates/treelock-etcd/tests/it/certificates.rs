//! Certificates of the tests' own, and servers that have them.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;

use crate::server::Cluster;

/// How long most certificates of the tests are good.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// One who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Signed {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority::named("an authority of the tests")
    }

    pub(crate) fn named(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("good parameters"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for one who serves as this host, or is this user, until then.
    pub(crate) fn sign(&self, name: &str, until: SystemTime) -> Signed {
        let mut params = CertificateParams::new([name.to_string()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = (SystemTime::now() - 2 * HOUR).into();
        params.not_after = until.into();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("good parameters");
        Signed { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A certificate that is good for long.
    pub(crate) fn good(&self, name: &str) -> Signed {
        self.sign(name, SystemTime::now() + HOUR)
    }
}

/// The files of a server with TLS.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new(server: &Signed) -> Files {
        let files = Files(tempfile::tempdir().expect("a place for temporary files"));
        files.renew(server);
        files
    }

    pub(crate) fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("a place for temporary files");
        path.display().to_string()
    }

    /// Gives the server another certificate, which it takes with the next connection.
    pub(crate) fn renew(&self, server: &Signed) {
        self.put("server.crt", &server.certificate);
        self.put("server.key", &server.key);
    }

    /// One member that has this certificate; with an authority, one that demands a certificate of
    /// its clients.
    pub(crate) fn start(&self, clients: Option<&Authority>) -> Option<Cluster> {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let mut arguments = vec![
            format!("--cert-file={}", path("server.crt")),
            format!("--key-file={}", path("server.key")),
        ];
        if let Some(clients) = clients {
            arguments.push("--client-cert-auth".into());
            arguments
                .push(format!("--trusted-ca-file={}", self.put("clients.crt", &clients.pem())));
        }
        Cluster::start_with(1, "https", &arguments)
    }
}
