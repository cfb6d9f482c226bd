//! The look at the folders before a verb changes anything.

use futures_util::future::try_join;
use futures_util::stream::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectMeta, ObjectStore};

use crate::error::folder::FolderError;
use crate::job::plan::Plan;
use crate::path::is_below;

/// Lists the source, and makes sure that it holds something and the target nothing.
pub(crate) async fn survey<S: ObjectStore>(
    store: &S,
    plan: &Plan,
    overwrite: bool,
) -> Result<Vec<ObjectMeta>, FolderError> {
    let listed = async {
        let all = store.list(Some(&plan.from)).try_collect::<Vec<_>>().await;
        all.map_err(|source| plan.store_error(&plan.from, source))
    };
    let target = async {
        match &plan.to {
            Some(to) if !overwrite => {
                occupant(store, to).await.map_err(|source| plan.store_error(to, source))
            }
            _ => Ok(None),
        }
    };
    let (mut objects, occupant) = try_join(listed, target).await?;
    // Some stores keep a marker named as the folder itself. It is an object like any other of that
    // exact name, and not in the folder.
    objects.retain(|object| is_below(&object.location, &plan.from));
    if objects.is_empty() {
        let is_object = exists(store, &plan.from)
            .await
            .map_err(|source| plan.store_error(&plan.from, source))?;
        return Err(FolderError::NotFound { verb: plan.verb, path: plan.from.clone(), is_object });
    }
    match (occupant, &plan.to) {
        (Some(found), Some(to)) => {
            Err(FolderError::AlreadyExists { verb: plan.verb, to: to.clone(), found })
        }
        _ => Ok(objects),
    }
}

/// Returns an object at or below `to`, if there is one.
async fn occupant<S: ObjectStore>(store: &S, to: &Path) -> object_store::Result<Option<Path>> {
    let below = async { store.list(Some(to)).try_next().await };
    let (below, at) = try_join(below, exists(store, to)).await?;
    Ok(below.map(|object| object.location).or_else(|| at.then(|| to.clone())))
}

async fn exists<S: ObjectStore>(store: &S, path: &Path) -> object_store::Result<bool> {
    match store.get_opts(path, GetOptions::new().with_head(true)).await {
        Ok(_) => Ok(true),
        Err(Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
