//! object_store's own suite: the locked store behaves as the store that it wraps.
//!
//! Left out are `stream_get` and `multipart_race_condition`, which read or write a location while
//! an upload to it is open: here the upload holds its lock, so they would wait for themselves.

use object_store::integration;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use treelock_object_store::LockedStore;

use crate::ground::soon;

macro_rules! memory {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            let store = LockedStore::new(InMemory::new());
            soon(integration::$name(&store)).await;
        }
    )*};
}

memory! {
    put_get_delete_list
    put_get_attributes
    get_opts
    list_uses_directories_correctly
    list_with_delimiter
    rename_and_copy
    copy_if_not_exists
    copy_rename_nonexistent_object
    multipart_out_of_order
    list_with_offset_exclusivity
}

#[tokio::test]
async fn put_opts() {
    let store = LockedStore::new(InMemory::new());
    soon(integration::put_opts(&store, true)).await;
}

#[tokio::test]
async fn get_nonexistent_object() {
    let store = LockedStore::new(InMemory::new());
    let error = soon(integration::get_nonexistent_object(&store, None)).await.unwrap_err();
    assert!(matches!(error, object_store::Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn local_files() {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let store = LockedStore::new(local);
    soon(async {
        integration::put_get_delete_list(&store).await;
        integration::get_opts(&store).await;
        integration::list_uses_directories_correctly(&store).await;
        integration::list_with_delimiter(&store).await;
        integration::rename_and_copy(&store).await;
        integration::copy_if_not_exists(&store).await;
        integration::copy_rename_nonexistent_object(&store).await;
        integration::put_opts(&store, false).await;
        integration::list_with_offset_exclusivity(&store).await;
    })
    .await;
}
