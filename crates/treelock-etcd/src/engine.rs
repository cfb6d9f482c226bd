//! [`EtcdLock`] for code that works with any engine.

use treelock::{Engine, Request};

use crate::{error::Error, guard::Guard, lock::EtcdLock, protocol::wish::OPERATIONS_MAX};

impl Engine for EtcdLock {
    type Guard = Guard;
    type Error = Error;

    /// Each is one operation of one transaction.
    const MAX_ROOTS: usize = OPERATIONS_MAX;

    async fn acquire(&self, request: &Request) -> Result<Guard, Error> {
        EtcdLock::acquire(self, request).await
    }

    fn is_valid(guard: &Guard) -> bool {
        guard.is_valid()
    }
}
