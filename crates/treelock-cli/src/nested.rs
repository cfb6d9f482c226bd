//! A request that would wait for itself. One inside a `run` waits for ever for that, which waits
//! for its command; one of a process that a `hold` is for waits for what ends with this process.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env, fmt, fs,
};

use treelock::{Entry, Request, Snapshot};
use treelock_any::{Address, Guard};

use crate::{background, lock::Lock, processes, purpose, text};

/// The variable that tells a command which tickets it runs under: `dir:/srv/locks#7`, separated by
/// spaces, the innermost last.
pub(crate) const TICKET: &str = "TREELOCK_TICKET";

/// Returns the value of [`TICKET`] for a command under this guard.
pub(crate) fn tickets(lock: &Lock, guard: &Guard) -> String {
    let own = format!("{}#{}", escaped(&lock.any.to_string()), guard.ticket());
    match env::var(TICKET) {
        Ok(outer) if !outer.is_empty() => format!("{outer} {own}"),
        _ => own,
    }
}

/// Returns the tickets of this lock that this process runs under.
pub(crate) fn enclosing(lock: &Lock) -> BTreeSet<u64> {
    let Ok(tickets) = env::var(TICKET) else { return BTreeSet::new() };
    let own = lock.any.to_string();
    let of_this_lock = |word: &str| -> Option<u64> {
        let (place, ticket) = word.rsplit_once('#')?;
        let place = place.replace("%20", " ").replace("%25", "%");
        if is_same(&place, &own) { ticket.parse().ok() } else { None }
    };
    tickets.split(' ').filter_map(of_this_lock).collect()
}

/// Returns whether two texts name the same lock. A directory may have several names.
fn is_same(one: &str, other: &str) -> bool {
    let directory = |text: &str| match text.parse() {
        Ok(Address::Dir(path)) => fs::canonicalize(path).ok(),
        _ => None,
    };
    one == other || directory(one).is_some_and(|one| Some(one) == directory(other))
}

/// Returns a text without spaces, which separate the tickets.
fn escaped(place: &str) -> String {
    place.replace('%', "%25").replace(' ', "%20")
}

/// A live request, in a chain of those that wait for each other.
struct Link<'a> {
    ticket: u64,
    request: Request,
    /// `None` for the request of this process.
    entry: Option<&'a Entry>,
}

/// What is around this process.
#[derive(Clone, Copy)]
enum Around {
    Run,
    /// A `hold`, and the process that it is for.
    Hold(u32),
}

/// Returns what a ticket is to this process, if it is around it.
fn around(
    entry: &Entry,
    enclosing: &BTreeSet<u64>,
    own_and_above: &BTreeSet<u32>,
) -> Option<Around> {
    if enclosing.contains(&entry.ticket) {
        return Some(Around::Run);
    }
    let label = entry.label.as_deref().filter(|label| !purpose::ends_by_itself(label))?;
    let held_for = u32::try_from(purpose::pid(label)?).ok()?;
    let keeper = entry.process.as_deref()?;
    // The number may be one of another host or of another container; so the keeper must be here.
    let is_here = own_and_above.contains(&held_for)
        && processes::is_of_this_host(keeper)
        && background::is_of(keeper.pid, entry.ticket);
    is_here.then_some(Around::Hold(held_for))
}

/// Returns who waits for whom, if a request that is in line waits for one of the tickets that this
/// process runs under, or that are held for it, directly or because of those between the two. The
/// answer does not change while the request waits, because only earlier requests matter.
pub(crate) fn chain(
    snapshot: &Snapshot,
    (request, own): (&Request, u64),
    enclosing: &BTreeSet<u64>,
) -> Option<String> {
    let earlier = snapshot.entries.iter().filter(|entry| entry.ticket < own);
    let mut unseen: BTreeMap<u64, &Entry> = earlier.map(|entry| (entry.ticket, entry)).collect();
    let own_and_above = processes::own_and_above();
    // Each of these is in the way of an earlier one of them, whose index stands beside it.
    let mut seen = vec![(Link { ticket: own, request: request.clone(), entry: None }, 0)];
    let mut next = VecDeque::from([0]);
    while let Some(index) = next.pop_front() {
        let (waiter, _) = &seen[index];
        let before = unseen.range(..waiter.ticket).map(|(_, entry)| link(entry));
        let in_the_way = before.filter(|link| waiter.request.conflict(&link.request).is_some());
        for link in in_the_way.collect::<Vec<_>>() {
            unseen.remove(&link.ticket);
            let around = link.entry.and_then(|it| around(it, enclosing, &own_and_above));
            seen.push((link, index));
            next.push_back(seen.len() - 1);
            if let Some(around) = around {
                return Some(Chain { links: path(seen), around }.to_string());
            }
        }
    }
    None
}

fn link(entry: &Entry) -> Link<'_> {
    let roots = entry.roots.iter();
    let request = roots.fold(Request::new(), |all, root| all.with(root.access, root.node.clone()));
    Link { ticket: entry.ticket, request, entry: Some(entry) }
}

/// Returns the way from the first of these to the last.
fn path(seen: Vec<(Link<'_>, usize)>) -> Vec<Link<'_>> {
    let mut on_it = BTreeSet::from([0]);
    let mut index = seen.len() - 1;
    while on_it.insert(index) {
        index = seen[index].1;
    }
    let links = seen.into_iter().enumerate().filter(|(index, _)| on_it.contains(index));
    links.map(|(_, (link, _))| link).collect()
}

/// Requests of which each waits for the next. The last is around the process of the first.
struct Chain<'a> {
    links: Vec<Link<'a>>,
    around: Around,
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.around {
            Around::Run => {
                "this request would wait for ever, because it is inside a run that it waits for:"
            }
            Around::Hold(_) => "this request would wait for what is held for it:",
        })?;
        for (waiter, blocker) in self.links.iter().zip(&self.links[1..]) {
            let Some(conflict) = waiter.request.conflict(&blocker.request) else { continue };
            let ((access, node), (its_access, its_node)) = (conflict.own, conflict.other);
            write!(f, "\n  {waiter} wants {access} {node} and waits for {blocker}")?;
            write!(f, ", {its_access} {its_node}")?;
        }
        let Some(last) = self.links.last() else { return Ok(()) };
        match self.around {
            Around::Run => {
                write!(f, "\n  {last} waits for its command, which this request is part of")?;
                f.write_str("\n  request everything in the outer run")
            }
            Around::Hold(pid) => {
                write!(f, "\n  {last} is held for pid {pid}, which this request is part of")?;
                let ticket = last.ticket;
                write!(f, "\n  request everything in one hold, or release #{ticket} before")
            }
        }
    }
}

impl fmt::Display for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.ticket)?;
        let who = match self.entry {
            None => "(this request)".to_owned(),
            Some(entry) => text::asker(entry.label.as_deref(), entry.process.as_deref()),
        };
        if who.is_empty() { Ok(()) } else { write!(f, " {who}") }
    }
}
