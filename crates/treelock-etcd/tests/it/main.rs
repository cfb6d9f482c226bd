//! The lock on real servers, which the tests start themselves.

mod administration;
mod asking;
mod certificates;
mod check;
mod conformance;
mod events;
mod history;
mod leader;
mod leases;
mod members;
mod options;
mod requests;
mod runtimes;
mod server;
mod store;
mod tls;
mod users;
mod waiting;
