//! What an operator asks: is this cluster a good place for locks, and what is odd about it?

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use etcd_client::{
    AlarmAction, AlarmType, Client, Compare, CompareOp, GetOptions, StatusResponse, Txn, TxnOp,
    WatchOptions,
};
use treelock::Finding;

use crate::{
    error::Error,
    key::Space,
    lock::EtcdLock,
    page::{self, Clock, Page},
    servers::{Failure, PATIENCE, Servers},
    sightings::Table,
    table::Value,
};

/// How long a question is tried.
const ASKING: Duration = Duration::from_secs(10);
/// A read that takes longer is worth a word: every lock takes one such way at least.
const SLOW: Duration = Duration::from_millis(500);
/// What etcd keeps if it was not told otherwise.
const DEFAULT_QUOTA: i64 = 2 << 30;
/// So many revisions are kept where etcd compacts itself, or soon will.
const USUAL_HISTORY: i64 = 1_000_000;
/// So many make one ask whether it ever will.
const LONG_WITHOUT: i64 = 10_000;
/// Clocks that differ by more make ages wrong in a way that people see.
const CLOCKS: Duration = Duration::from_secs(2);
/// Keys that are read at once.
const AT_ONCE: i64 = 1000;

impl EtcdLock {
    /// Returns what is to be said of this cluster: whether locks work here, and what is odd. Asks each endpoint;
    /// changes nothing, but for a lease that it takes and gives back.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Denied`] or [`Error::Tls`] if no member answers, and [`Error::Options`]. What
    /// else cannot be found out is a finding.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// for finding in lock.check().await? {
    ///     println!("{} {finding}", finding.severity);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check(&self) -> Result<Vec<Finding>, Error> {
        let lock = self.clone();
        self.work(async move { check(lock.table(), lock.ttl()).await })?.await
    }
}

async fn check(table: Table<'_>, ttl: Duration) -> Result<Vec<Finding>, Error> {
    if table.servers.count() == 0 {
        // Which options are wrong is said to whoever asks for anything.
        table.alarms().await?;
    }
    let mut members = look_at_all(table.servers, table.space).await;
    if members.iter().all(|member| member.status.is_err()) {
        return Err(nobody(members.swap_remove(0)));
    }
    let mut found: Vec<Finding> = members.iter().map(member).collect();
    let answers: Vec<(&Member, &StatusResponse)> =
        members.iter().filter_map(|member| Some((member, member.status.as_ref().ok()?))).collect();
    found.extend(leader(&answers));
    found.push(size(&answers));
    found.push(clocks(&answers));
    if members.iter().all(|member| member.read.is_err()) {
        // Everything else would be answered by nobody.
        return Ok(found);
    }
    let asked = [
        table.named(&members).await,
        table.alarms().await,
        table.history().await,
        table.lease(ttl).await,
        table.right_to_write().await,
        table.contents().await,
    ];
    for asked in asked {
        match asked {
            Ok(more) => found.extend(more),
            // That it cannot be found out is worth knowing too.
            Err(error) => found.push(Finding::odd(error.to_string(), "")),
        }
    }
    Ok(found)
}

impl Table<'_> {
    /// Whether all members of the cluster are among the endpoints.
    async fn named(&self, members: &[Member]) -> Result<Vec<Finding>, Error> {
        let list = |client: Arc<Client>| async move { client.cluster_client().member_list().await };
        let list = self.servers.insist("see who is in the cluster", ASKING, list).await?;
        let voting = list.members().iter().filter(|member| !member.is_learner()).count();
        let ids: BTreeSet<u64> = members.iter().filter_map(Member::id).collect();
        let silent = members.iter().filter(|member| member.status.is_err()).count();
        let named = ids.len() + silent;
        Ok(vec![match voting {
            1 => Finding::good("the cluster has one member: while it is down, nobody gets a lock"),
            _ if named < voting => Finding::odd(
                format!("{named} of the cluster's {voting} members are among the endpoints"),
                "name them all: if those are down, nobody here gets a lock, nor keeps one",
            ),
            _ => Finding::good(format!(
                "the cluster has {voting} members; locks work while {} of them do",
                voting / 2 + 1
            )),
        }])
    }

    async fn alarms(&self) -> Result<Vec<Finding>, Error> {
        let ask = |client: Arc<Client>| async move {
            client.maintenance_client().alarm(AlarmAction::Get, AlarmType::None, None).await
        };
        let answer = self.servers.insist("see the alarms", ASKING, ask).await?;
        let kinds: BTreeSet<i32> =
            answer.alarms().iter().map(|alarm| alarm.alarm() as i32).collect();
        let finding = |kind: i32| {
            if kind == AlarmType::Nospace as i32 {
                Finding::bad(
                    "alarm NOSPACE: etcd has no space left and takes nothing new",
                    "compact and defragment it, raise its quota, then `etcdctl alarm disarm`",
                )
            } else {
                Finding::bad(
                    "alarm CORRUPT: the members' data differ, so a lock may have two holders",
                    "stop those who use it, and see etcd's manual on data corruption",
                )
            }
        };
        Ok(match kinds.is_empty() {
            true => vec![Finding::good("no alarm is raised")],
            false => kinds.into_iter().map(finding).collect(),
        })
    }

    /// How many revisions etcd keeps. That it compacts itself is nowhere to be seen, but what comes of it is.
    async fn history(&self) -> Result<Vec<Finding>, Error> {
        let doing = "see what was compacted";
        let key = self.space.meta();
        let get = |client: Arc<Client>| {
            let key = key.clone();
            async move { client.kv_client().get(key, None).await }
        };
        let answer = self.servers.insist(doing, ASKING, get).await?;
        let now = answer.header().map_or(0, |header| header.revision());
        // Whoever watches from what is compacted is told where etcd's memory begins. There is no answer if
        // nothing was, so something is read there first.
        let first = |client: Arc<Client>| {
            let key = key.clone();
            async move { client.kv_client().get(key, Some(GetOptions::new().with_revision(1))).await }
        };
        let compacted = match self.servers.insist(doing, ASKING, first).await {
            Ok(_) => 0,
            Err(Error::Refused { what, .. }) if what.contains("has been compacted") => {
                let watch = |client: Arc<Client>| {
                    let key = key.clone();
                    async move { compacted_at(&client, key).await }
                };
                self.servers.insist(doing, ASKING, watch).await?
            }
            Err(error) => return Err(error),
        };
        Ok(vec![remembered(now - compacted, compacted > 0)])
    }

    /// Whether etcd gives the leases that are asked for.
    async fn lease(&self, ttl: Duration) -> Result<Vec<Finding>, Error> {
        let asked = ttl.as_secs().max(1) as i64;
        let take =
            |client: Arc<Client>| async move { client.lease_client().grant(asked, None).await };
        let lease = match self.servers.insist("take a lease", ASKING, take).await {
            // Which is an alarm, or will be.
            Err(Error::NoSpace) => {
                return Ok(vec![Finding::bad(Error::NoSpace.to_string(), "")]);
            }
            lease => lease?,
        };
        let id = lease.id();
        let give_back = |client: Arc<Client>| async move { client.lease_client().revoke(id).await };
        // It ends by itself, too.
        let _ = self.servers.ask("give a lease back", give_back).await;
        let granted = lease.ttl();
        Ok(vec![match granted == asked {
            true => Finding::good(format!("a dead holder's lock is free after {asked} s")),
            false => Finding::odd(
                format!(
                    "leases of {asked} s are asked for and etcd gives {granted} s, so the locks of the dead \
                     stay for longer"
                ),
                format!(
                    "ask for {granted} s, or lower etcd's election timeout, which sets the least"
                ),
            ),
        }])
    }

    /// Whether this user may write. What he would write stands behind a condition that never holds: etcd looks at
    /// his rights all the same, and writes nothing.
    async fn right_to_write(&self) -> Result<Vec<Finding>, Error> {
        let key = self.space.meta();
        let never = Compare::create_revision(key.clone(), CompareOp::Less, 0);
        let txn = Txn::new().when([never]).and_then([TxnOp::put(key, "", None)]);
        let ask = |client: Arc<Client>| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        match self.servers.insist("write into the namespace", ASKING, ask).await {
            Err(error @ Error::Denied { .. }) => Ok(vec![Finding::bad(error.to_string(), "")]),
            // Of which the lease tells.
            Ok(_) | Err(Error::NoSpace) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What stands in the namespace, and what should not.
    async fn contents(&self) -> Result<Vec<Finding>, Error> {
        let (mut first, end) = self.space.all();
        let mut contents = Contents::default();
        let mut revision = 0;
        loop {
            let get = |client: Arc<Client>| {
                let options = GetOptions::new().with_range(end.clone());
                let options = options.with_limit(AT_ONCE).with_revision(revision);
                let first = first.clone();
                async move { client.kv_client().get(first, Some(options)).await }
            };
            let answer = self.servers.insist("look at the locks", ASKING, get).await?;
            if revision == 0 {
                revision = answer.header().map_or(0, |header| header.revision());
            }
            for kv in answer.kvs() {
                contents.see(self.space, kv);
            }
            let Some(last) = answer.kvs().last().filter(|_| answer.more()) else { break };
            first = [last.key(), &[0]].concat();
        }
        Ok(contents.findings())
    }
}

/// What was seen of one endpoint.
struct Member {
    endpoint: String,
    status: Result<StatusResponse, Failure>,
    /// How long a read took that the whole cluster agrees on.
    read: Result<Duration, Failure>,
    page: Page,
}

impl Member {
    fn id(&self) -> Option<u64> {
        Some(self.status.as_ref().ok()?.header()?.member_id())
    }
}

/// Look at all endpoints at the same time, since those that are down take their time.
async fn look_at_all(servers: &Servers, space: &Space) -> Vec<Member> {
    let looks: Vec<_> = (0..servers.count())
        .map(|number| tokio::spawn(look_at(servers.clone(), number, space.meta())))
        .collect();
    let mut members = Vec::new();
    for look in looks {
        members.push(look.await.expect("looking does not panic"));
    }
    members
}

async fn look_at(servers: Servers, number: usize, key: Vec<u8>) -> Member {
    let doing = "look at a member";
    let status = servers
        .ask_of(number, doing, |client| async move { client.maintenance_client().status().await })
        .await;
    let started = Instant::now();
    let get = |client: Arc<Client>| async move { client.kv_client().get(key, None).await };
    let read = match status.is_ok() {
        true => {
            let answer = servers.ask_of(number, "look into the namespace", get).await;
            answer.map(|_| started.elapsed())
        }
        false => Err(Failure::InDoubt("not asked".into())),
    };
    let (endpoint, secure) = servers.endpoint(number).expect("who is asked is there");
    let page = match status.is_ok() {
        true => page::look(endpoint, secure).await,
        false => Page::default(),
    };
    Member { endpoint: endpoint.url.clone(), status, read, page }
}

/// The error of a cluster of which no member answers.
fn nobody(member: Member) -> Error {
    match member.status {
        Err(Failure::Final(error)) => error,
        Err(Failure::InDoubt(last)) => {
            Error::Unavailable { doing: "look at the cluster", tried: PATIENCE, last }
        }
        Ok(_) => unreachable!("it did not answer"),
    }
}

fn member(member: &Member) -> Finding {
    let endpoint = &member.endpoint;
    let status = match &member.status {
        Ok(status) => status,
        Err(Failure::InDoubt(why)) => {
            return Finding::odd(
                format!("{endpoint} does not answer ({why})"),
                "see that it runs, and that the endpoint is right",
            );
        }
        Err(Failure::Final(error)) => {
            return Finding::odd(format!("{endpoint} does not say how it is: {error}"), "");
        }
    };
    let version = status.version();
    if status.is_learner() {
        return Finding::odd(
            format!("{endpoint} (etcd {version}) is a learner, which takes no locks"),
            "name another endpoint, or promote it",
        );
    }
    let read = match &member.read {
        Ok(read) => *read,
        Err(Failure::Final(error)) => {
            return Finding::bad(format!("{endpoint} (etcd {version}) runs, but {error}"), "");
        }
        Err(Failure::InDoubt(why)) => {
            return Finding::bad(
                format!(
                    "{endpoint} (etcd {version}) answers no read ({why}): it is cut off from the others"
                ),
                "see that a majority of the members runs and that they reach each other",
            );
        }
    };
    let what = format!("{endpoint} is etcd {version} and answers in {:.1} ms", milliseconds(read));
    match (grade(version), read > SLOW) {
        (Grade::Broken(why), _) => {
            Finding::bad(format!("{what}; {why}"), "take a later version of etcd")
        }
        (Grade::Old(oldest), _) => Finding::odd(
            format!("{what}; {oldest} is the oldest that is supported"),
            "take a later version of etcd",
        ),
        (Grade::Unknown, _) => Finding::odd(
            format!("{what}; this version was never tried"),
            "see that releases of 3.4, 3.5 or 3.6 are not to be had",
        ),
        (Grade::Supported, true) => Finding::odd(
            format!("{what}; each lock takes as long at least"),
            "see that the network and the members' disks are as fast as they should be",
        ),
        (Grade::Supported, false) => Finding::good(what),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What is to be said of a version.
#[derive(Debug, PartialEq, Eq)]
enum Grade {
    Supported,
    /// Older than this one.
    Old(&'static str),
    /// With an error that breaks locks.
    Broken(&'static str),
    Unknown,
}

/// The errors are those of etcd's own list, by their number there.
fn grade(version: &str) -> Grade {
    const REVOKED: &str = "a leader that was paused takes away leases that were renewed, so two may hold one lock, \
                           and only tokens keep them apart (etcd#15247)";
    const CRASH: &str = "a read that is given up can end the member (etcd#14110)";
    const CORRUPT: &str = "a member that is killed can lose what it wrote (etcd#13766)";
    let number = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Option<Vec<u32>> = number.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([3, 5, 0..=2]) => Grade::Broken(CORRUPT),
        Some([3, 5, 3..=4]) => Grade::Broken(CRASH),
        Some([3, 4, 0..=30] | [3, 5, 5..=12]) => Grade::Broken(REVOKED),
        Some([3, 4, 31..=37]) => Grade::Old("3.4.38"),
        Some([3, 5, 13..=22]) => Grade::Old("3.5.23"),
        Some([3, 6, 0..=4]) => Grade::Old("3.6.5"),
        Some([3, 4..=6, _]) => Grade::Supported,
        _ => Grade::Unknown,
    }
}

/// Whether there is one cluster, and somebody leads it.
fn leader(answers: &[(&Member, &StatusResponse)]) -> Vec<Finding> {
    let clusters = answers.iter().filter_map(|(_, status)| Some(status.header()?.cluster_id()));
    let clusters: BTreeSet<u64> = clusters.collect();
    let without = answers.iter().filter(|(_, status)| status.leader() == 0);
    let mut found: Vec<Finding> = without
        .map(|(member, _)| {
            Finding::bad(
                format!("{} knows no leader", member.endpoint),
                "see that a majority of the members runs and that they reach each other",
            )
        })
        .collect();
    if clusters.len() > 1 {
        found.push(Finding::bad(
            format!(
                "the endpoints are members of {} clusters, each with locks of its own",
                clusters.len()
            ),
            "name the members of one",
        ));
    }
    if found.is_empty() {
        found.push(Finding::good("one cluster, with a leader"));
    }
    found
}

/// The database that is closest to its quota.
fn size(answers: &[(&Member, &StatusResponse)]) -> Finding {
    let sizes = answers.iter().map(|(member, status)| {
        let told = Some(status.db_size_quota()).filter(|quota| *quota != 0).or(member.page.quota);
        (status.db_size(), told)
    });
    let share = |(size, quota): &(i64, Option<i64>)| match quota.unwrap_or(DEFAULT_QUOTA) {
        ..=0 => 0.0,
        quota => *size as f64 / quota as f64,
    };
    let fullest = sizes.max_by(|one, two| share(one).total_cmp(&share(two)));
    let (size, quota) = fullest.expect("somebody answered");
    let what = match quota {
        Some(..=0) => format!("the database takes {} and has no quota", bytes(size)),
        Some(quota) => format!("the database takes {} of {}", bytes(size), bytes(quota)),
        None => format!(
            "the database takes {}; of how much is not to be seen from here ({} if nobody changed it)",
            bytes(size),
            bytes(DEFAULT_QUOTA)
        ),
    };
    match share(&(size, quota)) > 0.8 {
        true => Finding::odd(
            format!("{what}; when it is full nobody gets a lock"),
            "compact and defragment it, or raise its quota",
        ),
        false => Finding::good(what),
    }
}

fn bytes(number: i64) -> String {
    const UNITS: [&str; 3] = ["kB", "MB", "GB"];
    let mut amount = number as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// The member whose clock is furthest from ours.
fn clocks(answers: &[(&Member, &StatusResponse)]) -> Finding {
    let distance = |clock: &Clock| match clock {
        Clock::Agrees => Duration::ZERO,
        Clock::Ahead(by) | Clock::Behind(by) => *by,
    };
    let seen =
        answers.iter().filter_map(|(member, _)| Some((&member.endpoint, member.page.clock?)));
    let (which, endpoint, by) = match seen.max_by_key(|(_, clock)| distance(clock)) {
        None => {
            return Finding::good(
                "clocks were not compared: no member shows its own to this machine",
            );
        }
        Some((_, clock)) if distance(&clock) < CLOCKS => {
            return Finding::good("the clocks of this machine and of the members agree");
        }
        Some((endpoint, Clock::Behind(by))) => ("behind", endpoint, by),
        Some((endpoint, clock)) => ("ahead of", endpoint, distance(&clock)),
    };
    Finding::odd(
        format!("the clock of this machine is {} s {which} that of {endpoint}", by.as_secs()),
        "set the clocks: locks do not need them, but the ages that are shown do",
    )
}

/// Where etcd's memory begins, for who asks for what was before.
async fn compacted_at(client: &Client, key: Vec<u8>) -> Result<i64, etcd_client::Error> {
    let options = WatchOptions::new().with_start_revision(1);
    let mut watch = client.watch_client().watch(key, Some(options)).await?;
    while let Some(message) = watch.message().await? {
        if message.compact_revision() > 0 {
            return Ok(message.compact_revision());
        }
    }
    Ok(0)
}

fn remembered(revisions: i64, compacted: bool) -> Finding {
    let what = match compacted {
        true => format!("etcd keeps {revisions} revisions since it was compacted last"),
        false => format!("etcd was never compacted; it is at revision {revisions}"),
    };
    match revisions > if compacted { USUAL_HISTORY } else { LONG_WITHOUT } {
        true => Finding::odd(
            format!("{what}; nothing seems to compact it, and it will be full one day"),
            "start the members with --auto-compaction-mode revision --auto-compaction-retention 10000",
        ),
        false => Finding::good(what),
    }
}

/// What stands in a namespace.
#[derive(Default)]
struct Contents {
    sessions: usize,
    tickets: BTreeSet<i64>,
    /// Keys without a lease, which nothing ends.
    endless: Names,
    /// Among the requests, and nobody can tell whose they are.
    in_the_way: Names,
    /// Elsewhere.
    foreign: Names,
    /// From times to come.
    early: Names,
}

impl Contents {
    fn see(&mut self, space: &Space, kv: &etcd_client::KeyValue) {
        let key = kv.key();
        if key == space.meta() {
            return;
        }
        let is_entry = space.read(key).is_some();
        if space.is_session(key) {
            self.sessions += 1;
        } else if is_entry && let Ok(value) = serde_json::from_slice::<Value>(kv.value()) {
            self.tickets.insert(kv.create_revision());
            if Duration::from_millis(value.since) > since_1970() + CLOCKS {
                self.early.add(key);
            }
        } else if space.entries().iter().any(|(first, end)| **first <= *key && *key < **end) {
            self.in_the_way.add(key);
            return;
        } else {
            self.foreign.add(key);
            return;
        }
        if kv.lease() == 0 {
            self.endless.add(key);
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let count = |number: usize, one: &str| match number {
            1 => format!("1 {one}"),
            number => format!("{number} {one}s"),
        };
        let (requests, sessions) = (self.tickets.len(), self.sessions);
        let are = if requests == 1 { "is" } else { "are" };
        let live = Finding::good(format!(
            "{} {are} live, and {}",
            count(requests, "request"),
            count(sessions, "session")
        ));
        let endless = self.endless.finding(
            Finding::bad,
            "live without a lease, so nothing ends them",
            "see whether their owners live, and delete them with `etcdctl del` if not",
        );
        let in_the_way = self.in_the_way.finding(
            Finding::bad,
            "stand among the requests and cannot be read; others may wait for them for ever",
            "see who wrote them, and delete them with `etcdctl del`",
        );
        let foreign = self.foreign.finding(
            Finding::odd,
            "in the namespace are no locks; they are in nobody's way",
            "see who wrote them",
        );
        let early = self.early.finding(
            Finding::odd,
            "were written at a time that is still to come, by the clock of this machine",
            "set the clocks: locks do not need them, but the ages that are shown do",
        );
        [Some(live), endless, in_the_way, foreign, early].into_iter().flatten().collect()
    }
}

/// Some keys, of which the first is shown.
#[derive(Default)]
struct Names {
    first: Option<String>,
    count: usize,
}

impl Names {
    fn add(&mut self, key: &[u8]) {
        self.first.get_or_insert_with(|| key.escape_ascii().to_string());
        self.count += 1;
    }

    fn finding(
        &self,
        kind: impl FnOnce(String, String) -> Finding,
        what: &str,
        advice: &str,
    ) -> Option<Finding> {
        let first = self.first.as_ref()?;
        let keys = match self.count {
            1 => format!("1 key ({first})"),
            count => format!("{count} keys ({first} is the first)"),
        };
        Some(kind(format!("{keys}: {what}"), advice.into()))
    }
}

fn since_1970() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use treelock::Severity;

    use super::*;

    #[test]
    fn versions() {
        for version in ["3.4.38", "3.5.23", "3.6.5", "3.5.30", "3.6.10", "3.6.5+git"] {
            assert_eq!(grade(version), Grade::Supported, "{version}");
        }
        for (version, oldest) in [
            ("3.4.31", "3.4.38"),
            ("3.4.37", "3.4.38"),
            ("3.5.13", "3.5.23"),
            ("3.5.22", "3.5.23"),
            ("3.6.0", "3.6.5"),
            ("3.6.0-rc.1", "3.6.5"),
            ("3.6.4", "3.6.5"),
        ] {
            assert_eq!(grade(version), Grade::Old(oldest), "{version}");
        }
        for (version, number) in [
            ("3.4.0", "15247"),
            ("3.4.23", "15247"),
            ("3.4.30", "15247"),
            ("3.5.0", "13766"),
            ("3.5.2", "13766"),
            ("3.5.4", "14110"),
            ("3.5.12", "15247"),
        ] {
            let Grade::Broken(why) = grade(version) else { panic!("{version}") };
            assert!(why.contains(number), "{version}: {why}");
        }
        for version in ["3.3.27", "4.0.0", "3.7.0", "3.5", "", "x.y.z", "3.4.38.1"] {
            assert_eq!(grade(version), Grade::Unknown, "{version}");
        }
    }

    #[test]
    fn histories() {
        for (revisions, compacted, severity) in [
            (10_000, false, Severity::Good),
            (10_001, false, Severity::Odd),
            (1_000_000, true, Severity::Good),
            (1_000_001, true, Severity::Odd),
        ] {
            assert_eq!(remembered(revisions, compacted).severity, severity, "{revisions}");
        }
    }

    #[test]
    fn amounts() {
        for (number, text) in
            [(0, "0.0 kB"), (20_480, "20.5 kB"), (999_999, "1.0 MB"), (DEFAULT_QUOTA, "2.1 GB")]
        {
            assert_eq!(bytes(number), text);
        }
    }
}
