//! The lock chosen by text: what texts mean, that secrets stay secret, and that every engine behind
//! it has the same verbs.

mod conformance;
mod engines;
mod grammar;
mod random_texts;
mod secrets;
// Of the crate of that lock, which starts clusters for its own tests.
#[cfg(feature = "etcd")]
#[expect(dead_code, reason = "those tests need more of it")]
#[path = "../../../treelock-etcd/tests/it/server.rs"]
mod server;
mod texts;
mod types;
