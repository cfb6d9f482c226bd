//! Bytes written as `%` and two hexadecimal digits.

use std::fmt::Write as _;

use crate::address_error::AddressError;

/// Returns a text in which every byte that could mean something else is escaped.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                escaped.push(byte.into());
            }
            _ => write!(escaped, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    escaped
}

/// Returns what an escaped text stands for. The error does not quote it, since it may be a
/// password.
pub(crate) fn unescaped(part: &'static str, text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| char::from(digit?).to_digit(16));
        match digits {
            [Some(high), Some(low)] => bytes.push((high * 16 + low) as u8),
            _ => {
                return Err(AddressError::new(
                    part,
                    "a `%` has to be followed by two hexadecimal digits; write %25 for `%` itself",
                ));
            }
        }
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| AddressError::new(part, "it is not UTF-8; escape bytes of UTF-8 only"))?;
    match text.contains(char::is_control) {
        true => Err(AddressError::new(part, "it has a control character; remove it")),
        false => Ok(text),
    }
}
