//! Parses the text of a lock on an etcd cluster.
//!
//! No error quotes anything that may be a password. That is everything before the last `@`, so a
//! `@` is not allowed anywhere else; and the port of an endpoint, because `USER:PASSWORD` looks
//! like an endpoint if the rest is missing. (Then what follows a `,`, `/` or `?` in the password
//! looks like the rest, and may be quoted as such.)

use std::{ops::RangeInclusive, time::Duration};

use crate::{
    address::{EtcdAddress, Password},
    address_error::AddressError,
    escape::unescaped,
};

const PARAMETERS: &str = "ttl, ca, cert, key, password-file and password-env";
/// The shortest and the longest lease, in seconds.
const TTL_SECONDS: RangeInclusive<u64> = 2..=24 * 60 * 60;

type Result<T> = std::result::Result<T, AddressError>;

/// Parses what follows `etcd://`.
pub(super) fn read(text: &str) -> Result<EtcdAddress> {
    // Everything before the last `@` may be a password.
    let (user, rest) = match text.rsplit_once('@') {
        None => (None, text),
        Some((user, rest)) => (Some(user), rest),
    };
    if rest.contains('#') {
        return Err(AddressError::new("parameter", "there is a `#`; write %23 for one"));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (endpoints, path) = endpoints(rest)?;
    let mut address = EtcdAddress::new(endpoints);
    address.namespace = namespace(path)?;
    if let Some(user) = user {
        (address.user, address.password) = user_info(user)?;
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        set(&mut address, parameter)?;
    }
    address.check()?;
    Ok(address)
}

/// Parses `USER` or `USER:PASSWORD`.
fn user_info(text: &str) -> Result<(Option<String>, Option<Password>)> {
    if let Some(bad) = text.chars().find(|c| "/?#@,".contains(*c)) {
        return Err(AddressError::new(
            "user",
            format_args!(
                "there is a {bad:?} before the last `@`; in a user or password write %{:02X}",
                bad as u32
            ),
        ));
    }
    let (user, password) = match text.split_once(':') {
        None => (text, None),
        Some((user, password)) => (user, Some(password)),
    };
    if user.is_empty() {
        return Err(AddressError::new("user", "it is empty; write USER@HOST:PORT"));
    }
    if password == Some("") {
        return Err(AddressError::new(
            "password",
            "it is empty (an unset variable?); write USER:PASSWORD@HOST:PORT, or leave out the `:`",
        ));
    }
    let password = password.map(|password| unescaped("password", password)).transpose()?;
    Ok((Some(unescaped("user", user)?), password.map(Password::Text)))
}

/// Parses the endpoints. Also returns what follows them.
fn endpoints(text: &str) -> Result<(Vec<String>, &str)> {
    let mut endpoints = Vec::new();
    let mut rest = text;
    loop {
        let secure = ["http://", "https://"].into_iter().find(|scheme| rest.starts_with(scheme));
        let (start, after) = rest.split_at(secure.map_or(0, str::len));
        let end = after.find([',', '/']).unwrap_or(after.len());
        let (endpoint, next) = after.split_at(end);
        check_endpoint(endpoint)?;
        endpoints.push(format!("{start}{endpoint}"));
        match next.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok((endpoints, next)),
        }
    }
}

fn check_endpoint(endpoint: &str) -> Result<()> {
    let wrong = |what: String| Err(AddressError::new("endpoint", what));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_address = |c: char| c.is_ascii_hexdigit() || ":.%".contains(c);
    if endpoint.is_empty() {
        return wrong("one is missing; write HOST:PORT, with commas between several".into());
    }
    let (host, port) = match endpoint.rfind(']').filter(|_| endpoint.starts_with('[')) {
        Some(end) => endpoint.split_at(end + 1),
        None => endpoint.split_at(endpoint.find(':').unwrap_or(endpoint.len())),
    };
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inside {
        Some(address) => !address.is_empty() && address.chars().all(is_address),
        None => !host.is_empty() && host.chars().all(is_name),
    };
    if !is_host {
        return wrong(format!(
            "{host:?} is not the name or address of a host; write HOST:PORT, or [IPV6]:PORT"
        ));
    }
    // `parse` would accept a sign, too.
    let is_number = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
    match port.strip_prefix(':').filter(is_number).map(str::parse::<u16>) {
        Some(Ok(1..)) => Ok(()),
        None if port.is_empty() => {
            wrong(format!("{host:?} has no port; etcd's is 2379, as in {host}:2379"))
        }
        // The port is not quoted, because it may be a password.
        _ => wrong(format!(
            "the port of {host:?} is not a number from 1 to 65535; etcd's is 2379, as in \
             {host}:2379"
        )),
    }
}

fn namespace(path: &str) -> Result<Option<String>> {
    let name = path.strip_prefix('/').unwrap_or(path);
    if name.is_empty() {
        return Ok(None);
    }
    let name = unescaped("namespace", name)?;
    match name.contains(|c: char| c == '/' || c.is_whitespace()) {
        true => Err(AddressError::new(
            "namespace",
            format_args!("{name:?} has a slash or a space; write one name, as in /builds"),
        )),
        false => Ok(Some(name)),
    }
}

/// Parses `NAME=VALUE` and sets the parameter.
fn set(address: &mut EtcdAddress, parameter: &str) -> Result<()> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let name = match name {
        "ttl" => "ttl",
        "ca" => "ca",
        "cert" => "cert",
        "key" => "key",
        "password-file" => "password-file",
        "password-env" => "password-env",
        "password" | "user" => {
            return Err(AddressError::new(
                "parameter",
                format_args!(
                    "{name:?} is not a parameter; write USER:PASSWORD@HOST:PORT, or USER@HOST:PORT \
                     with password-file or password-env"
                ),
            ));
        }
        _ => {
            return Err(AddressError::new(
                "parameter",
                format_args!("{name:?} is unknown; the parameters are {PARAMETERS}"),
            ));
        }
    };
    let value = unescaped(name, value)?;
    if value.is_empty() {
        return Err(AddressError::new(name, format_args!("it has no value; write {name}=VALUE")));
    }
    let is_new = match name {
        "ttl" => address.ttl.replace(ttl(&value)?).is_none(),
        "ca" => address.ca_file.replace(value.into()).is_none(),
        "cert" => address.cert_file.replace(value.into()).is_none(),
        "key" => address.key_file.replace(value.into()).is_none(),
        "password-file" => address.password.replace(Password::File(value.into())).is_none(),
        _ => address.password.replace(Password::Variable(value)).is_none(),
    };
    match is_new {
        true => Ok(()),
        false if name.starts_with("password") => Err(AddressError::new(
            name,
            "there are two passwords; write one after the user, or password-file, or password-env",
        )),
        false => Err(AddressError::new(name, "it is given twice; remove one")),
    }
}

/// Parses a duration such as `15s`, `2m` or `1h`.
fn ttl(text: &str) -> Result<Duration> {
    let (number, seconds) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(AddressError::new(
            "ttl",
            format_args!(
                "{text:?} is not a duration; write whole seconds, minutes or hours, as in 15s"
            ),
        ));
    }
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    match seconds.filter(|seconds| TTL_SECONDS.contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(AddressError::new(
            "ttl",
            format_args!("a lease cannot last {text:?}; write a duration from 2s to 24h"),
        )),
    }
}
