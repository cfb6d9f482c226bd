//! One binary for all integration tests: every operation, every odd case, on memory and real files.

mod cancel;
mod conformance;
mod errors;
mod faults;
mod faulty;
mod folders;
mod ground;
mod leased;
mod locks;
mod loss;
mod lost;
mod seen;
mod streams;
mod views;
