//! The etcd servers, started for the workload and killed with it.

use std::fmt::{Display, Formatter, Result as Written};
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use etcd_client::Client;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::metrics::Metrics;

/// How long a cluster may take to answer.
const STARTING: Duration = Duration::from_secs(30);

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// The runtime of all clients, treelock's and the peers': two threads.
pub(super) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("two threads")
});

/// Where etcd keeps its data.
#[derive(Clone, Copy)]
pub(super) enum Data {
    Disk,
    Memory,
}

impl Data {
    fn place(self) -> io::Result<TempDir> {
        match self {
            Data::Disk => tempfile::tempdir(),
            Data::Memory => tempfile::tempdir_in(MEMORY),
        }
    }
}

impl Display for Data {
    fn fmt(&self, out: &mut Formatter<'_>) -> Written {
        out.write_str(match self {
            Data::Disk => "data on disk",
            Data::Memory => "data in memory",
        })
    }
}

/// Members on the loopback interface.
pub(super) struct Cluster {
    members: Vec<Child>,
    /// The leader's endpoint comes first, so that all clients use the same member and none pays for
    /// a detour.
    pub(super) endpoints: Vec<String>,
    data: Data,
    _place: TempDir,
}

impl Cluster {
    /// Starts `count` members and waits until one leads.
    pub(super) fn start(count: usize, data: Data) -> Result<Cluster, String> {
        let place = data.place().map_err(|error| format!("no place for {data}: {error}"))?;
        let urls: Vec<[String; 2]> = (0..count).map(|_| [free_url(), free_url()]).collect();
        let members = urls.iter().enumerate().map(|(number, _)| member(number, &urls, &place));
        let members = members.collect::<io::Result<_>>().map_err(|error| {
            format!("cannot start `etcd`: {error}; on Debian: `apt-get install etcd-server`")
        })?;
        let endpoints = urls.into_iter().map(|[client, _]| client).collect();
        let mut cluster = Cluster { members, endpoints, data, _place: place };
        let leader = RUNTIME.block_on(cluster.leader())?;
        cluster.endpoints.swap(0, leader);
        Ok(cluster)
    }

    /// Returns its name in titles.
    pub(super) fn name(&self) -> String {
        match self.members.len() {
            1 => format!("one member, {}", self.data),
            count => format!("{count} members, {}", self.data),
        }
    }

    /// Returns what its members have counted, all together.
    pub(super) fn metrics(&self) -> Metrics {
        self.endpoints.iter().map(|endpoint| Metrics::read(endpoint)).sum()
    }

    /// Returns the number of the leading member.
    async fn leader(&self) -> Result<usize, String> {
        let start = Instant::now();
        while start.elapsed() < STARTING {
            for (number, endpoint) in self.endpoints.iter().enumerate() {
                if leads(endpoint).await.unwrap_or(false) {
                    return Ok(number);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("etcd has no leader after {} s", STARTING.as_secs()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            // It may have ended by itself.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

async fn leads(endpoint: &str) -> Result<bool, etcd_client::Error> {
    let status = Client::connect([endpoint], None).await?.status().await?;
    Ok(status.header().is_some_and(|header| header.member_id() == status.leader()))
}

/// Returns a port that is free now. If another process takes it before etcd does, etcd does not
/// start.
fn free_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

fn member(number: usize, urls: &[[String; 2]], place: &TempDir) -> io::Result<Child> {
    let [client, peer] = &urls[number];
    let all = urls.iter().enumerate().map(|(number, [_, peer])| format!("n{number}={peer}"));
    let all: Vec<_> = all.collect();
    let data = Path::new(place.path()).join(format!("n{number}"));
    Command::new("etcd")
        .arg("--data-dir")
        .arg(data)
        .args(["--name", &format!("n{number}"), "--initial-cluster", &all.join(",")])
        .args(["--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        // Other load on the machine may delay a member's heartbeat for long.
        .args(["--election-timeout", "5000", "--heartbeat-interval", "100"])
        .args(["--logger", "zap", "--log-level", "error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
