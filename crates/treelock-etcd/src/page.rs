//! What a member's page `/metrics` tells and etcd's API does not: the quota of its database, and its clock.

use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Uri, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::servers::PATIENCE;

/// What was seen; each may be unknown.
#[derive(Default)]
pub(crate) struct Page {
    /// In bytes; negative if there is none.
    pub(crate) quota: Option<i64>,
    pub(crate) clock: Option<Clock>,
}

/// The clock of this machine beside a member's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// They differ by no more than can be seen from here.
    Agrees,
    /// This machine's is ahead, by this at least.
    Ahead(Duration),
    /// This machine's is behind, by this at least.
    Behind(Duration),
}

/// Looks at the page of a member. What cannot be looked at is unknown: with TLS there may be no page without a
/// certificate, and what is asked here are questions of comfort.
pub(crate) async fn look(endpoint: &str) -> Page {
    match timeout(PATIENCE, read(endpoint)).await {
        Ok(Some(page)) => page,
        _ => Page::default(),
    }
}

async fn read(endpoint: &str) -> Option<Page> {
    let uri: Uri = endpoint.parse().ok().filter(|uri: &Uri| uri.scheme_str() == Some("http"))?;
    let authority = uri.authority()?;
    let port = authority.port_u16().unwrap_or(80);
    let host = authority.host().trim_matches(['[', ']']); // as IPv6 is written in an address
    let stream = TcpStream::connect((host, port)).await.ok()?;
    let (mut member, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/metrics").header(header::HOST, authority.as_str());
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let sent = SystemTime::now();
    let answer = member.send_request(request).await.ok()?;
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let clock = date.map(|date| compare(sent, SystemTime::now(), date));
    let text = answer.into_body().collect().await.ok()?.to_bytes();
    connection.abort();
    Some(Page { quota: quota(&String::from_utf8_lossy(&text)), clock })
}

/// What is known of two clocks if the other one showed this full second at some time between these two.
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
        let text = "# HELP etcd_server_quota_backend_bytes x\netcd_server_quota_backend_bytes 2.147483648e+09\n";
        assert_eq!(quota(text), Some(2_147_483_648));
        assert_eq!(quota("etcd_server_quota_backend_bytes -1\n"), Some(-1));
        assert_eq!(quota(""), None);
    }
}
