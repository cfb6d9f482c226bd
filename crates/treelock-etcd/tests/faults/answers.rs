//! The answer lost at each call of an acquire and release, and then: the client goes on (retry),
//! its future is dropped (cancel), or it asks with a time limit and nothing ever comes (time-out).
//!
//! That the call was carried out is certain, since its answer was there before it was lost. While
//! held there must be exactly one entry, with the token as its ticket; afterwards none, and the
//! lock must work.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout};
use treelock::Request;
use treelock_etcd::{EtcdLock, Guard, Options};

use crate::{
    client::give_up_after,
    cluster::{Cluster, NEVER, Outcome},
    loss::{Call, Loss, Losses},
    plan::Plan,
    report::Line,
};

/// What is done to one client.
#[derive(Clone, Debug)]
struct Case {
    lost: Vec<Call>,
    way: Way,
    /// Somebody holds what it asks for.
    blocked: bool,
    /// The client has a session, and a runtime that makes calls by itself.
    is_caller: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Retry,
    Cancel,
    TimeOut,
    /// Not the answer is lost, but the call comes late: after the client has asked elsewhere, and
    /// left.
    Late,
    /// The same, and the client has given up.
    LateCancel,
}

const WAYS: [Way; 3] = [Way::Retry, Way::Cancel, Way::TimeOut];

/// The calls that are made until the lock is held.
const ENTERING: [Call; 6] =
    [Call::Grant, Call::Session, Call::Said, Call::Enter, Call::Verify, Call::Watch];

const HOLDING: [Call; 2] = [Call::KeepAlive, Call::Release];

/// What is late and does harm if it is carried out all the same.
const LATE: [(Call, Way); 3] =
    [(Call::Enter, Way::Late), (Call::Enter, Way::LateCancel), (Call::Release, Way::Late)];

/// Each call alone, `Enter` also with somebody in the way, three ways; and the late ones. Of
/// callers those that they make, with the cancel that follows.
pub(crate) const SINGLE: u64 = (10 + 4) * 3 + 2 * LATE.len() as u64;

/// These, and the answers of all two that can happen to one client, also twice the same.
pub(crate) const ALL: u64 = SINGLE + (8 * 8 + 4) * 3;

fn cases() -> Vec<Case> {
    let waits = |lost: &[Call]| {
        lost.iter().any(|call| matches!(call, Call::Said | Call::Verify | Call::Watch))
    };
    let late = |is_caller| {
        LATE.map(|(call, way)| Case { lost: vec![call], way, blocked: false, is_caller })
    };
    let three = |(lost, blocked): (Vec<Call>, bool), is_caller| {
        WAYS.map(|way| Case { lost: lost.clone(), way, blocked, is_caller })
    };
    let of_callers = [
        (vec![Call::Enter], false),
        (vec![Call::Enter], true),
        (vec![Call::Enter, Call::Cancel], false),
        (vec![Call::Release], false),
    ];
    let of_callers = of_callers.into_iter().flat_map(|lost| three(lost, true));
    let mut lost: Vec<(Vec<Call>, bool)> = Vec::new();
    let singles = ENTERING.iter().chain(&HOLDING);
    lost.extend(singles.map(|call| (vec![*call], waits(&[*call]))));
    lost.push((vec![Call::Enter], true));
    // A cancel is only asked for while it is in doubt whether something was entered.
    lost.push((vec![Call::Enter, Call::Cancel], false));
    for one in ENTERING.iter().chain(&HOLDING) {
        lost.extend(ENTERING.iter().chain(&HOLDING).map(|two| (vec![*one, *two], true)));
    }
    for one in [Call::Grant, Call::Session, Call::Enter, Call::Cancel] {
        lost.push((vec![one, Call::Enter, Call::Cancel], true));
    }
    let late = late(false).into_iter().chain(late(true));
    let lost = lost.into_iter().flat_map(|lost| three(lost, false));
    late.chain(of_callers).chain(lost).collect()
}

pub(crate) async fn lost(plan: Plan) -> Line {
    let started = Instant::now();
    let cluster = match Cluster::start(1, &[]).await {
        Ok(cluster) => std::rc::Rc::new(cluster),
        Err(error) => return plan.failed(error),
    };
    let all = cases();
    let mut line = Line { name: plan.name.into(), faults: plan.count, ..Line::default() };
    let mut running = JoinSet::new();
    for number in plan.first..plan.first + plan.count {
        let case = all[number as usize % all.len()].clone();
        let (cluster, tick) = (cluster.clone(), plan.tick.clone());
        running.spawn_local(async move {
            let done = timeout(NEVER * 2, one(&cluster, &case, &format!("case{number}"))).await;
            tick(1);
            done.unwrap_or_else(|_| Err("it never ends".into()))
                .map_err(|error| format!("case {number}, {case:?}: {error}"))
        });
    }
    while let Some(done) = running.join_next().await {
        match done.expect("a case does not panic") {
            Ok(()) => line.sections += 1,
            Err(error) => line.wrong.push(error),
        }
    }
    match cluster.entries().await {
        Ok(entries) => line.orphans = entries.len() as u64,
        Err(error) => line.wrong.push(error),
    }
    if line.orphans > 0 {
        line.wrong.push(format!("{} orphans", line.orphans));
    }
    line.took = started.elapsed();
    line
}

/// The keys of entries of one namespace, with their tickets.
async fn entries(cluster: &Cluster, namespace: &str) -> Outcome<Vec<(String, i64)>> {
    let prefix = format!("/treelock/{namespace}/");
    let mut entries = cluster.entries().await?;
    entries.retain(|(key, _)| key.starts_with(&prefix));
    Ok(entries)
}

async fn within<T>(what: &str, happens: impl Future<Output = T>) -> Outcome<T> {
    timeout(NEVER, happens).await.map_err(|_| format!("never: {what}"))
}

async fn one(cluster: &Cluster, case: &Case, namespace: &str) -> Outcome<()> {
    let loss = match case.way {
        Way::Retry => Loss::Cut,
        Way::Cancel | Way::TimeOut => Loss::Silence,
        Way::Late | Way::LateCancel => Loss::Late,
    };
    let cancels = case.lost.contains(&Call::Cancel);
    // What is in doubt stays in doubt only while no answer comes.
    let of = |call: &Call| if cancels && *call == Call::Enter { Loss::Silence } else { loss };
    let losses = Losses::default();
    let at = cluster.members[0].address;
    // Two ways to the member, so that there is another to turn to.
    let doors = [losses.door(at).await, losses.door(at).await].map(|door| format!("http://{door}"));
    let options = |endpoints: Vec<String>| {
        EtcdLock::new(&Options::new(endpoints).namespace(namespace).ttl(Duration::from_secs(5)))
    };
    let (lock, direct) = (options(doors.into()), options(vec![format!("http://{at}")]));
    let request = Request::new().write("a/b").and_then(|request| request.read("a/c"));
    let request = request.map_err(|error| error.to_string())?;
    if case.is_caller {
        within("it makes calls by itself", become_caller(&lock, &losses)).await??;
    }
    losses.want(case.lost.iter().map(|call| (*call, of(call))).collect());
    let in_the_way = match case.blocked {
        true => Some(direct.acquire(&request).await.map_err(|error| error.to_string())?),
        false => None,
    };
    let before = cluster.revision().await?;
    if let Some(guard) = enter(case, &losses, &lock, &request, in_the_way).await? {
        if case.lost.contains(&Call::KeepAlive) {
            within("a renewal is lost", losses.are_lost(&of_phase(case, &HOLDING[..1]))).await?;
        }
        check_held(cluster, namespace, &guard).await?;
        leave(case, &losses, guard).await?;
    }
    within("all that was wanted is lost", losses.are_lost(&not_after_giving_up(case))).await?;
    within("it settles", lock.settled()).await?;
    if loss == Loss::Late {
        come_late(case, &lock, &request, &losses, cluster, namespace).await?;
    }
    if cluster.revision().await? <= before {
        return Err("nothing was carried out".into());
    }
    let left = entries(cluster, namespace).await?;
    if !left.is_empty() {
        return Err(format!("orphans: {left:?}"));
    }
    // The lock works, for this client and for others.
    for lock in [&lock, &direct] {
        let guard = within("it works", lock.acquire(&request)).await?;
        within("it releases", guard.map_err(|error| error.to_string())?.release()).await?;
    }
    Ok(())
}

/// Uses the lock until there is a connection of this runtime beside that of the lock's own thread.
async fn become_caller(lock: &EtcdLock, losses: &Losses) -> Outcome<()> {
    let elsewhere = Request::new().write("c").map_err(|error| error.to_string())?;
    while losses.connections() < 2 {
        let guard = lock.acquire(&elsewhere).await.map_err(|error| error.to_string())?;
        guard.release().await;
    }
    Ok(())
}

/// What was late is carried out: an entry when there is none, which must leave none; a release when
/// the same client holds the same again, at the same place, which must stay.
async fn come_late(
    case: &Case,
    lock: &EtcdLock,
    request: &Request,
    losses: &Losses,
    cluster: &Cluster,
    namespace: &str,
) -> Outcome<()> {
    if case.lost.contains(&Call::Enter) {
        return within("what is late comes", losses.let_go(1)).await;
    }
    let asked = within("it works", lock.acquire(request)).await?;
    let guard = asked.map_err(|error| error.to_string())?;
    within("what is late comes", losses.let_go(1)).await?;
    check_held(cluster, namespace, &guard).await?;
    within("it is released", guard.release()).await
}

fn of_phase(case: &Case, phase: &[Call]) -> Vec<Call> {
    case.lost.iter().filter(|call| phase.contains(call)).copied().collect()
}

/// What is certainly lost in this case: a client that gives up while entering neither holds nor
/// releases.
fn not_after_giving_up(case: &Case) -> Vec<Call> {
    let holds =
        matches!(case.way, Way::Retry | Way::Late) || !case.blocked || is_dropped_later(case);
    match holds && !case.lost.contains(&Call::Cancel) {
        true => case.lost.clone(),
        false => case.lost.iter().filter(|call| !HOLDING.contains(call)).copied().collect(),
    }
}

/// Whether it is while releasing that the future is dropped, or the time is over.
fn is_dropped_later(case: &Case) -> bool {
    case.lost.iter().any(|call| HOLDING.contains(call))
}

/// Ask, lose the answers of asking, and go on or give up. Returns the guard if it has one.
async fn enter(
    case: &Case,
    losses: &Losses,
    lock: &EtcdLock,
    request: &Request,
    in_the_way: Option<Guard>,
) -> Outcome<Option<Guard>> {
    let expected = of_phase(case, &ENTERING);
    let gives_up =
        case.lost.contains(&Call::Cancel) || (case.way == Way::Cancel && !is_dropped_later(case));
    if gives_up {
        let mut acquire = lock.acquire(request);
        let lost = within("the answers are lost", async {
            tokio::select! {
                () = losses.are_lost(&expected) => Ok(()),
                _ = &mut acquire => Err("granted although somebody is in its way, or nothing was \
                    lost"),
            }
        });
        lost.await??;
        drop(acquire);
        within("it settles", lock.settled()).await?;
        if let Some(guard) = in_the_way {
            guard.release().await;
        }
        return Ok(None);
    }
    if case.way == Way::TimeOut && !is_dropped_later(case) {
        // Long enough for what has to be lost to be asked for.
        let limit = Duration::from_secs(8);
        let asked = within("the time is over", give_up_after(lock, request, limit)).await?;
        let is_blocked = asked.as_ref().is_err_and(treelock_etcd::Error::is_timeout);
        if let Some(guard) = in_the_way {
            if !is_blocked {
                return Err(format!("not timed out: {asked:?}"));
            }
            guard.release().await;
            return Ok(None);
        }
        return asked.map(Some).map_err(|error| error.to_string());
    }
    let acquire = tokio::spawn(lock.acquire(request));
    within("the answers are lost", losses.are_lost(&expected)).await?;
    if let Some(guard) = in_the_way {
        guard.release().await;
    }
    let granted = within("it is granted", acquire).await?.map_err(|error| error.to_string())?;
    granted.map(Some).map_err(|error| error.to_string())
}

/// Exactly one entry: both keys, with the token as their ticket.
async fn check_held(cluster: &Cluster, namespace: &str, guard: &Guard) -> Outcome<()> {
    if !guard.is_valid() {
        return Err("its session was lost".into());
    }
    let entries = entries(cluster, namespace).await?;
    let ours = |(_, ticket): &(String, i64)| *ticket as u64 == guard.ticket();
    match entries.len() == 2 && entries.iter().all(ours) {
        true => Ok(()),
        false => Err(format!("not exactly one entry with token {}: {entries:?}", guard.token())),
    }
}

async fn leave(case: &Case, losses: &Losses, guard: Guard) -> Outcome<()> {
    let release = guard.release();
    if case.way != Way::Cancel || !case.lost.contains(&Call::Release) {
        return within("it is released", release).await;
    }
    let mut release = Box::pin(release);
    within("the answer to the release is lost", async {
        tokio::select! {
            () = losses.are_lost(&[Call::Release]) => Ok(()),
            () = &mut release => Err("released, and no answer was lost".to_string()),
        }
    })
    .await?
}
