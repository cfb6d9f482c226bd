//! Clusters whose members can be killed, paused and cut off from one another and from clients.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use etcd_client::{Client, GetOptions};
use nix::{
    sys::{
        signal::{Signal, kill},
        statvfs::statvfs,
    },
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::net::Net;

pub(crate) type Outcome<T> = Result<T, String>;

/// How long anything may take that has to happen sooner or later.
pub(crate) const NEVER: Duration = Duration::from_secs(40);

pub(crate) struct Member {
    child: Option<Child>,
    /// The whole command line.
    words: Vec<String>,
    /// Where it listens for clients, without a proxy.
    pub(crate) address: SocketAddr,
    /// What it calls itself to its peers, in hexadecimal.
    pub(crate) id: String,
}

impl Member {
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill(Pid::from_raw(child.id() as i32), signal).expect("our child");
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our child");
            child.wait().expect("our child");
        }
    }

    pub(crate) fn start(&mut self) -> Outcome<()> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().map_err(|error| format!("etcd: {error}"))?);
        Ok(())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// A client of this member, around all proxies.
    pub(crate) async fn client(&self) -> Outcome<Client> {
        let endpoint = format!("http://{}", self.address);
        Client::connect([endpoint], None).await.map_err(|error| error.to_string())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) net: Net,
    /// The folder of all its data, which goes with it.
    _data: TempDir,
}

/// A port that no connection gets for its own end while a member that listens there is down.
fn quiet_port() -> (TcpListener, SocketAddr) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    NEXT.compare_exchange(0, fastrand::u16(12_000..30_000), Ordering::SeqCst, Ordering::SeqCst)
        .ok();
    loop {
        let port = 12_000 + NEXT.fetch_add(1, Ordering::SeqCst) % 18_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if let Ok(listener) = TcpListener::bind(address) {
            return (listener, address);
        }
    }
}

/// Whether there is an etcd here.
pub(crate) fn is_there() -> bool {
    let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// So much is written at most while clusters run side by side; containers often have less in
/// memory.
const ROOM: u64 = 4 << 30;

/// In memory where there is room: it is not the disk that is tested.
fn folder() -> TempDir {
    let place = std::path::Path::new("/dev/shm");
    let room = statvfs(place).map_or(0, |disk| disk.blocks_available() * disk.fragment_size());
    let mut folder = tempfile::Builder::new();
    let made = match folder.prefix("treelock-faults").tempdir_in(place) {
        Ok(made) if room >= ROOM => Ok(made),
        _ => tempfile::tempdir(),
    };
    made.expect("a place for temporary files")
}

impl Cluster {
    /// A cluster of so many members, that has a leader.
    pub(crate) async fn start(count: usize, more: &[&str]) -> Outcome<Cluster> {
        Cluster::start_in(folder(), count, more, &[]).await
    }

    /// The same with its data in this folder, each member started by a program that becomes etcd.
    pub(crate) async fn start_in(
        data: TempDir,
        count: usize,
        more: &[&str],
        starter: &[&str],
    ) -> Outcome<Cluster> {
        let net = Net::default();
        let doors: Vec<_> = (0..count).map(|_| quiet_port()).collect();
        let peers: Vec<String> =
            (0..).zip(&doors).map(|(number, (_, at))| format!("n{number}=http://{at}")).collect();
        let mut members = Vec::new();
        for (number, (door, outside)) in doors.into_iter().enumerate() {
            let (client, peer) = (quiet_port().1, quiet_port().1);
            let arguments = [
                ("name", format!("n{number}")),
                ("data-dir", data.path().join(format!("n{number}")).display().to_string()),
                ("listen-client-urls", format!("http://{client}")),
                ("advertise-client-urls", format!("http://{client}")),
                ("listen-peer-urls", format!("http://{peer}")),
                ("initial-advertise-peer-urls", format!("http://{outside}")),
                ("initial-cluster", peers.join(",")),
                ("logger", "zap".into()),
                ("log-level", "error".into()),
                ("pre-vote", "true".into()),
            ];
            let arguments = arguments.map(|(name, value)| format!("--{name}={value}"));
            let starter = if starter.is_empty() { &["etcd"] } else { starter };
            let words = starter.iter().chain(more).map(|&word| word.to_string()).chain(arguments);
            let mut member =
                Member { child: None, words: words.collect(), address: client, id: String::new() };
            member.start()?;
            net.peer_door(door, format!("n{number}"), peer);
            members.push(member);
        }
        let mut cluster = Cluster { members, net, _data: data };
        cluster.leader().await?;
        for member in &mut cluster.members {
            member.id =
                format!("{:x}", until("a member says who it is", id_of(member.address)).await?);
        }
        Ok(cluster)
    }

    /// The number of the member that leads, when there is one that can.
    pub(crate) async fn leader(&self) -> Outcome<usize> {
        let found = async {
            loop {
                for (number, member) in self.members.iter().enumerate() {
                    if leads(member).await == Some(true) {
                        return number;
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(NEVER, found).await.map_err(|_| "never: a leader".into())
    }

    /// Change what members say to one another: all that `which` says of (from, to).
    pub(crate) fn between_members(
        &self,
        which: impl Fn(usize, usize) -> bool,
        change: impl Fn(&mut crate::net::Flow),
    ) {
        let count = self.members.len();
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            if from != to && which(from, to) {
                // Connections that it made, and such that the other made.
                self.net.change(&self.members[from].id, &format!("n{to}"), &change);
                self.net.change(&format!("n{from}"), &self.members[to].id, &change);
            }
        }
    }

    /// The entries of live requests: (name, ticket) of each key.
    pub(crate) async fn entries(&self) -> Outcome<Vec<(String, i64)>> {
        until("the entries are read", async || {
            let mut client = self.members[self.leader().await.ok()?].client().await.ok()?;
            let all = GetOptions::new().with_prefix().with_keys_only();
            let asked = client.get("/treelock/", Some(all));
            let found = timeout(Duration::from_secs(2), asked).await.ok()?.ok()?;
            let keys = found
                .kvs()
                .iter()
                .map(|kv| (String::from_utf8_lossy(kv.key()).into_owned(), kv.create_revision()));
            Some(keys.filter(|(key, _)| key.contains('!')).collect())
        })
        .await
    }

    /// The revision now.
    pub(crate) async fn revision(&self) -> Outcome<i64> {
        until("the revision is read", async || {
            let mut client = self.members[self.leader().await.ok()?].client().await.ok()?;
            let found = timeout(Duration::from_secs(2), client.get("x", None)).await.ok()?.ok()?;
            Some(found.header()?.revision())
        })
        .await
    }
}

fn id_of(address: SocketAddr) -> impl AsyncFn() -> Option<u64> {
    async move || {
        let mut client = Client::connect([format!("http://{address}")], None).await.ok()?;
        let status = timeout(Duration::from_secs(1), client.status()).await.ok()?.ok()?;
        Some(status.header()?.member_id())
    }
}

async fn leads(member: &Member) -> Option<bool> {
    let asked = async {
        let mut client = member.client().await.ok()?;
        let status = client.status().await.ok()?;
        // One that was cut off may believe that it leads; it cannot read.
        client.get("x", None).await.ok()?;
        Some(status.header()?.member_id() == status.leader())
    };
    timeout(Duration::from_millis(500), asked).await.ok()?
}

/// Ask until there is an answer.
pub(crate) async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> Outcome<T> {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(NEVER, asked).await.map_err(|_| format!("never: {what}"))
}
