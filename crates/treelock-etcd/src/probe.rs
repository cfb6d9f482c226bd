//! A look at a member that does not speak to us: is it, for certain, because of what one of the two was told?
//!
//! etcd's client says that a connection was closed, which it also is when a member stops. So this opens one of its
//! own and looks at how it goes. Only an answer of the member counts, or a certificate: who says nothing may say
//! more in a moment.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{AlertDescription, CertificateError, Error, pki_types::ServerName},
};

use crate::{endpoint::Endpoint, tls::Secure};

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(1);

/// How HTTP/2 begins: who speaks it answers with its settings.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The type of that answer, and where it says so.
const SETTINGS: (usize, u8) = (3, 4);

/// What is certainly wrong, and what to do about it; `None` if nothing is, or nobody can tell.
pub(crate) async fn find_wrong(endpoint: &Endpoint, secure: &Secure) -> Option<String> {
    let look = async {
        match endpoint.is_secure {
            true => find_wrong_with_tls(endpoint, secure).await,
            false => find_wrong_without(endpoint, secure).await,
        }
    };
    timeout(LOOK, look).await.ok().flatten()
}

async fn find_wrong_without(endpoint: &Endpoint, secure: &Secure) -> Option<String> {
    if speaks_http(endpoint).await {
        return None;
    }
    let speaks_tls = match handshake(endpoint, secure).await {
        Ok(_) => true,
        Err(error) => {
            matches!(of_tls(&error), Some(Error::InvalidCertificate(_) | Error::AlertReceived(_)))
        }
    };
    speaks_tls.then(|| "it speaks TLS; write the endpoint with https://".into())
}

async fn find_wrong_with_tls(endpoint: &Endpoint, secure: &Secure) -> Option<String> {
    let answer = match handshake(endpoint, secure).await {
        Ok(stream) if stream.get_ref().1.alpn_protocol().is_none() => {
            return Some("it speaks TLS, and no HTTP/2; see that it is etcd".into());
        }
        // What it says to our certificate comes only now.
        Ok(mut stream) => greet(&mut stream).await.err()?,
        Err(error) => error,
    };
    match of_tls(&answer) {
        Some(Error::InvalidCertificate(why)) => Some(about_certificate(why, endpoint, secure)),
        Some(Error::AlertReceived(alert)) => about_alert(*alert, secure),
        Some(Error::PeerIncompatible(why)) => {
            Some(format!("it speaks no TLS that we speak ({why:?}); update it"))
        }
        _ if speaks_http(endpoint).await => Some(
            "it speaks no TLS; write the endpoint with http://, or give it a certificate".into(),
        ),
        _ => None,
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    TcpStream::connect((&*endpoint.host, endpoint.port)).await
}

async fn handshake(endpoint: &Endpoint, secure: &Secure) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(secure.name_of(endpoint).to_string());
    let name = name.map_err(io::Error::other)?;
    TlsConnector::from(secure.config.clone()).connect(name, connect(endpoint).await?).await
}

/// Begins to speak HTTP/2; returns the beginning of the answer.
async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<[u8; 9]> {
    stream.write_all(HELLO).await?;
    stream.flush().await?;
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn speaks_http(endpoint: &Endpoint) -> bool {
    let Ok(mut stream) = connect(endpoint).await else { return false };
    let answer = greet(&mut stream).await;
    answer.is_ok_and(|answer| answer[SETTINGS.0] == SETTINGS.1 || answer.starts_with(b"HTTP/"))
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn about_certificate(why: &CertificateError, endpoint: &Endpoint, secure: &Secure) -> String {
    use CertificateError as Why;
    match why {
        Why::Expired | Why::ExpiredContext { .. } => format!(
            "its certificate has expired ({why}); renew it, and see that the clock here is right"
        ),
        Why::NotValidYet | Why::NotValidYetContext { .. } => format!(
            "its certificate is not valid yet ({why}); see that the clocks here and there are right"
        ),
        // The latter is by a CA that has the name of one that is trusted.
        Why::UnknownIssuer | Why::BadSignature => format!(
            "its certificate was signed by nobody who is trusted here ({why}); give the certificate of the CA \
             that has signed it"
        ),
        Why::NotValidForName | Why::NotValidForNameContext { .. } => format!(
            "its certificate is not for {} ({why}); name it as its certificate does, or give the server name \
             that is expected",
            secure.name_of(endpoint)
        ),
        _ => format!("its certificate is not good ({why}); give it another"),
    }
}

fn about_alert(alert: AlertDescription, secure: &Secure) -> Option<String> {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => Some(match secure.has_identity {
            false => "it asks for a client certificate; give one, and its key".into(),
            true => format!(
                "it does not accept our client certificate ({alert:?}); see that it has not expired, is for \
                 clients, and was signed by the CA that the member trusts"
            ),
        }),
        Alert::HandshakeFailure
        | Alert::ProtocolVersion
        | Alert::InsufficientSecurity
        | Alert::NoApplicationProtocol
        | Alert::UnrecognisedName => {
            Some(format!("it speaks no TLS that we speak ({alert:?}); see that it is etcd"))
        }
        // What is wrong there may pass.
        _ => None,
    }
}
