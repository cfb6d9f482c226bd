//! Reads the lock table: which requests are held, which wait, and which are in the way of a
//! request.
//!
//! Everything is read at one revision, so that it is one moment (C16), and in pages, because the
//! size of an answer is limited. For one request only its own ranges are read, and those of its
//! first blocker, to see whether that one waits itself.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use etcd_client::{Client, GetOptions, SortOrder, SortTarget};
use futures_util::future::try_join_all;
use treelock::{
    Access, Blocked, Node, Request,
    engine::{Process, Sighting},
};

use crate::{
    clock::since_1970,
    error::Error,
    key::{Name, Range, essential, read_root_text},
    namespace::Namespace,
    value::Value,
    wire::READS_AT_ONCE_MAX,
};

/// How long looking is attempted.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// How many entries are read at once.
const ENTRIES_PER_PAGE: i64 = 1_000;

/// How many bytes an answer may have: each entry of a page may name many roots.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// How often everything is read again because etcd forgot the revision that was being read.
const READ_ATTEMPTS_MAX: usize = 5;

/// Entries as they were read, by their keys.
pub(crate) type Entries = BTreeMap<Vec<u8>, ReadEntry>;

/// One entry, as it was read.
pub(crate) struct ReadEntry {
    ticket: u64,
    name: Name,
    value: Value,
}

/// Whose slot a live request is at. One slot has at most one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) session: String,
    pub(crate) slot: u64,
}

/// Where a live request was found.
pub(crate) struct Located {
    pub(crate) session: String,
    pub(crate) slot: u64,
    pub(crate) keys: Vec<Vec<u8>>,
}

impl Namespace<'_> {
    /// Returns all live requests.
    pub(crate) async fn all(self) -> Result<Vec<Sighting>, Error> {
        at_one_moment(|| self.look_at_all()).await.map(|entries| sightings(&entries))
    }

    /// Returns all live requests with their places, and the revision at which they were live.
    pub(crate) async fn all_at_a_revision(self) -> Result<(Vec<(Place, Sighting)>, i64), Error> {
        let look = || async move {
            let (mut entries, mut moment) = (Entries::new(), 0);
            self.read(&self.space.entries(), &mut moment, &mut entries).await?;
            Ok((entries, moment))
        };
        at_one_moment(look).await.map(|(entries, moment)| (requests(&entries), moment))
    }

    /// Returns the blocker of a request that has this ticket, or would get it.
    pub(crate) async fn in_the_way(
        self,
        request: &Request,
        ticket: u64,
    ) -> Result<Option<Blocked>, Error> {
        let ranges = self.space.conflicts(&essential(request));
        let entries = at_one_moment(|| self.look_at_those_ahead(&ranges, ticket)).await?;
        Ok(Blocked::of(&sightings(&entries), request, ticket))
    }

    /// Finds the live request with this ticket, if there is one.
    pub(crate) async fn locate(self, ticket: u64) -> Result<Option<Located>, Error> {
        let mut entries = at_one_moment(|| self.look_at_all()).await?;
        entries.retain(|_, found| found.ticket == ticket);
        Ok(entries.values().next().map(|found| Located {
            session: found.name.session.clone(),
            slot: found.name.slot,
            keys: entries.keys().cloned().collect(),
        }))
    }

    async fn look_at_all(self) -> Result<Entries, Error> {
        let mut entries = Entries::new();
        self.read(&self.space.entries(), &mut 0, &mut entries).await?;
        Ok(entries)
    }

    /// Reads those in these ranges, and those that are in the way of the first of them.
    async fn look_at_those_ahead(self, ranges: &[Range], ticket: u64) -> Result<Entries, Error> {
        let (mut entries, mut moment) = (Entries::new(), 0);
        self.read(ranges, &mut moment, &mut entries).await?;
        let earlier = entries.values().filter(|found| found.ticket < ticket);
        if let Some(first) = earlier.map(|found| found.ticket).min() {
            self.complete(first, &mut moment, &mut entries).await?;
            let whole = sightings(&entries).into_iter().find(|one| one.ticket == first);
            let roots = whole.map(|one| essential(&one.request)).unwrap_or_default();
            self.read(&self.space.conflicts(&roots), &mut moment, &mut entries).await?;
        }
        Ok(entries)
    }

    /// Reads the entry that names all roots of a request of which some other entry was read.
    async fn complete(
        self,
        ticket: u64,
        moment: &mut i64,
        entries: &mut Entries,
    ) -> Result<(), Error> {
        let mut own = entries.values().filter(|found| found.ticket == ticket);
        let key = own.find_map(|found| {
            let (access, node) = read_root_text(found.value.first.as_deref()?)?;
            Some(self.space.entry(access, &node, &found.name.session, found.name.slot))
        });
        let Some(key) = key else { return Ok(()) };
        let end = [&key[..], &[0]].concat();
        self.read(&[(key, end)], moment, entries).await
    }

    /// Reads all entries in these ranges. The first read determines the moment; the others run
    /// concurrently.
    async fn read(
        self,
        ranges: &[Range],
        moment: &mut i64,
        entries: &mut Entries,
    ) -> Result<(), Error> {
        let mut ranges = ranges;
        if *moment == 0
            && let Some((first, others)) = ranges.split_first()
        {
            entries.extend(self.read_one(first, moment).await?);
            ranges = others;
        }
        let now = *moment;
        for ranges in ranges.chunks(READS_AT_ONCE_MAX) {
            let reads = ranges.iter().map(|range| async move {
                let mut moment = now;
                self.read_one(range, &mut moment).await
            });
            entries.extend(try_join_all(reads).await?.into_iter().flatten());
        }
        Ok(())
    }

    async fn read_one(self, (first, end): &Range, moment: &mut i64) -> Result<Entries, Error> {
        let mut entries = Entries::new();
        let mut next = Some(first.clone());
        while let Some(first) = next.take() {
            let get = |client: Arc<Client>| {
                let options = GetOptions::new()
                    .with_range(end.clone())
                    .with_revision(*moment)
                    .with_sort(SortTarget::Key, SortOrder::Ascend)
                    .with_limit(ENTRIES_PER_PAGE);
                let first = first.clone();
                let client = client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX);
                async move { client.clone().get(first, Some(options)).await }
            };
            let answer = self.servers.insist("look at the locks", LOOK_TIMEOUT, get).await?;
            if *moment == 0 {
                *moment = answer.header().map_or(0, |header| header.revision());
            }
            if answer.more() {
                next = answer.kvs().last().map(|last| [last.key(), &[0]].concat());
            }
            let found = answer.kvs().iter();
            entries.extend(found.filter_map(|kv| Some((kv.key().to_vec(), self.found(kv)?))));
        }
        Ok(entries)
    }

    /// Reads one entry; `None` if something else has written this key.
    pub(crate) fn found(self, kv: &etcd_client::KeyValue) -> Option<ReadEntry> {
        Some(ReadEntry {
            ticket: kv.create_revision() as u64,
            name: self.space.read(kv.key())?,
            value: serde_json::from_slice(kv.value()).ok()?,
        })
    }
}

/// Looks at one moment, that of the first read; again if etcd forgets that moment meanwhile.
async fn at_one_moment<T, F>(mut look: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>> + Send,
{
    let mut attempts = 1;
    loop {
        match look().await {
            Err(Error::Refused { what, .. })
                if what.contains("compacted") && attempts < READ_ATTEMPTS_MAX =>
            {
                attempts += 1;
            }
            result => return result,
        }
    }
}

/// Returns the requests to which these entries belong, as far as their roots are known.
fn sightings(entries: &Entries) -> Vec<Sighting> {
    requests(entries).into_iter().map(|(_, sighting)| sighting).collect()
}

/// Returns the same with their places, the earliest first.
pub(crate) fn requests(entries: &Entries) -> Vec<(Place, Sighting)> {
    // Requests that were entered together have one ticket and several slots.
    let mut requests: BTreeMap<_, Vec<&ReadEntry>> = BTreeMap::new();
    for found in entries.values() {
        let whose = (found.ticket, &found.name.session, found.name.slot);
        requests.entry(whose).or_default().push(found);
    }
    let now = since_1970().as_millis() as u64;
    let request = |((_, session, slot), found): ((u64, &String, u64), Vec<&ReadEntry>)| {
        (Place { session: session.clone(), slot }, sighting(&found, now))
    };
    requests.into_iter().map(request).collect()
}

/// Returns one request, put together from the entries that were found of it.
fn sighting(found: &[&ReadEntry], now: u64) -> Sighting {
    let all = found.iter().find(|found| !found.value.roots.is_empty());
    let all = all.and_then(|found| {
        found.value.roots.iter().map(|root| read_root_text(root)).collect::<Option<Vec<_>>>()
    });
    let known = || found.iter().filter_map(|found| found.name.root.clone()).collect();
    let value = &found[0].value;
    let process = Process { pid: value.pid, host: Some(value.host.as_str().into()) };
    Sighting {
        ticket: found[0].ticket,
        request: request(all.unwrap_or_else(known), value.label.as_deref()),
        asked: Duration::from_millis(now.saturating_sub(value.since)),
        granted: None,
        process: Some(process.into()),
    }
}

fn request(roots: Vec<(Access, Node)>, label: Option<&str>) -> Request {
    let roots = roots.into_iter();
    let request = roots.fold(Request::new(), |request, (access, node)| request.with(access, node));
    match label {
        Some(label) => request.with_label(label),
        None => request,
    }
}
