//! What the keys of a request hold beside what they say themselves: [`Value`].

use serde::{Deserialize, Serialize};
use treelock::{Access, Node};

use crate::key::root_text;

/// What a key of a live request holds, as JSON that people can read with `etcdctl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Value {
    /// Differs from that of every other request of the session.
    pub(crate) nonce: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// All roots, at the first key of a request that has not just that one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) roots: Vec<String>,
    /// The root of the first key, at the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<String>,
    /// When it was asked, in milliseconds since 1970, by the clock of who asked.
    pub(crate) since: u64,
}

impl Value {
    /// Returns the texts of a request with these roots, one for each of its keys.
    pub(crate) fn texts(self, roots: &[(Access, Node)]) -> Vec<Vec<u8>> {
        let text = |value: &Value| serde_json::to_vec(value).expect("a value is JSON");
        let mut texts = vec![text(&self)];
        if roots.len() > 1 {
            let first = roots.first().map(|(access, node)| root_text((*access, node)));
            texts.resize(roots.len(), text(&Value { roots: Vec::new(), first, ..self }));
        }
        texts
    }
}
