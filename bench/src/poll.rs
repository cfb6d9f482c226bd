//! One poll of a future: the cheapest possible executor, and the same one for every peer.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Polls `future` once and returns its output.
///
/// # Panics
///
/// Panics if the future is not ready: an uncontended lock must be granted at its first poll.
pub fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the lock was expected to be free"),
    }
}
