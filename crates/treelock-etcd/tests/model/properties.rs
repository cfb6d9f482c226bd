//! What must hold, and what must be able to happen.

use stateright::Property;

use crate::{
    etcd::LITTER,
    name::TaskId,
    protocol::waiting::Doing,
    scenario::{Kind, Scenario},
    shared::Shared,
    world::{Event, Held, Phase, Task, World},
};

pub(crate) fn all() -> Vec<Property<Scenario>> {
    vec![
        Property::always("exclusion", is_exclusive),
        Property::always("nobody is overtaken", nobody_is_overtaken),
        Property::always("no orphans", no_orphans),
        Property::always("every entry is kept", every_entry_is_kept),
        Property::always("nobody is stuck", nobody_is_stuck),
        Property::always("who lost is told", who_lost_is_told),
        Property::always("old sessions stay out", old_sessions_stay_out),
        Property::always("nobody gets it too late", nobody_gets_it_too_late),
        Property::always("no stale access", no_stale_access),
        Property::always("no live holder is refused", |_, world: &World| {
            !world.gate.has_refused_live
        }),
        // The model would prove little if it could not do these.
        Property::sometimes("somebody waits", |_, world: &World| {
            let sleeps = |task: &Shared<Task>| match &task.phase {
                Phase::Queued(queued) => queued.waiting.doing == Doing::Sleeping,
                _ => false,
            };
            world.tasks.iter().any(sleeps)
        }),
        Property::sometimes("all are done", |_, world: &World| {
            world.tasks.iter().all(|task| task.phase == Phase::Done)
        }),
        Property::sometimes("a stale access is refused", |_, world: &World| world.gate.has_refused),
        Property::sometimes("somebody is revoked", |_, world: &World| !world.revoked.is_empty()),
    ]
}

/// One who holds and may believe it: by its own clock its lease is there, and no administrator has
/// deleted its entry. Of the others only the resource can know.
struct Holder {
    task: TaskId,
    kind: Kind,
    ticket: i64,
}

fn holders(scenario: &Scenario, world: &World) -> Vec<Holder> {
    let holds = |(id, task): (TaskId, &Shared<Task>)| match &task.phase {
        Phase::Held(Held { ticket, .. }) => {
            let may_believe =
                !world.sessions[task.session].is_late && !world.revoked.contains(ticket);
            let kind = scenario.job(id, task.step).kind;
            may_believe.then_some(Holder { task: id, kind, ticket: *ticket })
        }
        _ => None,
    };
    world.tasks.iter().enumerate().filter_map(holds).collect()
}

fn is_exclusive(scenario: &Scenario, world: &World) -> bool {
    let holders = holders(scenario, world);
    holders
        .iter()
        .all(|one| holders.iter().all(|two| one.task == two.task || !one.kind.conflicts(two.kind)))
}

/// Nobody holds while an earlier request that conflicts is live (C1).
fn nobody_is_overtaken(scenario: &Scenario, world: &World) -> bool {
    holders(scenario, world).iter().all(|holder| {
        !world
            .etcd
            .entries()
            .any(|(key, stored)| stored.created < holder.ticket && holder.kind.conflicts_with(key))
    })
}

/// Who has nothing to do has nothing in the table.
fn no_orphans(_: &Scenario, world: &World) -> bool {
    let mut entries = world.etcd.entries().filter(|(_, stored)| stored.value != LITTER);
    entries.all(|(_, stored)| {
        let (task, step) = (&world.tasks[usize::from(stored.value[0])], stored.value[1]);
        let is_at_it = usize::from(step) == task.step && task.phase.entry().is_some();
        // The end of the lease will take it.
        is_at_it || world.sessions[task.session].is_over
    })
}

/// The ticket of one who waits or holds.
fn ticket(task: &Task) -> Option<i64> {
    match &task.phase {
        Phase::Queued(queued) => queued.entry.ticket(),
        Phase::Held(held) => Some(held.ticket),
        _ => None,
    }
}

/// Who waits or holds has its entry, as it was created.
fn every_entry_is_kept(scenario: &Scenario, world: &World) -> bool {
    world.tasks.iter().all(|task| {
        let (Some(ticket), Some(entry)) = (ticket(task), task.phase.entry()) else { return true };
        let mut stored = entry.wish.keys.iter().map(|key| world.etcd.keys.get(key));
        stored.all(|stored| stored.is_some_and(|stored| stored.created == ticket))
            || !world.etcd.has_key(scenario, task.session)
            || world.revoked.contains(&ticket)
    })
}

/// When nothing happens by itself any more, everybody is done and gone.
fn nobody_is_stuck(scenario: &Scenario, world: &World) -> bool {
    if !world.calls.is_empty() || !world.answers.is_empty() {
        return true;
    }
    let mut steps = Vec::new();
    scenario.steps(world, &mut steps);
    !steps.is_empty()
        || world.tasks.iter().all(|task| task.phase == Phase::Done)
            && world.etcd.entries().next().is_none()
}

/// Whoever lost its entry, and does not know, is about to be told.
fn who_lost_is_told(scenario: &Scenario, world: &World) -> bool {
    world.tasks.iter().all(|task| {
        let Some(ticket) = ticket(task) else { return true };
        let Some(stream) = &world.sessions[task.session].stream else { return true };
        let tells = |event: &Event| match event {
            Event::Revoked { ticket: told, .. } => *told == ticket,
            Event::SessionEnded => true,
            Event::Deleted { .. } => false,
        };
        let has_lost = !world.etcd.has(scenario, task.session) || world.revoked.contains(&ticket);
        !has_lost || stream.events.iter().any(tells)
    })
}

/// All sessions here are older than a new epoch, and give tokens of an old one.
fn old_sessions_stay_out(_: &Scenario, world: &World) -> bool {
    let began = world.epoch_began.unwrap_or(i64::MAX);
    world.etcd.entries().all(|(_, stored)| stored.created < began)
}

fn nobody_gets_it_too_late(_: &Scenario, world: &World) -> bool {
    !world.tasks.iter().any(|task| matches!(task.phase, Phase::Held(Held { too_late: true, .. })))
}

/// No access is accepted after one that conflicts and has a newer token.
fn no_stale_access(_: &Scenario, world: &World) -> bool {
    let accepted = &world.gate.accepted;
    accepted.iter().enumerate().all(|(at, (kind, ticket))| {
        accepted[..at].iter().all(|(other, newer)| newer <= ticket || !kind.conflicts(*other))
    })
}
