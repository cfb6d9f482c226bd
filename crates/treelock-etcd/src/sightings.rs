//! Looking at the table: who holds and who waits, and who is in the way of a request.
//!
//! All that is read is read at one revision, so that it is one moment (C16), and in pages, since an answer of etcd
//! has its limits. For one request only its own ranges are read, and those of the one that is in its way first:
//! whether that one waits itself.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use etcd_client::{Client, GetOptions, SortOrder, SortTarget};
use futures_util::future::try_join_all;
use treelock::{Access, Blocked, Node, Process, Request, Sighting};

use crate::{
    error::Error,
    key::{Name, Range, Space, essential, read_root_text},
    servers::Servers,
    table::{AT_ONCE, Value},
};

/// How long looking is tried.
const LOOKING: Duration = Duration::from_secs(10);

/// So many entries are read at once.
const PAGE: i64 = 1_000;

/// So many bytes may an answer have: each entry of a page may name many roots.
const LARGEST: usize = 256 << 20;

/// How often all is read anew because etcd forgot the moment that was being read.
const ATTEMPTS: usize = 5;

/// Entries as they were read, by their keys.
type Entries = BTreeMap<Vec<u8>, Found>;

/// One entry, as it was read.
struct Found {
    ticket: u64,
    name: Name,
    value: Value,
}

/// Where a live request stands.
pub(crate) struct Standing {
    pub(crate) session: String,
    pub(crate) slot: u64,
    pub(crate) keys: Vec<Vec<u8>>,
}

/// Where the table is.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) servers: &'a Servers,
    pub(crate) space: &'a Space,
}

impl Table<'_> {
    /// All live requests.
    pub(crate) async fn all(self) -> Result<Vec<Sighting>, Error> {
        at_one_moment(|| self.look_at_all()).await.map(|entries| sightings(&entries))
    }

    /// Who is in the way of a request that has this ticket, or would get it.
    pub(crate) async fn in_the_way(
        self,
        request: &Request,
        ticket: u64,
    ) -> Result<Option<Blocked>, Error> {
        let ranges = self.space.conflicts(&essential(request));
        let entries = at_one_moment(|| self.look_at_those_ahead(&ranges, ticket)).await?;
        Ok(Blocked::of(&sightings(&entries), request, ticket))
    }

    /// Where a live request stands, if there is one with this ticket.
    pub(crate) async fn standing(self, ticket: u64) -> Result<Option<Standing>, Error> {
        let mut entries = at_one_moment(|| self.look_at_all()).await?;
        entries.retain(|_, found| found.ticket == ticket);
        Ok(entries.values().next().map(|found| Standing {
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

    /// Those in these ranges, and those that are in the way of the first of them.
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

    /// Read what says all roots of a request of which some entry was read.
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

    /// Read all entries in these ranges. The first read says at which moment; the others are at once.
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
        for ranges in ranges.chunks(AT_ONCE) {
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
                    .with_limit(PAGE);
                let first = first.clone();
                let client = client.kv_client().max_decoding_message_size(LARGEST);
                async move { client.clone().get(first, Some(options)).await }
            };
            let answer = self.servers.insist("look at the locks", LOOKING, get).await?;
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

    /// `None` of what others have put there.
    fn found(self, kv: &etcd_client::KeyValue) -> Option<Found> {
        Some(Found {
            ticket: kv.create_revision() as u64,
            name: self.space.read(kv.key())?,
            value: serde_json::from_slice(kv.value()).ok()?,
        })
    }
}

/// Look at one moment, which is that of the first read; once more if etcd forgets it meanwhile.
async fn at_one_moment<T, F>(mut look: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>> + Send,
{
    let mut attempts = 1;
    loop {
        match look().await {
            Err(Error::Refused { what, .. })
                if what.contains("compacted") && attempts < ATTEMPTS =>
            {
                attempts += 1;
            }
            result => return result,
        }
    }
}

/// The requests that these entries are of, as far as their roots are known.
fn sightings(entries: &Entries) -> Vec<Sighting> {
    // Requests that were entered together have one ticket and several places.
    let mut requests: BTreeMap<_, Vec<&Found>> = BTreeMap::new();
    for found in entries.values() {
        let place = (found.ticket, &found.name.session, found.name.slot);
        requests.entry(place).or_default().push(found);
    }
    let now = milliseconds();
    requests.into_values().map(|found| sighting(&found, now)).collect()
}

/// One request, of the entries that were found of it.
fn sighting(found: &[&Found], now: u64) -> Sighting {
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
        Some(label) => request.label(label),
        None => request,
    }
}

/// Since 1970, by the clock of this machine.
pub(crate) fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}
