//! What a member's page `/metrics` tells and etcd's API does not: the quota of its database, and
//! its clock.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::{
    cluster::failure::ANSWER_TIMEOUT,
    options::{endpoint::Endpoint, tls::Secure},
};

/// What was seen; each may be unknown.
#[derive(Default)]
pub(super) struct Metrics {
    /// In bytes; negative if there is none.
    pub(super) quota: Option<i64>,
    pub(super) clock: Option<Clock>,
}

/// The clock of this machine, compared with a member's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// They differ by no more than can be seen from here.
    Agrees,
    /// This machine's is ahead, by at least this much.
    Ahead(Duration),
    /// This machine's is behind, by at least this much.
    Behind(Duration),
}

/// Looks at the page of a member. What cannot be seen is unknown: nothing depends on it.
pub(super) async fn look(endpoint: &Endpoint, secure: &Secure) -> Metrics {
    let look = async {
        let stream = TcpStream::connect((&*endpoint.host, endpoint.port)).await.ok()?;
        if !endpoint.is_secure {
            return read(endpoint, stream).await;
        }
        // This is not gRPC, so HTTP/2 is not offered.
        let mut config = (*secure.config).clone();
        config.alpn_protocols.clear();
        let name = ServerName::try_from(secure.name_of(endpoint).to_string()).ok()?;
        let connector = TlsConnector::from(Arc::new(config));
        read(endpoint, connector.connect(name, stream).await.ok()?).await
    };
    timeout(ANSWER_TIMEOUT, look).await.ok().flatten().unwrap_or_default()
}

async fn read(
    endpoint: &Endpoint,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Option<Metrics> {
    let (mut member, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let host = endpoint.url.split_once("://").map_or("", |(_, host)| host);
    let request = Request::get("/metrics").header(header::HOST, host);
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let sent = SystemTime::now();
    let answer = member.send_request(request).await.ok()?;
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let clock = date.map(|date| compare(sent, SystemTime::now(), date));
    let text = answer.into_body().collect().await.ok()?.to_bytes();
    connection.abort();
    Some(Metrics { quota: quota(&String::from_utf8_lossy(&text)), clock })
}

/// Compares two clocks: the other one showed this full second at some moment between these two.
fn compare(sent: SystemTime, received: SystemTime, second: SystemTime) -> Clock {
    let end_of_second = second + Duration::from_secs(1);
    if let Ok(ahead) = sent.duration_since(end_of_second) {
        Clock::Ahead(ahead)
    } else if let Ok(behind) = second.duration_since(received) {
        Clock::Behind(behind)
    } else {
        Clock::Agrees
    }
}

fn quota(metrics: &str) -> Option<i64> {
    let line = |line: &str| line.strip_prefix("etcd_server_quota_backend_bytes ")?.parse().ok();
    metrics.lines().find_map(line).map(|bytes: f64| bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        let at = |seconds: f64| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds);
        let seconds = Duration::from_secs_f64;
        assert_eq!(compare(at(10.5), at(10.75), at(10.0)), Clock::Agrees);
        assert_eq!(compare(at(10.5), at(10.75), at(9.0)), Clock::Ahead(seconds(0.5)));
        assert_eq!(compare(at(10.5), at(10.75), at(11.0)), Clock::Behind(seconds(0.25)));
        assert_eq!(compare(at(10.5), at(11.25), at(11.0)), Clock::Agrees);
    }

    #[test]
    fn quotas() {
        let text = "# HELP etcd_server_quota_backend_bytes x\n\
                    etcd_server_quota_backend_bytes 2.147483648e+09\n";
        assert_eq!(quota(text), Some(2_147_483_648));
        assert_eq!(quota("etcd_server_quota_backend_bytes -1\n"), Some(-1));
        assert_eq!(quota(""), None);
    }
}
