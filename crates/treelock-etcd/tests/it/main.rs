//! The lock on real servers, which the tests start themselves.

mod conformance;
mod history;
mod leases;
mod members;
mod server;
