//! The address of a member.

use http::Uri;

/// The address of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub(crate) url: String,
    /// A name or an address; an IPv6 address has no brackets here.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_secure: bool,
}

impl Endpoint {
    /// Reads what a user has written; the error says what is wrong with it.
    ///
    /// With `has_tls`, an endpoint that names no scheme is an `https://` one.
    pub(crate) fn read(text: &str, has_tls: bool) -> Result<Endpoint, String> {
        // What stands before the `@` may be a password, so it is not printed.
        if let Some((_, host)) = text.rsplit_once('@') {
            return Err(format!(
                "the endpoint of {host:?} has a user in it; give user and password as options"
            ));
        }
        let wrong = |what: &str| Err(format!("the endpoint {text:?} {what}"));
        let (scheme, rest) = match text.trim().split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => (if has_tls { "https" } else { "http" }, text.trim()),
        };
        if rest.contains(',') {
            return wrong("has a comma; give each member separately");
        }
        if !matches!(scheme, "http" | "https") {
            return wrong("is neither http:// nor https://");
        }
        if scheme == "http" && has_tls {
            return wrong("says http://, and TLS is set; write https://, or do not set TLS");
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let Ok(uri) = rest.parse::<Uri>() else {
            return wrong("is not an address; write it like https://10.0.0.1:2379");
        };
        let Some(host) = uri.host().filter(|host| uri.scheme().is_none() && !host.is_empty())
        else {
            return wrong("is not an address; write it like https://10.0.0.1:2379");
        };
        let Some(port) = uri.port_u16() else {
            return wrong("has no valid port; etcd's is 2379, unless it was configured otherwise");
        };
        Ok(Endpoint {
            url: format!("{scheme}://{rest}"),
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port,
            is_secure: scheme == "https",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones() {
        for (text, has_tls, url, host) in [
            ("http://10.0.0.1:2379", false, "http://10.0.0.1:2379", "10.0.0.1"),
            ("https://etcd.example:1/", false, "https://etcd.example:1", "etcd.example"),
            (" https://[::1]:2379\n", true, "https://[::1]:2379", "::1"),
            ("localhost:2379", false, "http://localhost:2379", "localhost"),
            ("localhost:2379", true, "https://localhost:2379", "localhost"),
        ] {
            let endpoint = Endpoint::read(text, has_tls).expect("a good one");
            assert_eq!((&*endpoint.url, &*endpoint.host), (url, host), "{text}");
            assert_eq!(endpoint.is_secure, url.starts_with("https"), "{text}");
        }
    }

    #[test]
    fn bad_ones() {
        for (text, has_tls, what) in [
            ("", false, "is not an address"),
            ("http://", false, "is not an address"),
            ("http://a b:2379", false, "is not an address"),
            ("http://a:99999", false, "has no valid port"),
            ("http://:2379", false, "is not an address"),
            ("a", false, "has no valid port"),
            ("https://[::1]", false, "has no valid port"),
            ("a:1,b:2", false, "has a comma"),
            ("unix://a:1", false, "is neither"),
            ("http://a:1", true, "says http://, and TLS is set"),
            ("http://a:1/b", false, "is not an address"),
            ("http://me:secret@a:1", false, "has a user"),
        ] {
            let error = Endpoint::read(text, has_tls).expect_err(text);
            assert!(error.contains(what) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
