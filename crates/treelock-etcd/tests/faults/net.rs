//! The network between clients and members, and between members: TCP proxies whose every direction
//! can be slowed, made lossy, or cut.
//!
//! A TCP proxy sees no packets, so faults are what TCP makes of them. **Cut**: nothing arrives, and
//! nobody is told; what was sent arrives after the cut is healed, as after a retransmission.
//! **Loss** of 30 %: each chunk that is read is held back, and all behind it, for 200 ms with a
//! probability of 0.3, for 400 ms more with 0.3 of that, and so on, as a sender's retransmission
//! timer does it. **Reset**: both ends see their connection closed. Members all reach a member by
//! one address; who it is says the header that etcd sends first.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::sleep,
};

/// How long a chunk is held back if it is lost once.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// What happens to what goes from one place to another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) cut: bool,
    pub(crate) delay: Duration,
    pub(crate) loss: f64,
    /// Counts how often its connections were reset.
    resets: u64,
}

/// Where it comes from and where it goes to.
type Ends = (String, String);

/// All flows of one cluster.
#[derive(Clone, Default)]
pub(crate) struct Net(Arc<Mutex<HashMap<Ends, watch::Sender<Flow>>>>);

impl Net {
    fn sender(&self, from: &str, to: &str) -> watch::Sender<Flow> {
        let mut flows = self.0.lock().expect("nobody panics");
        flows.entry((from.into(), to.into())).or_default().clone()
    }

    /// Change what goes from one to the other.
    pub(crate) fn change(&self, from: &str, to: &str, change: impl FnOnce(&mut Flow)) {
        self.sender(from, to).send_modify(change);
    }

    /// Close the connections between two, or all that are.
    pub(crate) fn reset(&self, from: &str, to: &str) {
        self.change(from, to, |flow| flow.resets += 1);
    }

    /// All is as it was.
    pub(crate) fn heal(&self) {
        for flow in self.0.lock().expect("nobody panics").values() {
            flow.send_modify(|flow| *flow = Flow { resets: flow.resets, ..Flow::default() });
        }
    }

    /// A door for one client to one member. Returns its address.
    pub(crate) async fn client_door(
        &self,
        client: String,
        member: String,
        to: SocketAddr,
    ) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let net = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(net.clone().join(stream, to, client.clone(), member.clone(), vec![]));
            }
        });
        address
    }

    /// The door through which all other members reach one.
    pub(crate) fn peer_door(
        &self,
        listener: std::net::TcpListener,
        member: String,
        to: SocketAddr,
    ) {
        listener.set_nonblocking(true).expect("a listener");
        let listener = TcpListener::from_std(listener).expect("a listener");
        let net = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (net, member) = (net.clone(), member.clone());
                tokio::spawn(async move {
                    let mut stream = stream;
                    let Some((head, from)) = who_dials(&mut stream).await else { return };
                    net.join(stream, to, from, member, head).await;
                });
            }
        });
    }

    async fn join(
        self,
        near: TcpStream,
        to: SocketAddr,
        from: String,
        member: String,
        head: Vec<u8>,
    ) {
        let Ok(far) = TcpStream::connect(to).await else { return };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (there, back) = (self.sender(&from, &member), self.sender(&member, &from));
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        // One end closes the other.
        tokio::select! {
            () = carry(near_read, far_write, there.subscribe(), head) => {}
            () = carry(far_read, near_write, back.subscribe(), vec![]) => {}
        }
    }
}

/// The first bytes of a member's connection, and the name of the member; `?` if they name none.
async fn who_dials(stream: &mut TcpStream) -> Option<(Vec<u8>, String)> {
    let mut head = Vec::new();
    let ends = |head: &[u8]| head.windows(4).any(|bytes| bytes == b"\r\n\r\n");
    while !ends(&head) && head.len() < 8_192 {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let from = text.lines().find_map(|line| line.strip_prefix("x-server-from:"));
    let name = from.map_or("?", str::trim).to_string();
    Some((head, name))
}

/// Carry one direction of a connection until it ends or is reset.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut flow: watch::Receiver<Flow>,
    head: Vec<u8>,
) {
    let born = flow.borrow().resets;
    let mut is_reset = flow.clone();
    let carried = async {
        if to.write_all(&head).await.is_err() {
            return;
        }
        let mut buffer = vec![0; 16_384];
        loop {
            let count = from.read(&mut buffer).await.unwrap_or(0);
            let now = *flow.borrow();
            sleep(pause(now)).await;
            // An end is not seen through a cut, either.
            if flow.wait_for(|flow| !flow.cut).await.is_err() || count == 0 {
                return;
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = carried => {}
        _ = is_reset.wait_for(|flow| flow.resets != born) => {}
    }
}

fn pause(flow: Flow) -> Duration {
    let mut pause = flow.delay;
    let mut again = RETRANSMISSION;
    while fastrand::f64() < flow.loss {
        pause += again;
        again *= 2;
    }
    pause
}
