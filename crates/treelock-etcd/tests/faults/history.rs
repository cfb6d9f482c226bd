//! Judges what the clients say that happened, by the contract and by nothing else.
//!
//! A record is the life of one request as its own process saw it. Two moments matter: when its
//! guard was first and last *known* to be valid, by a clock read before the guard was asked.
//! Between the two it certainly held.
//!
//! What is checked, with the points of the contract: no two that conflict hold at once (C1); of two
//! that conflict, the one with the smaller ticket is granted first, and a later one never while it
//! still waits (C2); who was in the line before another asked has the smaller ticket (C2); tokens
//! grow from grant to grant (C20); all that is asked ends; who was stopped for longer than its
//! lease does not call its lock valid afterwards (C21); and how long anybody waited while nobody
//! was in the way (C1, "as soon as").

use std::collections::HashMap;

use super::wire::{End, Root};

/// How long a request that gives up waits for etcd to confirm that it has left.
const AT_ITS_END: u64 = 2_000_000_000;

/// What is dropped is given back in the background; who dies so soon after may not have given it
/// back.
const IN_THE_BACKGROUND: u64 = 1_000_000_000;

/// The life of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) client: u32,
    pub(crate) roots: Vec<Root>,
    pub(crate) asked: u64,
    /// When it begins to leave by itself, at the earliest.
    pub(crate) limit: Option<u64>,
    /// When its ticket was known, if it had to wait.
    pub(crate) entered: Option<u64>,
    pub(crate) ticket: Option<u64>,
    pub(crate) granted: Option<u64>,
    /// The first and the last moment at which it certainly held.
    pub(crate) held: Option<(u64, u64)>,
    /// When it began to leave.
    pub(crate) leaves: Option<u64>,
    pub(crate) ended: Option<(u64, End)>,
}

/// A client that was killed, stopped or cut off: from then on, until then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    pub(crate) client: u32,
    pub(crate) at: u64,
    pub(crate) until: Option<u64>,
}

/// What was found. All times in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) sections: u64,
    pub(crate) overlaps: Vec<String>,
    /// Everything else that the contract forbids.
    pub(crate) violations: Vec<String>,
    pub(crate) lost: u64,
    pub(crate) unavailable: u64,
    /// The longest time in which somebody waited and nobody was in the way.
    pub(crate) gap: u64,
    /// The longest time from a death until somebody behind the dead one was granted.
    pub(crate) behind_the_dead: u64,
}

/// Whether two requests conflict: one of their roots is above or at one of the other, and one of
/// the two is written.
pub(crate) fn conflict(ours: &[Root], theirs: &[Root]) -> bool {
    ours.iter().any(|(write, node)| {
        theirs.iter().any(|(also, other)| {
            (*write || *also)
                && (node.starts_with(other.as_str()) || other.starts_with(node.as_str()))
        })
    })
}

impl Record {
    /// When it was over for certain; for one that died, never.
    fn over(&self) -> u64 {
        self.ended.as_ref().map_or(u64::MAX, |(at, _)| *at)
    }

    /// When it stopped being in the way of others, as far as it had to do with it.
    fn left(&self) -> u64 {
        self.leaves.unwrap_or(self.over())
    }

    /// Whether it was in the line, and not yet granted, until this moment and longer.
    fn waits_at(&self, moment: u64) -> bool {
        let gone = self.limit.filter(|_| self.granted.is_none()).unwrap_or(u64::MAX);
        let is_lost =
            matches!(self.ended, Some((_, End::Lost | End::Unavailable(_) | End::Failed(_))));
        !is_lost && self.granted.unwrap_or(u64::MAX).min(self.left()).min(gone) > moment
    }

    fn is_before(&self, other: &Record) -> bool {
        matches!((self.ticket, other.ticket), (Some(ours), Some(theirs)) if ours < theirs)
    }

    fn name(&self) -> String {
        let roots: Vec<String> = self
            .roots
            .iter()
            .map(|(write, node)| format!("{} /{node}", if *write { "write" } else { "read" }))
            .collect();
        let ticket = self.ticket.map_or("no ticket".into(), |ticket| format!("ticket {ticket}"));
        format!("client {} ({ticket}, {})", self.client, roots.join(" + "))
    }
}

/// Checks the whole history of one run; `ttl` is the lease's time in nanoseconds.
pub(crate) fn check(records: &mut [Record], deaths: &[Death], ttl: u64) -> Findings {
    records.sort_by_key(|record| record.asked);
    let mut found = Findings::default();
    for record in records.iter() {
        count(record, deaths, ttl, &mut found);
    }
    let mut live: Vec<usize> = Vec::new();
    let mut together: Vec<Vec<usize>> = vec![Vec::new(); records.len()];
    for (new, record) in records.iter().enumerate() {
        live.retain(|old| records[*old].over() >= record.asked);
        for old in &live {
            if conflict(&record.roots, &records[*old].roots) {
                check_pair(&records[*old], record, deaths, &mut found);
                together[new].push(*old);
                together[*old].push(new);
            }
        }
        live.push(new);
    }
    for (record, others) in records.iter().zip(&together) {
        let others: Vec<&Record> = others.iter().map(|other| &records[*other]).collect();
        measure(record, &others, deaths, &mut found);
    }
    check_tokens(records, &mut found);
    found
}

fn count(record: &Record, deaths: &[Death], ttl: u64, found: &mut Findings) {
    let died = deaths.iter().filter(|death| death.client == record.client);
    match &record.ended {
        Some((_, End::Left)) => found.sections += 1,
        Some((_, End::Lost)) => found.lost += 1,
        Some((_, End::Unavailable(_))) => found.unavailable += 1,
        Some((_, End::Failed(error))) => {
            found.violations.push(format!("{} failed: {error}", record.name()));
        }
        None if died.clone().all(|death| death.until.is_some()) => {
            found.violations.push(format!("{} never ended", record.name()));
        }
        _ => {}
    }
    let slept = |death: &Death| death.until.filter(|until| until - death.at > ttl);
    for (death, until) in died.filter_map(|death| Some((death, slept(death)?))) {
        if let (Some(granted), Some((_, last))) = (record.granted, record.held)
            && granted < death.at
            && last > until
        {
            let was = (until - death.at) / 1_000_000;
            found
                .violations
                .push(format!("{} held although it was away for {was} ms", record.name()));
        }
    }
}

fn check_pair(a: &Record, b: &Record, deaths: &[Death], found: &mut Findings) {
    if let (Some((a_first, a_last)), Some((b_first, b_last))) = (a.held, b.held)
        && a_first.max(b_first) <= a_last.min(b_last)
    {
        found.overlaps.push(format!("{} and {} held at once", a.name(), b.name()));
    }
    let (first, second) = if a.is_before(b) { (a, b) } else { (b, a) };
    let dies = deaths.iter().any(|death| death.client == first.client);
    if first.is_before(second)
        && !dies
        && second.held.is_some()
        && second.granted.is_some_and(|granted| first.waits_at(granted))
    {
        found.violations.push(format!("{} overtook {}", second.name(), first.name()));
    }
    // `a` asked first.
    for (early, late) in [(a, b), (b, a)] {
        let known = early.entered.or(early.granted).unwrap_or(u64::MAX);
        if known < late.asked && late.is_before(early) {
            found.violations.push(format!("{} asked later than {}", late.name(), early.name()));
        }
    }
}

/// How long it waited with nobody in the way.
fn measure(record: &Record, others: &[&Record], deaths: &[Death], found: &mut Findings) {
    if deaths.iter().any(|death| death.client == record.client) {
        return;
    }
    let end = record.granted.or(record.limit).unwrap_or(record.left());
    if end == u64::MAX {
        return;
    }
    let ahead = |other: &&&Record| match (other.ticket, record.ticket) {
        (Some(theirs), Some(ours)) => theirs < ours,
        // Nobody knows who was first; so that it was the other.
        _ => true,
    };
    let mut since = record.asked;
    let mut dead = None;
    for other in others.iter().filter(ahead) {
        let died = deaths.iter().filter(|death| {
            let was_there = death.at <= other.left().saturating_add(IN_THE_BACKGROUND);
            death.client == other.client && was_there && other.asked <= death.at
        });
        if let Some(death) = died.map(|death| death.at).filter(|at| *at < end).max() {
            dead = dead.max(Some(death));
        } else if other.left() <= end {
            since = since.max(other.left());
        } else if record.granted.is_none() {
            // It gave up while somebody was in its way.
            return;
        } else if other.ticket.is_none() && other.left() <= end.saturating_add(AT_ITS_END) {
            // One whose ticket nobody knows may have been in its way until just now.
            since = end;
        }
    }
    match dead {
        Some(death) => {
            // What others did after the dead one was gone is not the dead one's.
            let waited = end.saturating_sub(since.max(death));
            found.behind_the_dead = found.behind_the_dead.max(waited);
        }
        None => found.gap = found.gap.max(end.saturating_sub(since)),
    }
}

/// Tokens grow from grant to grant, of all that conflict.
fn check_tokens(records: &[Record], found: &mut Findings) {
    let mut granted: Vec<&Record> = records.iter().filter(|record| record.held.is_some()).collect();
    granted.sort_by_key(|record| record.granted);
    let mut latest: HashMap<&Root, u64> = HashMap::new();
    for record in granted {
        let Some(token) = record.ticket else { continue };
        let before = latest.iter().find(|(root, before)| {
            **before >= token && conflict(&record.roots, std::slice::from_ref(**root))
        });
        if let Some(((_, node), before)) = before {
            let name = record.name();
            found.violations.push(format!("{name} was granted after token {before} below /{node}"));
        }
        for root in &record.roots {
            let last = latest.entry(root).or_default();
            *last = token.max(*last);
        }
    }
}
