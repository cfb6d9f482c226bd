//! Parsing nodes from text: as people write it, and as a node prints itself.

use std::str::FromStr;

use foldhash::SharedSeed;

use crate::{
    node::{HEAD, Node, Record, prefix_hash},
    node_error::{NodeError, Wrong, check},
};

impl Node {
    pub(crate) fn parse(text: &[u8]) -> Result<Node, NodeError> {
        let name = trim_slashes(text);
        // A small draft is cheaper to initialise.
        let short = if name.len() <= 64 { Node::parse_plain::<192>(name) } else { None };
        match short {
            Some(node) => Ok(node),
            None => Node::parse_any(name, text),
        }
    }

    /// Parses a name that is valid, fits into a draft and has no two consecutive slashes, so that
    /// its text is the node's text. Returns `None` for any other name.
    #[inline]
    fn parse_plain<const SIZE: usize>(name: &[u8]) -> Option<Node> {
        let mut draft = Draft::<SIZE>::new();
        let (mut at, mut start) = (0, 0);
        while at < name.len() {
            let mut slashes = slashes(word_at(name, at));
            while slashes != 0 {
                let end = at + slashes.trailing_zeros() as usize / 8;
                slashes &= slashes - 1;
                draft.push(&name[start..end], end)?;
                start = end + 1;
            }
            at += size_of::<u64>();
        }
        draft.push(&name[start..], name.len())?;
        draft.finish(name)
    }

    #[cold]
    fn parse_any(name: &[u8], text: &[u8]) -> Result<Node, NodeError> {
        if text.is_empty() {
            return Err(NodeError::new(text, Wrong::Empty));
        }
        if let Some(node) = Node::parse_plain::<2048>(name) {
            return Ok(node);
        }
        let components = name.split(|byte| *byte == b'/').filter(|component| !component.is_empty());
        Node::from_components(components).map_err(|error| NodeError::new(text, error.wrong))
    }
}

/// A node under construction, on the stack. Most nodes fit.
struct Draft<const SIZE: usize> {
    bytes: [u8; SIZE],
    /// How many bytes have been written.
    length: usize,
    hash: u64,
    seed: &'static SharedSeed,
}

impl<const SIZE: usize> Draft<SIZE> {
    #[inline(always)]
    fn new() -> Draft<SIZE> {
        let seed = SharedSeed::global_random();
        Draft { bytes: [0; SIZE], length: HEAD, hash: 0, seed }
    }

    /// Adds a component whose text ends at `end`, if it is valid and fits.
    #[inline(always)]
    fn push(&mut self, component: &[u8], end: usize) -> Option<()> {
        check(component).ok()?;
        let next = self.length + size_of::<Record>();
        let record = self.bytes.get_mut(self.length..next)?;
        self.hash = prefix_hash(self.hash, component, self.seed);
        record[..8].copy_from_slice(&self.hash.to_ne_bytes());
        record[8..].copy_from_slice(&(end as u32).to_ne_bytes());
        self.length = next;
        Some(())
    }

    /// Returns the node with this text, if it fits.
    #[inline(always)]
    fn finish(&mut self, text: &[u8]) -> Option<Node> {
        let depth = (self.length - HEAD) / size_of::<Record>();
        let end = self.length + text.len();
        self.bytes[..HEAD].copy_from_slice(&(depth as u32).to_ne_bytes());
        self.bytes.get_mut(self.length..end)?.copy_from_slice(text);
        Some(Node::from_layout(&self.bytes[..end]))
    }
}

#[inline]
fn trim_slashes(mut text: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b'/'] = text {
        text = rest;
    }
    text
}

/// Returns eight bytes of a text, with zeros past its end.
#[inline]
fn word_at(text: &[u8], at: usize) -> u64 {
    let rest = &text[at..];
    match (rest.first_chunk(), text.last_chunk()) {
        (Some(word), _) => u64::from_le_bytes(*word),
        (None, Some(last)) => u64::from_le_bytes(*last) >> (u64::BITS as usize - 8 * rest.len()),
        (None, None) => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Returns which of eight bytes are slashes, by setting the highest bit of each. It makes slashes
/// zero, then finds zero bytes by arithmetic as in Warren's "Hacker's Delight" (section 6-1).
#[inline]
fn slashes(word: u64) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let word = word ^ u64::from_ne_bytes([b'/'; 8]);
    !(((word & LOW) + LOW) | word | LOW)
}

impl FromStr for Node {
    type Err = NodeError;

    fn from_str(text: &str) -> Result<Node, NodeError> {
        Node::parse(text.as_bytes())
    }
}

/// Reads the text that [`Display`](std::fmt::Display) prints, including escapes: `/a\\/b` is one
/// component.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        printed(&text).map_err(serde::de::Error::custom)
    }
}

/// Returns the node that prints as this text.
#[cfg(feature = "serde")]
fn printed(text: &str) -> Result<Node, NodeError> {
    let components =
        unescaped(text).ok_or_else(|| NodeError::new(text.as_bytes(), Wrong::Escape))?;
    let node = Node::from_components(components)
        .map_err(|error| NodeError::new(text.as_bytes(), error.wrong))?;
    // One text for each node, so that texts can be compared.
    match node.to_string() == text {
        true => Ok(node),
        false => Err(NodeError::new(text.as_bytes(), Wrong::Escape)),
    }
}

/// Returns the components of a printed node, or `None` if no node prints like this.
#[cfg(feature = "serde")]
fn unescaped(text: &str) -> Option<Vec<Vec<u8>>> {
    let below = text.strip_prefix('/')?;
    if below.is_empty() {
        return Some(Vec::new());
    }
    let (mut components, mut component) = (Vec::new(), Vec::new());
    let mut chars = below.chars();
    while let Some(char) = chars.next() {
        match char {
            '/' => components.push(std::mem::take(&mut component)),
            '\\' => unescape(&mut chars, &mut component)?,
            char => component.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    components.push(component);
    Some(components)
}

/// Reads the characters that follow a backslash.
#[cfg(feature = "serde")]
fn unescape(chars: &mut std::str::Chars<'_>, component: &mut Vec<u8>) -> Option<()> {
    let char = match chars.next()? {
        char @ ('/' | '\\') => char,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'x' => {
            let digits = chars.as_str().get(..2)?;
            component.push(u8::from_str_radix(digits, 16).ok()?);
            *chars = chars.as_str()[2..].chars();
            return Some(());
        }
        'u' => {
            let (digits, rest) = chars.as_str().strip_prefix('{')?.split_once('}')?;
            *chars = rest.chars();
            char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
        }
        _ => return None,
    };
    component.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_prints_is_that_node() {
        let all: Vec<u8> = (0..=255).collect();
        let names: [&[u8]; 5] =
            [b"a/b", b"\\x41\n", b"\xff\xfe", "caf\u{e9}\u{85}".as_bytes(), &all];
        for name in names {
            let node = Node::from_components([b"x", name]).expect("a valid name");
            assert_eq!(printed(&node.to_string()), Ok(node));
        }
        assert_eq!(printed("/"), Ok(Node::root()));
    }

    #[test]
    fn what_no_node_prints_is_refused() {
        let refused = [
            "",
            "a",
            "//",
            "/a/",
            "/a\\",
            "/\\q",
            "/\\x4",
            "/\\xzz",
            "/\\u{110000}",
            "/..",
            "/\\x\u{e9}",
            "/\\x+f",
            "/\\x41",
            "/\\u{+41}",
            "/\\u{41}",
        ];
        for text in refused {
            assert!(printed(text).is_err(), "{text:?}");
        }
    }
}
