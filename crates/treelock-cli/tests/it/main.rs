//! Tests of the real command: many processes, signals, terminals. Each test has a lock table of its
//! own and waits for conditions, never for a time.

mod breaking;
#[cfg(feature = "etcd")]
mod cluster;
mod codes;
mod command;
mod exclusion;
mod exec;
mod generated;
mod groups;
mod help;
mod holding;
mod killed;
mod names;
mod nested;
mod paths;
mod readme;
mod scene;
mod schema;
// Of the crate of that lock, which starts clusters for its own tests.
#[cfg(feature = "etcd")]
#[expect(dead_code, reason = "they need more of it")]
#[path = "../../../treelock-etcd/tests/it/server.rs"]
mod server;
mod shown;
mod signals;
mod terminal;
mod timeless;
mod users;
mod view;
mod waiting;
mod which_lock;
