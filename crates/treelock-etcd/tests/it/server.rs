//! An etcd of the tests' own.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A cluster of one member, killed with the last test.
pub(crate) struct Server {
    child: Child,
    _data: TempDir,
    pub(crate) endpoint: String,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

impl Server {
    pub(crate) fn start() -> Option<Server> {
        let data = tempfile::tempdir().expect("a place for temporary files");
        let [client, peer] =
            [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = Command::new("etcd");
        command.args(["--name", "n1", "--log-level", "error", "--data-dir"]).arg(data.path());
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("n1={peer}"), "--unsafe-no-fsync"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().ok()?;
        Some(Server { child, _data: data, endpoint: client })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
