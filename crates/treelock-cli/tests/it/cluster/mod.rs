//! The lock between machines, by the command: on real servers, which the tests start themselves.

mod access;
mod administration;
mod granting;
mod holding;
mod lost;
mod waiting;
mod watching;

use crate::{scene::Scene, server::Cluster};

/// A cluster of one, and a scene that uses it.
fn scene() -> Option<(Cluster, Scene)> {
    let cluster = Cluster::start(1)?;
    let scene = Scene::on(&cluster.endpoints());
    Some((cluster, scene))
}

/// This host, as the lock shows it.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
