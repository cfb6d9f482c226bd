//! What every peer can do.

/// A lock manager as the single-threaded comparisons see it.
pub trait Peer: Send + Sync {
    /// Its name in tables and plots.
    const NAME: &'static str;

    /// A held lock; dropping it releases the lock.
    type Held<'a>: Send
    where
        Self: 'a;

    /// Returns an instance with nothing held.
    fn new() -> Self;

    /// Takes the write lock on `path`, which must be free.
    fn write(&self, path: &str) -> Self::Held<'_>;
}
