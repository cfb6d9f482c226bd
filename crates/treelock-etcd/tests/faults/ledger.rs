//! What the clients say, as it arrives; and the fenced resource that they use, which lives here and
//! not with them.
//!
//! Every leaf of the tree has a [`FenceGate`]. Beside it is a judge that knows no tokens: an access
//! is *stale* if somebody whose lock conflicts, and was granted later, has used the leaf before.
//! The gate must refuse every stale access, and none of a holder that is alive.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
};
use treelock::{Access, FenceGate, FencingToken};

use crate::{
    history::Record,
    wire::{End, Order, Said, What},
};

#[derive(Default)]
struct Leaf {
    gate: FenceGate,
    /// When the locks were granted with which it was last read and written.
    read: u64,
    written: u64,
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) records: Vec<Record>,
    /// Where the record of a client's request is.
    places: HashMap<(u32, u64), usize>,
    /// The last request of each client that is not over.
    open: HashMap<u32, HashSet<usize>>,
    leaves: HashMap<String, Leaf>,
    orders: HashMap<u32, mpsc::UnboundedSender<Order>>,
    pub(crate) settled: HashSet<u32>,
    pub(crate) rescued: u64,
    pub(crate) sections: u64,
    pub(crate) refused: u64,
    /// What the resource should not have done.
    pub(crate) wrong: Vec<String>,
}

/// How far a request has come, as far as is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Enqueuing,
    Waiting,
    Holding,
}

impl Ledger {
    pub(crate) fn order(&self, client: u32, order: Order) {
        if let Some(orders) = self.orders.get(&client) {
            let _ = orders.send(order);
        }
    }

    /// Whether a client has a request that has come so far, and no further, since `since`.
    pub(crate) fn is_at(&self, client: u32, stage: Stage, since: u64) -> bool {
        let open = self.open.get(&client).into_iter().flatten();
        open.map(|place| &self.records[*place]).any(|record| {
            let (at, begun) = match (record.granted, record.entered) {
                (Some(granted), _) => (Stage::Holding, granted),
                (None, Some(entered)) => (Stage::Waiting, entered),
                (None, None) => (Stage::Enqueuing, record.asked),
            };
            at == stage && begun >= since && record.leaves.is_none()
        })
    }

    /// The requests of these clients that are not over, in words.
    pub(crate) fn unfinished(&self, clients: &[u32]) -> String {
        let open = clients.iter().filter_map(|client| self.open.get(client)).flatten();
        open.map(|place| format!("{:?}", self.records[*place])).collect::<Vec<_>>().join("\n")
    }

    fn hear(&mut self, client: u32, said: Said) {
        let Said { request, at, what } = said;
        if let What::Asked { roots, limit } = what {
            let place = self.records.len();
            self.records.push(Record { client, roots, asked: at, limit, ..Record::default() });
            self.places.insert((client, request), place);
            self.open.entry(client).or_default().insert(place);
            return;
        }
        if let What::Settled { rescued } = what {
            self.settled.insert(client);
            self.rescued += rescued;
            return;
        }
        let Some(&place) = self.places.get(&(client, request)) else { return };
        let record = &mut self.records[place];
        let mut holds = |valid: bool| {
            if valid {
                record.held = Some((record.held.map_or(at, |(first, _)| first), at));
            }
        };
        match what {
            What::Entered { ticket } => {
                record.entered = Some(at);
                record.ticket = Some(ticket);
            }
            What::Granted { token, valid } => {
                holds(valid);
                record.granted = Some(at);
                record.ticket = Some(token);
            }
            What::Leaves { valid } => {
                holds(valid);
                record.leaves = Some(at);
            }
            What::Access { write, leaf, token, valid } => {
                holds(valid);
                let accepted = self.access(place, write, &leaf, token, valid);
                self.order(client, Order::Answer { request, accepted });
            }
            What::Ended(end) => {
                self.sections += u64::from(end == End::Left);
                record.ended = Some((at, end));
                self.places.remove(&(client, request));
                self.open.entry(client).or_default().remove(&place);
            }
            What::Hello { .. } | What::Asked { .. } | What::Settled { .. } => {}
        }
    }

    fn access(&mut self, place: usize, write: bool, leaf: &str, token: u64, valid: bool) -> bool {
        let record = &self.records[place];
        let granted = record.granted.unwrap_or(0);
        let used = self.leaves.entry(leaf.into()).or_default();
        let later = if write { used.read.max(used.written) } else { used.written };
        let is_stale = later > granted;
        let access = if write { Access::Write } else { Access::Read };
        let accepted = used.gate.check(access, FencingToken::new(token));
        match &accepted {
            Ok(()) if is_stale => self.wrong.push(format!(
                "a stale {access} of /{leaf} with token {token} was accepted, of {record:?}"
            )),
            Err(stale) if valid && !is_stale => {
                self.wrong.push(format!("a holder was refused: {stale}, of {record:?}"));
            }
            _ => {}
        }
        if accepted.is_ok() {
            let last = if write { &mut used.written } else { &mut used.read };
            *last = granted.max(*last);
        } else {
            self.refused += 1;
        }
        accepted.is_ok()
    }

    /// Write all records to a file that stays, for who wants to see why a run failed.
    pub(crate) fn keep(&self, name: &str) -> String {
        let path = std::env::temp_dir().join(format!("treelock-faults-{name}.txt"));
        let kept = File::create(&path).and_then(|mut file| {
            let mut records = self.records.iter();
            records.try_for_each(|record| {
                std::io::Write::write_fmt(&mut file, format_args!("{record:?}\n"))
            })
        });
        kept.map_or_else(|error| error.to_string(), |()| path.display().to_string())
    }
}

/// Hear all clients that come.
pub(crate) async fn listen(listener: TcpListener, ledger: Arc<Mutex<Ledger>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, ledger.clone()));
    }
}

async fn serve(stream: TcpStream, ledger: Arc<Mutex<Ledger>>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let (read, write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let hello: Said = serde_json::from_str(&lines.next_line().await.ok()??).ok()?;
    let What::Hello { client } = hello.what else { return None };
    let (orders, receiver) = mpsc::unbounded_channel();
    tokio::spawn(command(write, receiver));
    ledger.lock().expect("nobody panics").orders.insert(client, orders);
    // The last line of one that was killed may be half a line.
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(said) = serde_json::from_str(&line) else { break };
        ledger.lock().expect("nobody panics").hear(client, said);
    }
    Some(())
}

async fn command(mut write: OwnedWriteHalf, mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        let mut line = serde_json::to_vec(&order).expect("it is JSON");
        line.push(b'\n');
        if write.write_all(&line).await.is_err() {
            return;
        }
    }
}
