//! A probe of a member that cannot be reached: is it certainly because of how one side is
//! configured?
//!
//! etcd's client reports a closed connection, which is also what happens when a member stops. So
//! the probe opens a connection of its own and looks at how that goes. Only an answer of the member
//! counts, or a certificate: a member that says nothing may say more in a moment.

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

use crate::options::{endpoint::Endpoint, tls::Secure};

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How HTTP/2 begins: a server that speaks it answers with its settings.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Where that answer says its type, and the type.
const SETTINGS_FRAME: (usize, u8) = (3, 4);

/// Returns what is certainly wrong, and what to do; `None` if nothing is, or nobody can tell.
pub(crate) async fn find_fault(endpoint: &Endpoint, secure: &Secure) -> Option<String> {
    let look = async {
        match endpoint.is_secure {
            true => fault_with_tls(endpoint, secure).await,
            false => fault_without_tls(endpoint, secure).await,
        }
    };
    timeout(PROBE_TIMEOUT, look).await.ok().flatten()
}

async fn fault_without_tls(endpoint: &Endpoint, secure: &Secure) -> Option<String> {
    if speaks_http(endpoint).await {
        return None;
    }
    let speaks_tls = match handshake(endpoint, secure).await {
        Ok(_) => true,
        Err(error) => {
            matches!(of_tls(&error), Some(Error::InvalidCertificate(_) | Error::AlertReceived(_)))
        }
    };
    speaks_tls.then(|| "it uses TLS; write the endpoint with https://".into())
}

async fn fault_with_tls(endpoint: &Endpoint, secure: &Secure) -> Option<String> {
    let answer = match handshake(endpoint, secure).await {
        Ok(stream) if stream.get_ref().1.alpn_protocol().is_none() => {
            return Some("it uses TLS without HTTP/2; check that it is etcd".into());
        }
        // It answers to our certificate only now.
        Ok(mut stream) => greet(&mut stream).await.err()?,
        Err(error) => error,
    };
    match of_tls(&answer) {
        Some(Error::InvalidCertificate(why)) => Some(about_certificate(why, endpoint, secure)),
        Some(Error::AlertReceived(alert)) => about_alert(*alert, secure),
        Some(Error::PeerIncompatible(why)) => {
            Some(format!("it shares no TLS version or cipher with us ({why:?}); update it"))
        }
        _ if speaks_http(endpoint).await => Some(
            "it does not use TLS; write the endpoint with http://, or give it a certificate".into(),
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

/// Begins HTTP/2; returns the beginning of the answer.
async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<[u8; 9]> {
    stream.write_all(HTTP2_PREFACE).await?;
    stream.flush().await?;
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn speaks_http(endpoint: &Endpoint) -> bool {
    let Ok(mut stream) = connect(endpoint).await else { return false };
    let answer = greet(&mut stream).await;
    answer.is_ok_and(|answer| {
        answer[SETTINGS_FRAME.0] == SETTINGS_FRAME.1 || answer.starts_with(b"HTTP/")
    })
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn about_certificate(why: &CertificateError, endpoint: &Endpoint, secure: &Secure) -> String {
    use CertificateError as Why;
    match why {
        Why::Expired | Why::ExpiredContext { .. } => {
            format!("its certificate has expired ({why}); renew it, and check the clock here")
        }
        Why::NotValidYet | Why::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet ({why}); check the clocks on both sides")
        }
        // The latter: signed by a CA that has the same name as one that is trusted.
        Why::UnknownIssuer | Why::BadSignature => format!(
            "its certificate was signed by a CA that is not trusted here ({why}); give the \
             certificate of that CA"
        ),
        Why::NotValidForName | Why::NotValidForNameContext { .. } => format!(
            "its certificate is not for {} ({why}); write the endpoint as the certificate does, or \
             set the server name that it is for",
            secure.name_of(endpoint)
        ),
        _ => format!("its certificate is not acceptable ({why}); give it another"),
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
                "it does not accept our client certificate ({alert:?}); check that it has not \
                 expired, is for clients, and was signed by a CA that the member trusts"
            ),
        }),
        Alert::HandshakeFailure
        | Alert::ProtocolVersion
        | Alert::InsufficientSecurity
        | Alert::NoApplicationProtocol
        | Alert::UnrecognisedName => {
            Some(format!("it refuses to agree on TLS with us ({alert:?}); check that it is etcd"))
        }
        // These may pass by themselves.
        _ => None,
    }
}
