//! From a text to an [`Address`].

mod etcd;

use std::{path::PathBuf, str::FromStr};

use crate::{address::Address, address_error::AddressError};

/// What a text may be.
const FORMS: &str = "write memory:, dir:PATH or etcd://HOST:PORT/NAMESPACE";

type Result<T> = std::result::Result<T, AddressError>;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address> {
        let Some((scheme, rest)) = scheme(text) else { return Err(no_scheme(text)) };
        match scheme {
            "memory" if rest.is_empty() => Ok(Address::Memory),
            "memory" => {
                Err(AddressError::new("path", "memory: is the whole text; remove the rest"))
            }
            "dir" => Ok(Address::Dir(dir(rest)?)),
            "etcd" => match rest.strip_prefix("//") {
                Some(rest) => Ok(Address::Etcd(etcd::read(rest)?)),
                None => Err(AddressError::new(
                    "endpoint",
                    "`//` is missing after etcd:; write etcd://HOST:PORT/NAMESPACE",
                )),
            },
            "http" | "https" => Err(AddressError::new(
                "scheme",
                format_args!(
                    "{scheme:?} does not say what is there; write \
                     etcd://{scheme}://HOST:PORT/NAMESPACE"
                ),
            )),
            _ => Err(AddressError::new("scheme", format_args!("{scheme:?} is unknown; {FORMS}"))),
        }
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Address> {
        text.parse()
    }
}

/// Returns what stands before and after the first `:`, if a scheme can be what stands before.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (!scheme.is_empty() && scheme.chars().all(fits)).then_some((scheme, rest))
}

fn no_scheme(text: &str) -> AddressError {
    let is_path = |text: &str| text.starts_with(['/', '.']);
    match text {
        "" => AddressError::new(
            "scheme",
            format_args!("the text is empty (an unset variable?); {FORMS}"),
        ),
        path if is_path(path) => AddressError::new(
            "scheme",
            format_args!("it is missing; for the directory {path:?} write \"dir:{path}\""),
        ),
        _ => AddressError::new("scheme", format_args!("it is missing; {FORMS}")),
    }
}

fn dir(path: &str) -> Result<PathBuf> {
    let wrong = |what: &str| Err(AddressError::new("path", what));
    match path {
        "" => wrong(
            "it is empty (an unset variable?); write a directory, as in dir:/var/lib/app/locks",
        ),
        _ if path.contains('\0') => wrong("it has a NUL character; remove it"),
        _ if path == "~" || path.starts_with("~/") => wrong(
            "only a shell knows `~`; write the whole path, or dir:./~ for a directory of that name",
        ),
        _ if path.starts_with("//") && !path.starts_with("///") => {
            wrong("a directory is on no other host; write one `/`, or none for a relative path")
        }
        _ => Ok(path.into()),
    }
}
