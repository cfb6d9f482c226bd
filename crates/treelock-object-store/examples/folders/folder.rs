//! A folder and its manifest: how one is written, and how one is found whole or torn.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::source::{File, MANIFEST};

/// How many files of one folder are read or written at once, at most.
const FILES_AT_ONCE_MAX: usize = 16;

/// What a folder says about itself.
#[derive(Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Unique for each time a folder is written; copies share it.
    pub(crate) edition: u64,
    /// Name below the folder, and hash.
    pub(crate) files: BTreeMap<String, u64>,
}

/// What a reader found.
pub(crate) enum Found {
    Nothing,
    Whole,
    Torn(String),
}

/// Returns 64 bits of SipHash, which are enough: nobody forges these files.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Returns the place of a file below a folder.
fn below(folder: &Path, name: &str) -> Result<Path> {
    Ok(Path::parse(format!("{folder}/{name}"))?)
}

/// Writes all files, each marked with the edition so that no two editions share content, and the
/// manifest last.
pub(crate) async fn write(
    store: &dyn ObjectStore,
    folder: &Path,
    files: &[File],
    edition: u64,
) -> Result<Manifest> {
    let mut manifest = Manifest { edition, files: BTreeMap::new() };
    let mut contents = Vec::new();
    for file in files {
        let mut bytes = file.bytes.clone();
        bytes.extend_from_slice(format!("\nedition {edition} of {}\n", file.name).as_bytes());
        manifest.files.insert(file.name.to_string(), hash(&bytes));
        contents.push((below(folder, file.name.as_ref())?, bytes));
    }
    let mut puts = stream::iter(contents)
        .map(|(location, bytes)| async move { store.put(&location, bytes.into()).await })
        .buffer_unordered(FILES_AT_ONCE_MAX);
    while puts.try_next().await?.is_some() {}
    let text = serde_json::to_vec_pretty(&manifest)?;
    store.put(&below(folder, MANIFEST)?, text.into()).await?;
    Ok(manifest)
}

/// Reads the manifest, if there is one.
pub(crate) async fn manifest(store: &dyn ObjectStore, folder: &Path) -> Result<Option<Manifest>> {
    match get(store, &below(folder, MANIFEST)?).await? {
        Some(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        None => Ok(None),
    }
}

/// Reads the folder and its manifest, and compares them.
pub(crate) async fn read(store: &dyn ObjectStore, folder: &Path) -> Result<Found> {
    let listed: Vec<_> = store.list(Some(folder)).try_collect().await?;
    if listed.is_empty() {
        return Ok(Found::Nothing);
    }
    let Some(manifest) = manifest(store, folder).await? else {
        return Ok(Found::Torn(format!("{folder}: {} files and no manifest", listed.len())));
    };
    let prefix = format!("{folder}/");
    for object in &listed {
        let name = object.location.as_ref().strip_prefix(&prefix).unwrap_or_default();
        if name != MANIFEST && !manifest.files.contains_key(name) {
            return Ok(Found::Torn(format!("{folder}: {name} is not in the manifest")));
        }
    }
    let checks = stream::iter(manifest.files)
        .map(|(name, hash)| check_file(store, folder, name, hash))
        .buffer_unordered(FILES_AT_ONCE_MAX);
    let torn: Vec<Option<String>> = checks.try_collect().await?;
    Ok(torn.into_iter().flatten().next().map_or(Found::Whole, Found::Torn))
}

/// Returns what is wrong with one file of a manifest, if anything is.
async fn check_file(
    store: &dyn ObjectStore,
    folder: &Path,
    name: String,
    expected: u64,
) -> Result<Option<String>> {
    Ok(match get(store, &below(folder, &name)?).await? {
        None => Some(format!("{folder}: {name} is in the manifest, and missing")),
        Some(bytes) if hash(&bytes) != expected => {
            Some(format!("{folder}: {name} is not what the manifest says"))
        }
        Some(_) => None,
    })
}

async fn get(store: &dyn ObjectStore, location: &Path) -> Result<Option<bytes::Bytes>> {
    match store.get(location).await {
        Ok(result) => Ok(Some(result.bytes().await?)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
