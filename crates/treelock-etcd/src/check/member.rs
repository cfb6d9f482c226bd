//! The members of the cluster, one by one: whether each runs, answers, and has the time.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use etcd_client::{Client, StatusResponse};
use treelock::engine::Finding;

use super::{
    metrics::{self, Clock, Metrics},
    version::{Grade, grade},
};
use crate::{
    cluster::{
        failure::{ANSWER_TIMEOUT, Failure},
        servers::Servers,
    },
    error::Error,
    namespace::Namespace,
};

/// How long each question is attempted.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a read may take before somebody should look: each lock takes at least one such read.
const READ_TIME_MAX: Duration = Duration::from_millis(500);

/// How much clocks may differ before the ages that people see are visibly wrong.
pub(super) const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(2);

impl Namespace<'_> {
    /// Checks whether all members of the cluster are among the endpoints.
    pub(super) async fn named(&self, members: &[Seen]) -> Result<Vec<Finding>, Error> {
        let list = |client: Arc<Client>| async move { client.cluster_client().member_list().await };
        let list = self.servers.insist("list the cluster's members", CHECK_TIMEOUT, list).await?;
        let voting = list.members().iter().filter(|member| !member.is_learner()).count();
        let ids: BTreeSet<u64> = members.iter().filter_map(Seen::id).collect();
        let silent = members.iter().filter(|member| member.status.is_err()).count();
        let named = ids.len() + silent;
        Ok(vec![match voting {
            1 => Finding::good("the cluster has one member: while it is down, nobody gets a lock"),
            _ if named < voting => Finding::odd(
                format!("{named} of the cluster's {voting} members are among the endpoints"),
                "name all of them: if the named ones are down, nobody here gets a lock or keeps \
                 one",
            ),
            _ => Finding::good(format!(
                "the cluster has {voting} members; locks work while {} of them do",
                voting / 2 + 1
            )),
        }])
    }
}

/// What was seen of one endpoint.
pub(super) struct Seen {
    endpoint: String,
    pub(super) status: Result<StatusResponse, Failure>,
    /// How long a linearizable read took.
    pub(super) read: Result<Duration, Failure>,
    pub(super) metrics: Metrics,
}

impl Seen {
    fn id(&self) -> Option<u64> {
        Some(self.status.as_ref().ok()?.header()?.member_id())
    }

    /// Judges it.
    pub(super) fn finding(&self) -> Finding {
        judge(self)
    }
}

/// Looks at all endpoints concurrently, because those that are down take their time.
pub(super) async fn look_at_all(Namespace { servers, space }: Namespace<'_>) -> Vec<Seen> {
    let looks: Vec<_> = (0..servers.count())
        .map(|number| tokio::spawn(look_at(servers.clone(), number, space.meta())))
        .collect();
    let mut members = Vec::new();
    for look in looks {
        members.push(look.await.expect("looking does not panic"));
    }
    members
}

async fn look_at(servers: Servers, number: usize, key: Vec<u8>) -> Seen {
    let doing = "look at a member";
    let status = servers
        .ask_of(number, doing, |client| async move { client.maintenance_client().status().await })
        .await;
    let started = Instant::now();
    let get = |client: Arc<Client>| async move { client.kv_client().get(key, None).await };
    let read = match status.is_ok() {
        true => {
            let answer = servers.ask_of(number, "read the namespace", get).await;
            answer.map(|_| started.elapsed())
        }
        false => Err(Failure::InDoubt("not asked".into())),
    };
    let (endpoint, secure) = servers.endpoint(number).expect("it was asked");
    let metrics = match status.is_ok() {
        true => metrics::look(endpoint, secure).await,
        false => Metrics::default(),
    };
    Seen { endpoint: endpoint.url.clone(), status, read, metrics }
}

/// Returns the error of a cluster in which no member answers.
pub(super) fn nobody(member: Seen) -> Error {
    match member.status {
        Err(Failure::Final(error)) => error,
        Err(Failure::InDoubt(last)) => {
            Error::Unavailable { doing: "look at the cluster", tried: ANSWER_TIMEOUT, last }
        }
        Ok(_) => unreachable!("it did not answer"),
    }
}

fn judge(member: &Seen) -> Finding {
    let endpoint = &member.endpoint;
    let status = match &member.status {
        Ok(status) => status,
        Err(Failure::InDoubt(why)) => {
            return Finding::odd(
                format!("{endpoint} does not answer ({why})"),
                "check that it is running, and that the endpoint is right",
            );
        }
        Err(Failure::Final(error)) => {
            return Finding::odd(format!("{endpoint} does not tell its status: {error}"), "");
        }
    };
    let version = status.version();
    if status.is_learner() {
        return Finding::odd(
            format!("{endpoint} (etcd {version}) is a learner, which accepts no locks"),
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
                    "{endpoint} (etcd {version}) answers no read ({why}): it is cut off from the \
                     others"
                ),
                "check that a majority of the members is running, and that they reach each other",
            );
        }
    };
    let what = format!("{endpoint} is etcd {version} and answers in {:.1} ms", milliseconds(read));
    match (grade(version), read > READ_TIME_MAX) {
        (Grade::Broken(why), _) => {
            Finding::bad(format!("{what}; {why}"), "use a later version of etcd")
        }
        (Grade::Old(oldest), _) => Finding::odd(
            format!("{what}; {oldest} is the oldest that is supported"),
            "use a later version of etcd",
        ),
        (Grade::Unknown, _) => Finding::odd(
            format!("{what}; this version was never tested"),
            "use a tested release: 3.4, 3.5 or 3.6",
        ),
        (Grade::Supported, true) => Finding::odd(
            format!("{what}; each lock takes at least as long"),
            "check that the network and the members' disks are as fast as they should be",
        ),
        (Grade::Supported, false) => Finding::good(what),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Checks whether there is one cluster, and whether it has a leader.
pub(super) fn leader(answers: &[(&Seen, &StatusResponse)]) -> Vec<Finding> {
    let clusters = answers.iter().filter_map(|(_, status)| Some(status.header()?.cluster_id()));
    let clusters: BTreeSet<u64> = clusters.collect();
    let without = answers.iter().filter(|(_, status)| status.leader() == 0);
    let mut found: Vec<Finding> = without
        .map(|(member, _)| {
            Finding::bad(
                format!("{} knows no leader", member.endpoint),
                "check that a majority of the members is running, and that they reach each other",
            )
        })
        .collect();
    if clusters.len() > 1 {
        found.push(Finding::bad(
            format!(
                "the endpoints are members of {} clusters, each with its own locks",
                clusters.len()
            ),
            "name the members of only one",
        ));
    }
    if found.is_empty() {
        found.push(Finding::good("one cluster, with a leader"));
    }
    found
}

/// Judges the member whose clock differs most from ours.
pub(super) fn clocks(answers: &[(&Seen, &StatusResponse)]) -> Finding {
    let distance = |clock: &Clock| match clock {
        Clock::Agrees => Duration::ZERO,
        Clock::Ahead(by) | Clock::Behind(by) => *by,
    };
    let seen =
        answers.iter().filter_map(|(member, _)| Some((&member.endpoint, member.metrics.clock?)));
    let (which, endpoint, by) = match seen.max_by_key(|(_, clock)| distance(clock)) {
        None => {
            return Finding::good(
                "clocks were not compared: no member shows its clock to this machine",
            );
        }
        Some((_, clock)) if distance(&clock) < CLOCK_DIFFERENCE_MAX => {
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
