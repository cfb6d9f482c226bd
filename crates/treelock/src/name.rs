//! What names a node: [`ToNode`].

use std::path::{Path, PathBuf};

#[cfg(not(unix))]
use crate::node_error::Wrong;
use crate::{node::Node, node_error::NodeError};

/// Anything that names a node. Implement it for your own key type, and requests take it as it is.
///
/// Text and paths split at `/`, with the rules of [`Node`]. A [`Path`] is taken as a name too: it is
/// not made absolute and no link is followed, since that answer may change; what cannot be decided
/// (`..`, a drive prefix, text that is not Unicode on Windows) is refused.
///
/// # Examples
///
/// ```
/// use treelock::{Node, NodeError, Request, ToNode};
///
/// struct Table { schema: String, name: String }
///
/// impl ToNode for Table {
///     fn to_node(&self) -> Result<Node, NodeError> {
///         Node::from_components([&self.schema, &self.name])
///     }
/// }
///
/// let orders = Table { schema: "shop".into(), name: "orders".into() };
/// let request = Request::new().write(&orders)?;
/// assert_eq!(request.to_string(), "write /shop/orders");
/// # Ok::<(), NodeError>(())
/// ```
pub trait ToNode {
    /// Returns the node that this value names.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if it names none.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::ToNode;
    ///
    /// assert_eq!("a/b".to_node()?, std::path::Path::new("/a/b/").to_node()?);
    /// assert!("".to_node().is_err());
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    fn to_node(&self) -> Result<Node, NodeError>;
}

impl<T: ToNode + ?Sized> ToNode for &T {
    fn to_node(&self) -> Result<Node, NodeError> {
        (**self).to_node()
    }
}

impl ToNode for Node {
    fn to_node(&self) -> Result<Node, NodeError> {
        Ok(self.clone())
    }
}

impl ToNode for str {
    #[inline]
    fn to_node(&self) -> Result<Node, NodeError> {
        Node::parse(self.as_bytes())
    }
}

impl ToNode for String {
    fn to_node(&self) -> Result<Node, NodeError> {
        self.as_str().to_node()
    }
}

impl ToNode for Path {
    #[cfg(unix)]
    fn to_node(&self) -> Result<Node, NodeError> {
        use std::os::unix::ffi::OsStrExt;
        Node::parse(self.as_os_str().as_bytes())
    }

    #[cfg(not(unix))]
    fn to_node(&self) -> Result<Node, NodeError> {
        use std::path::{Component, is_separator};
        let refuse = |wrong| NodeError::new(self.to_string_lossy().as_bytes(), wrong);
        if let Some(Component::Prefix(_)) = self.components().next() {
            return Err(refuse(Wrong::Prefix));
        }
        let text = self.to_str().ok_or_else(|| refuse(Wrong::NotUnicode))?;
        if text.is_empty() {
            return Err(refuse(Wrong::Empty));
        }
        Node::from_components(text.split(is_separator).filter(|component| !component.is_empty()))
            .map_err(|error| refuse(error.wrong))
    }
}

impl ToNode for PathBuf {
    fn to_node(&self) -> Result<Node, NodeError> {
        self.as_path().to_node()
    }
}

macro_rules! try_from {
    ($($type:ty),*) => {$(
        impl TryFrom<$type> for Node {
            type Error = NodeError;

            fn try_from(name: $type) -> Result<Node, NodeError> {
                name.to_node()
            }
        }
    )*};
}

try_from!(&str, &String, String, &Path, &PathBuf, PathBuf);
