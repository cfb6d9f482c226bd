//! What happens to the requests of a namespace, as etcd tells it.

mod follow;
mod mirror;

use std::{future::Future, pin::pin, sync::Arc};

use tokio::{sync::mpsc, task::unconstrained};
use treelock::engine::Events;

use crate::{error::Error, shared::Shared};

/// How many events may wait for their listener. Beyond that, etcd keeps them.
const EVENTS_QUEUED_MAX: usize = 1_000;

/// Returns the events of a namespace, which this crate's thread follows.
pub(crate) fn events(shared: &Arc<Shared>) -> Result<Events<Error>, Error> {
    let (told, mut queue) = mpsc::channel(EVENTS_QUEUED_MAX);
    let following = shared.work(follow::follow(shared.clone(), told))?;
    Ok(Events::of(move |context| {
        // Dropping it with the events ends the listening.
        let _ = &following;
        // Without a budget, for the same reason as answers.
        pin!(unconstrained(queue.recv())).poll(context).map(|event| {
            event.unwrap_or_else(|| {
                let what = "its task has ended".into();
                Err(Error::Refused { doing: "listen to the locks", what })
            })
        })
    }))
}
