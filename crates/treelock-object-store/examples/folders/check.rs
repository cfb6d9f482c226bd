//! The look at everything after a round: what is torn, and what is lost.

use std::collections::HashSet;

use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::error::Result;
use crate::folder::{self, Found};
use crate::ledger::Ledger;
use crate::worker::place;

/// What is torn and what is lost.
pub(crate) struct Damage {
    pub(crate) torn: u64,
    pub(crate) lost: usize,
}

/// Reads every place and every object, on the store without latency and with nobody at work.
pub(crate) async fn check(
    store: &dyn ObjectStore,
    ledger: &Ledger,
    places: usize,
) -> Result<Damage> {
    let mut torn = 0;
    for index in 0..places {
        if let Found::Torn(_) = folder::read(store, &place(index)).await? {
            torn += 1;
        }
    }
    let mut present = HashSet::new();
    let mut objects = store.list(None);
    while let Some(object) = objects.try_next().await? {
        let bytes = store.get(&object.location).await?.bytes().await?;
        present.insert(folder::hash(&bytes));
    }
    Ok(Damage { torn, lost: ledger.lost(&present) })
}
