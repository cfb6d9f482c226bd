//! What is wrong with a text that names no node: [`NodeError`].

use std::{borrow::Borrow, error::Error, fmt};

/// A text that names no node: says which text, what is wrong with it, and what to do.
///
/// # Examples
///
/// ```
/// let error = "a/../b".parse::<treelock::Node>().unwrap_err();
/// assert_eq!(error.text(), "a/../b");
/// assert!(error.to_string().starts_with(r#""a/../b" names no node: it has a component"#));
/// assert!(error.to_string().ends_with("resolve it first"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct NodeError {
    text: Box<[u8]>,
    pub(crate) wrong: Wrong,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Empty,
    EmptyComponent,
    Dots,
    TooLong,
    #[cfg(feature = "serde")]
    Escape,
    #[cfg(not(unix))]
    Prefix,
    #[cfg(not(unix))]
    NotUnicode,
}

impl NodeError {
    #[cold]
    pub(crate) fn new(text: &[u8], wrong: Wrong) -> NodeError {
        // A refused text of gigabytes need not be kept whole to be recognised.
        NodeError { text: text[..text.len().min(4096)].into(), wrong }
    }

    /// Returns the text that was refused, with `U+FFFD` for what is not UTF-8; at most its first
    /// 4,096 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!("".parse::<treelock::Node>().unwrap_err().text(), "");
    /// ```
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.text.borrow())
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, todo) = match self.wrong {
            Wrong::Empty => ("it is empty (an unset variable?)", "write \"/\" for the whole tree"),
            Wrong::EmptyComponent => ("a component is empty", "leave it out"),
            Wrong::Dots => (
                "it has a component \".\" or \"..\", which a name cannot decide",
                "resolve it first",
            ),
            Wrong::TooLong => ("it is longer than 4 GiB", "use a shorter name"),
            #[cfg(feature = "serde")]
            Wrong::Escape => (
                "it is not as a node is printed",
                "begin it with a slash, and let a backslash stand only where printing puts one",
            ),
            #[cfg(not(unix))]
            Wrong::Prefix => ("it has a drive or share prefix", "give the path below it"),
            #[cfg(not(unix))]
            Wrong::NotUnicode => ("it is not Unicode", "use Node::from_components"),
        };
        write!(f, "{:?} names no node: {what}; {todo}", self.text())
    }
}

/// The sentence, which says more than the fields.
impl fmt::Debug for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for NodeError {}

/// Checks whether these bytes can be a component.
#[inline]
pub(crate) fn check(component: &[u8]) -> Result<(), Wrong> {
    match component {
        [] => Err(Wrong::EmptyComponent),
        [b'.'] | [b'.', b'.'] => Err(Wrong::Dots),
        _ => Ok(()),
    }
}
