//! What must hold, and what must be able to happen.

use stateright::Property;

use crate::{
    protocol::{Kind, Protocol},
    world::{Event, Phase, Queued, Stage, Task, TaskId, World},
};

pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always("exclusion", is_exclusive),
        Property::always("nobody is overtaken", nobody_is_overtaken),
        Property::always("no orphans", no_orphans),
        Property::always("every place is kept", every_place_is_kept),
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
            let sleeps = |task: &Task| {
                matches!(&task.phase, Phase::Queued(Queued { stage: Stage::Asleep, .. }))
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

/// One who holds and may believe it: by its own clock its lease is there, and no administrator has deleted its
/// entry. Of the others only the resource can know.
struct Holder {
    task: TaskId,
    kind: Kind,
    ticket: u8,
}

fn holders(protocol: &Protocol, world: &World) -> Vec<Holder> {
    let holds = |(id, task): (TaskId, &Task)| match task.phase {
        Phase::Held { ticket, .. } => {
            let may_believe =
                !world.sessions[task.session].is_late && !world.revoked.contains(&ticket);
            let kind = protocol.job(id, task.step).kind;
            may_believe.then_some(Holder { task: id, kind, ticket })
        }
        _ => None,
    };
    world.tasks.iter().enumerate().filter_map(holds).collect()
}

fn is_exclusive(protocol: &Protocol, world: &World) -> bool {
    let holders = holders(protocol, world);
    holders
        .iter()
        .all(|one| holders.iter().all(|two| one.task == two.task || !one.kind.conflicts(two.kind)))
}

/// Nobody holds while an earlier request that conflicts is live (C1).
fn nobody_is_overtaken(protocol: &Protocol, world: &World) -> bool {
    holders(protocol, world).iter().all(|holder| {
        !world
            .etcd
            .entries
            .iter()
            .any(|((kind, ..), put)| holder.kind.conflicts(*kind) && put.created < holder.ticket)
    })
}

/// Who has nothing to do has nothing in the table.
fn no_orphans(_: &Protocol, world: &World) -> bool {
    world.etcd.entries.values().all(|put| {
        let task = &world.tasks[put.task];
        let is_at_it = put.step == task.step && !matches!(task.phase, Phase::Idle | Phase::Done);
        // The end of the lease will take it.
        is_at_it || world.sessions[task.session].is_over
    })
}

/// Who waits or holds has its entry, as it was created.
fn every_place_is_kept(protocol: &Protocol, world: &World) -> bool {
    world.tasks.iter().enumerate().all(|(id, task)| {
        let ticket = match &task.phase {
            Phase::Queued(queued) => queued.ticket,
            Phase::Held { ticket, .. } => *ticket,
            _ => return true,
        };
        let put = world.etcd.entries.get(&world.key(protocol, id));
        put.is_some_and(|put| put.created == ticket)
            || world.etcd.sessions[task.session].is_none()
            || world.revoked.contains(&ticket)
    })
}

/// When nothing happens by itself any more, everybody is done and gone.
fn nobody_is_stuck(protocol: &Protocol, world: &World) -> bool {
    let mut steps = Vec::new();
    protocol.steps(world, &mut steps);
    !steps.is_empty()
        || world.tasks.iter().all(|task| task.phase == Phase::Done) && world.etcd.entries.is_empty()
}

/// Whoever lost its entry, and does not know, is about to be told.
fn who_lost_is_told(protocol: &Protocol, world: &World) -> bool {
    world.tasks.iter().all(|task| {
        let (Phase::Queued(Queued { ticket, .. }) | Phase::Held { ticket, .. }) = &task.phase
        else {
            return true;
        };
        let Some(stream) = &world.sessions[task.session].stream else { return true };
        let tells = |event: &Event| match event {
            Event::Revoked { ticket: told, .. } => told == ticket,
            Event::SessionEnded => true,
            Event::Deleted { .. } => false,
        };
        let has_lost =
            world.epoch(protocol, task.session).is_none() || world.revoked.contains(ticket);
        !has_lost || stream.events.iter().any(tells)
    })
}

/// All sessions here are older than a new epoch, and give tokens of an old one.
fn old_sessions_stay_out(_: &Protocol, world: &World) -> bool {
    let began = world.epoch_began.unwrap_or(u8::MAX);
    world.etcd.entries.values().all(|put| put.created < began)
}

fn nobody_gets_it_too_late(_: &Protocol, world: &World) -> bool {
    !world.tasks.iter().any(|task| matches!(task.phase, Phase::Held { too_late: true, .. }))
}

/// No access is accepted after one that conflicts and has a newer token.
fn no_stale_access(_: &Protocol, world: &World) -> bool {
    let accepted = &world.gate.accepted;
    accepted.iter().enumerate().all(|(at, (kind, ticket))| {
        accepted[..at].iter().all(|(other, newer)| newer <= ticket || !kind.conflicts(*other))
    })
}
