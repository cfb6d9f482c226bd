//! The lock on real servers, which the tests start themselves.

mod conformance;
mod leases;
mod members;
mod security;
mod server;
mod store;
