//! The lock on real servers, which the tests start themselves.

mod check;
mod conformance;
mod history;
mod leader;
mod leases;
mod members;
mod runtimes;
mod security;
mod server;
mod store;
