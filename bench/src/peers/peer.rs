//! What every peer can do.

/// A lock manager as the single-threaded comparisons see it.
pub trait Peer: Send + Sync {
    /// The name in tables and plots.
    const NAME: &'static str;

    /// What is held; dropping it releases.
    type Held<'a>: Send
    where
        Self: 'a;

    /// An instance that holds nothing.
    fn new() -> Self;

    /// Takes the write lock on `path`, which must be free.
    fn write(&self, path: &str) -> Self::Held<'_>;
}
