//! Clusters of the tests' own.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// One etcd, killed with its cluster.
pub(crate) struct Member {
    child: Child,
    arguments: Vec<String>,
    pub(crate) endpoint: String,
}

impl Member {
    /// `None` if there is no etcd on this machine.
    pub(crate) fn start(endpoint: String, arguments: Vec<String>) -> Option<Member> {
        Some(Member { child: run(&arguments)?, arguments, endpoint })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("our child");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }

    pub(crate) fn start_again(&mut self) {
        self.child = run(&self.arguments).expect("it was there before");
    }
}

fn run(arguments: &[String]) -> Option<Child> {
    let mut command = Command::new("etcd");
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok()
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    _data: TempDir,
}

/// A port of 127.0.0.1 that is free now. Another process may take it before the member does; the
/// member then does not start, and its test says so.
pub(crate) fn free_url(scheme: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("{scheme}://{}", listener.local_addr().expect("it is bound"))
}

impl Cluster {
    /// A cluster of so many members. Says so and returns `None` if there is no etcd on this
    /// machine.
    pub(crate) fn start(count: usize) -> Option<Cluster> {
        Cluster::start_with(count, "http", &[])
    }

    /// A cluster whose clients come by this scheme, and whose members are given these arguments,
    /// too.
    pub(crate) fn start_with(count: usize, scheme: &str, more: &[String]) -> Option<Cluster> {
        let data = tempfile::tempdir().expect("a place for temporary files");
        let urls: Vec<[String; 2]> =
            (0..count).map(|_| [free_url(scheme), free_url("http")]).collect();
        let all: Vec<String> = urls
            .iter()
            .enumerate()
            .map(|(number, [_, peer])| format!("n{number}={peer}"))
            .collect();
        let member = |(number, [client, peer]): (usize, &[String; 2])| {
            let data = data.path().join(format!("n{number}"));
            let arguments = [
                ("name", format!("n{number}")),
                ("data-dir", data.display().to_string()),
                ("listen-client-urls", client.clone()),
                ("advertise-client-urls", client.clone()),
                ("listen-peer-urls", peer.clone()),
                ("initial-advertise-peer-urls", peer.clone()),
                ("initial-cluster", all.join(",")),
                ("log-level", "error".into()),
                ("heartbeat-interval", "50".into()),
                ("election-timeout", "500".into()),
                ("pre-vote", "true".into()),
            ];
            let arguments = arguments.map(|(name, value)| format!("--{name}={value}"));
            Member::start(client.clone(), [&arguments[..], more].concat())
        };
        let members: Option<Vec<Member>> = urls.iter().enumerate().map(member).collect();
        if members.is_none() {
            eprintln!(
                "SKIPPED: there is no `etcd` in the PATH; on Debian: apt-get install etcd-server"
            );
        }
        Some(Cluster { members: members?, _data: data })
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.endpoint.clone()).collect()
    }
}

/// The runtime of all tests.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("threads")
    })
}
