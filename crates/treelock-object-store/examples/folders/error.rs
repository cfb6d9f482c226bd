//! What ends the example early.

use std::error::Error;
use std::iter;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Prints an error and its causes, which are not in its sentence.
pub(crate) fn sentence(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let error: &(dyn Error + 'static) = error;
    let chain = iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
