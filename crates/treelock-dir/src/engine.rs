//! [`DirLock`] for code that works with any engine.

use treelock::{Engine, Request};

use crate::{error::Error, guard::Guard, lock::DirLock};

impl Engine for DirLock {
    type Guard = Guard;
    type Error = Error;

    async fn acquire(&self, request: &Request) -> Result<Guard, Error> {
        DirLock::acquire(self, request).await
    }

    fn is_valid(guard: &Guard) -> bool {
        guard.is_valid()
    }
}
