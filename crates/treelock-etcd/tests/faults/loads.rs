//! The faults that are done to a cluster in use: to its clients, its members, its network, its
//! watches.

use std::{cell::RefCell, time::Duration};

use etcd_client::Client;
use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};

use crate::{
    cluster::{NEVER, Outcome, until},
    ledger::Stage,
    load::{Load, Must, Setup},
    net::Flow,
    plan::Plan,
    report::Line,
    wire::Order,
};

/// So many sections show that all go on.
const SOME: u64 = 20;

/// A member that has not come back after this time does not.
const STUCK: Duration = Duration::from_secs(15);

const STRICT: Must = Must {
    may_overlap: false,
    may_lose: false,
    may_be_rescued: false,
    gap: Duration::from_secs(5),
    behind_the_dead: Duration::ZERO,
};

/// Do the faults of a plan to a cluster in use, one after the other. Each ends when its cause is
/// gone and all go on.
async fn with_load(
    plan: Plan,
    setup: Setup,
    must: Must,
    fault: impl AsyncFn(&mut Load, u64) -> Outcome<()>,
) -> Line {
    let mut load = match Load::start(&setup).await {
        Ok(load) => load,
        Err(error) => return plan.failed(error),
    };
    let mut failed = None;
    for number in plan.first..plan.first + plan.count {
        let done = async {
            fault(&mut load, number).await?;
            load.cluster.net.heal();
            load.go_on(SOME).await
        };
        if let Err(error) = done.await {
            failed = Some(format!("fault {number}: {error}"));
            break;
        }
        (plan.tick)(1);
    }
    let mut line = load.finish(plan.name, plan.count, must).await;
    line.wrong.extend(failed);
    line
}

/// None: only what random requests do to one another.
pub(crate) async fn none(plan: Plan) -> Line {
    let setup = Setup { members: 1, clients: 8, ttl: 5, seed: plan.seed };
    let load = match Load::start(&setup).await {
        Ok(load) => load,
        Err(error) => return plan.failed(error),
    };
    let done = load.ledger().sections;
    let went_on = load.go_on(plan.count.saturating_sub(done)).await;
    (plan.tick)(plan.count);
    let mut line = load.finish(plan.name, 0, STRICT).await;
    line.wrong.extend(went_on.err());
    line
}

/// kill -9 or SIGSTOP of a client that holds, waits or enqueues.
///
/// The lease of a dead one ends its time after the last renewal that etcd has seen, so that is at
/// most the TTL after the death; etcd looks for ended leases twice a second, and the end of one has
/// to go through its log. Hence the second on top.
pub(crate) async fn clients(plan: Plan) -> Line {
    let setup = Setup { members: 1, clients: 6, ttl: 3, seed: plan.seed };
    let behind_the_dead = Duration::from_secs(setup.ttl + 1);
    let must = Must { may_lose: true, may_be_rescued: true, behind_the_dead, ..STRICT };
    with_load(plan, setup, must, async |load, number| {
        let client = load.any_client();
        let wait = match number / 2 % 3 {
            0 => {
                load.order(client, Order::Dwell(300));
                load.reaches(client, Stage::Holding).await?;
                100
            }
            1 => {
                load.reaches(client, Stage::Waiting).await?;
                0
            }
            _ => {
                // Answers take a while, so that it is hit before, while and after etcd does what it
                // asks.
                let slow = |flow: &mut Flow| flow.delay = Duration::from_millis(150);
                load.cluster.net.change("n0", &format!("c{client}"), slow);
                load.reaches(client, Stage::Enqueuing).await?;
                150
            }
        };
        sleep(Duration::from_millis(load.random.u64(0..=wait))).await;
        if number % 2 == 0 {
            load.kill_client(client).await?;
            return Ok(());
        }
        let time = load.ttl + Duration::from_millis(1_500);
        load.pause_client(client, time).await;
        Ok(())
    })
    .await
}

fn cluster_in_use(plan: &Plan, ttl: u64) -> Setup {
    Setup { members: 3, clients: 6, ttl, seed: plan.seed }
}

/// The member that leads, or one that does not.
async fn leader_or_not(load: &Load, leader: bool) -> Outcome<usize> {
    let leads = load.cluster.leader().await?;
    Ok(if leader { leads } else { (leads + 1) % load.cluster.members.len() })
}

/// Whether a member answers as one of the majority.
async fn answers(load: &Load, member: usize) -> Outcome<()> {
    let endpoint = format!("http://{}", load.cluster.members[member].address);
    let asked = async { Client::connect([&endpoint], None).await?.get("x", None).await };
    match timeout(Duration::from_secs(1), asked).await {
        Ok(answer) => answer.map(|_| ()).map_err(|error| error.to_string()),
        Err(_) => Err("no answer in 1 s".into()),
    }
}

/// Waits until a member answers as one of the majority. Members of etcd 3.4.23 have been seen that
/// never did again, after a pause or a partition, while the others went on. Such a one is
/// restarted, as an operator would.
async fn is_back(load: &mut Load, member: usize) -> Outcome<()> {
    let waits = async |load: &Load| {
        let last = RefCell::new(String::new());
        let back = until("a member is back", async || {
            answers(load, member).await.map_err(|error| *last.borrow_mut() = error).ok()
        });
        back.await.map_err(|error| format!("{error}: n{member} says: {}", last.borrow()))
    };
    if let Ok(back) = timeout(STUCK, waits(load)).await {
        return back;
    }
    load.restarted += 1;
    load.cluster.members[member].kill();
    load.cluster.members[member].start()?;
    waits(load).await
}

/// kill -9 of a member, that comes back.
pub(crate) async fn members(plan: Plan) -> Line {
    let setup = cluster_in_use(&plan, 5);
    let must = Must { may_lose: true, may_be_rescued: true, ..STRICT };
    with_load(plan, setup, must, async |load, number| {
        let member = leader_or_not(load, number % 2 == 0).await?;
        load.cluster.members[member].kill();
        sleep(Duration::from_millis(load.random.u64(0..3_000))).await;
        load.cluster.members[member].start()?;
        is_back(load, member).await
    })
    .await
}

async fn pause_leader(load: &mut Load, time: Duration) -> Outcome<()> {
    let leader = load.cluster.leader().await?;
    load.cluster.members[leader].signal(Signal::SIGSTOP);
    sleep(time).await;
    load.cluster.members[leader].signal(Signal::SIGCONT);
    is_back(load, leader).await
}

/// The leader is paused for less than a lease lasts.
pub(crate) async fn short_pauses(plan: Plan) -> Line {
    let setup = cluster_in_use(&plan, 6);
    let must = Must { may_be_rescued: true, ..STRICT };
    with_load(plan, setup, must, async |load, _| {
        let time = Duration::from_millis(load.random.u64(1_000..4_500));
        pause_leader(load, time).await
    })
    .await
}

/// The leader is paused for longer than a lease lasts. It wakes and may end leases that were
/// renewed elsewhere (etcd#15247, in all that is older than 3.4.31 and 3.5.13), so two may hold at
/// once, and only tokens help.
pub(crate) async fn long_pauses(plan: Plan) -> Line {
    let setup = cluster_in_use(&plan, 3);
    let must =
        Must { may_overlap: true, may_lose: true, may_be_rescued: true, gap: NEVER, ..STRICT };
    with_load(plan, setup, must, async |load, _| {
        let time = Duration::from_millis(load.random.u64(3_500..6_000));
        pause_leader(load, time).await
    })
    .await
}

/// The network between members, and between a client and all members.
pub(crate) async fn partitions(plan: Plan) -> Line {
    let setup = cluster_in_use(&plan, 4);
    let limit = Duration::from_secs(10);
    let must =
        Must { may_lose: true, may_be_rescued: true, gap: limit, behind_the_dead: limit, ..STRICT };
    let cut = |flow: &mut Flow| flow.cut = true;
    let time = Duration::from_secs(6);
    with_load(plan, setup, must, async |load, number| {
        let client = load.any_client();
        let leader = load.cluster.leader().await?;
        let follower = (leader + 1) % load.cluster.members.len();
        let (cluster, name) = (&load.cluster, format!("c{client}"));
        let mut dead = None;
        match number % 7 {
            0 => cluster.between_members(|from, to| from == leader || to == leader, cut),
            1 => cluster.between_members(|from, to| from == follower || to == follower, cut),
            // The leader hears the others, and they do not hear it; and the other way round.
            2 => cluster.between_members(|from, _| from == leader, cut),
            3 => cluster.between_members(|_, to| to == leader, cut),
            way @ (4 | 5) => {
                for member in 0..cluster.members.len() {
                    let member = format!("n{member}");
                    cluster.net.change(&member, &name, cut);
                    // Or it is heard, and hears nothing.
                    if way == 4 {
                        cluster.net.change(&name, &member, cut);
                    }
                }
                dead = Some(load.is_cut_off(client));
            }
            _ => {
                let lossy = |flow: &mut Flow| flow.loss = 0.3;
                cluster.between_members(|_, _| true, lossy);
                for client in load.clients() {
                    for member in 0..cluster.members.len() {
                        let (client, member) = (format!("c{client}"), format!("n{member}"));
                        cluster.net.change(&client, &member, lossy);
                        cluster.net.change(&member, &client, lossy);
                    }
                }
            }
        }
        sleep(time).await;
        is_felt(load, number % 7, leader, follower).await?;
        load.cluster.net.heal();
        if let Some(death) = dead {
            load.is_back(death);
        }
        for member in 0..load.cluster.members.len() {
            is_back(load, member).await?;
        }
        Ok(())
    })
    .await
}

/// Whether the members have lost one another, as they should have: else nothing was tested.
async fn is_felt(load: &Load, way: u64, leader: usize, follower: usize) -> Outcome<()> {
    if matches!(way, 0 | 2 | 3) && load.cluster.leader().await? == leader {
        return Err("the leader still leads although it was cut off".into());
    }
    if way == 1 && answers(load, follower).await.is_ok() {
        return Err("the follower still follows although it was cut off".into());
    }
    Ok(())
}

/// The leader gives its office to another; all members are restarted, one after the other.
pub(crate) async fn moves(plan: Plan) -> Line {
    let setup = cluster_in_use(&plan, 5);
    let must = Must { may_be_rescued: true, gap: Duration::from_secs(10), ..STRICT };
    with_load(plan, setup, must, async |load, number| {
        if number % 2 == 0 {
            let leader = load.cluster.leader().await?;
            let next = &load.cluster.members[(leader + 1) % load.cluster.members.len()];
            let next = u64::from_str_radix(&next.id, 16).map_err(|error| error.to_string())?;
            let mut client = load.cluster.members[leader].client().await?;
            return client.move_leader(next).await.map(|_| ()).map_err(|error| error.to_string());
        }
        for member in 0..load.cluster.members.len() {
            load.cluster.members[member].signal(Signal::SIGTERM);
            while load.cluster.members[member].is_running() {
                sleep(Duration::from_millis(20)).await;
            }
            load.cluster.members[member].start()?;
            is_back(load, member).await?;
        }
        Ok(())
    })
    .await
}

/// While somebody waits, history is compacted up to now, or all connections are closed.
pub(crate) async fn watches(plan: Plan) -> Line {
    let setup = Setup { members: 1, clients: 6, ttl: 5, seed: plan.seed };
    with_load(plan, setup, STRICT, async |load, number| {
        let (holder, waiter) = (load.any_client(), load.any_client());
        load.order(holder, Order::Dwell(200));
        load.reaches(holder, Stage::Holding).await?;
        if waiter != holder {
            load.reaches(waiter, Stage::Waiting).await?;
        }
        if number % 2 == 1 {
            load.cut_streams();
            return Ok(());
        }
        let head = load.cluster.revision().await?;
        let mut client = load.cluster.members[0].client().await?;
        client.compact(head, None).await.map(|_| ()).map_err(|error| error.to_string())
    })
    .await
}
