//! A proxy that understands gRPC enough to lose one answer: the call is carried out, and who asked
//! is not told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest, server::SendResponse};
use http::{Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// The calls of one acquire and release, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Grant,
    Session,
    /// What the session reads when it begins to watch: what was said to it.
    Said,
    Enter,
    Verify,
    Watch,
    KeepAlive,
    Release,
    Cancel,
}

/// What becomes of an answer that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The connection is closed, so who asked knows that something went wrong.
    Cut,
    /// Nothing comes, ever.
    Silence,
    /// The call itself is held back, and only carried out when it is let go: a late copy of what
    /// the client has asked elsewhere since.
    Late,
}

/// Which call this is. A transaction is told by what it names: sessions, entries, or the value of
/// an entry.
fn which(path: &str, message: &[u8]) -> Option<Call> {
    let names = |text: &str| message.windows(text.len()).any(|part| part == text.as_bytes());
    match path.rsplit('/').next()? {
        "LeaseGrant" => Some(Call::Grant),
        "LeaseKeepAlive" => Some(Call::KeepAlive),
        "Range" if names("/S/") => Some(Call::Said),
        "Range" => Some(Call::Verify),
        "Watch" => Some(Call::Watch),
        "Txn" if names("nonce") => Some(Call::Enter),
        "Txn" if names("/S/") && names("/W/") => Some(Call::Cancel),
        "Txn" if names("/S/") => Some(Call::Session),
        "Txn" => Some(Call::Release),
        _ => None,
    }
}

/// What is to be lost, and what was.
#[derive(Clone, Default)]
pub(crate) struct Losses {
    wanted: Arc<Mutex<Vec<(Call, Loss)>>>,
    lost: watch::Sender<Vec<Call>>,
    cuts: watch::Sender<u64>,
    /// Whether late calls may go, and how many have been carried out.
    are_let_go: watch::Sender<bool>,
    late: watch::Sender<usize>,
    /// How many connections there were.
    connections: Arc<AtomicUsize>,
}

impl Losses {
    /// Lose these from now on.
    pub(crate) fn want(&self, wanted: Vec<(Call, Loss)>) {
        *self.wanted.lock().expect("nobody panics") = wanted;
    }

    /// How many connections there were to all doors.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until the answers of these calls were lost, each as often as it is named.
    pub(crate) async fn are_lost(&self, calls: &[Call]) {
        let count = |all: &[Call], call| all.iter().filter(|other| **other == call).count();
        let all =
            |lost: &Vec<Call>| calls.iter().all(|call| count(lost, *call) >= count(calls, *call));
        let _ = self.lost.subscribe().wait_for(all).await;
    }

    /// Let all late calls go; waits until so many were carried out.
    pub(crate) async fn let_go(&self, count: usize) {
        self.are_let_go.send_replace(true);
        let _ = self.late.subscribe().wait_for(|late| *late == count).await;
    }

    fn take(&self, call: Option<Call>, is_late: bool) -> Option<Loss> {
        let call = call?;
        let mut wanted = self.wanted.lock().expect("nobody panics");
        let is_it =
            |(wanted, loss): &(Call, Loss)| *wanted == call && (*loss == Loss::Late) == is_late;
        let place = wanted.iter().position(is_it)?;
        let (_, loss) = wanted.remove(place);
        self.lost.send_modify(|lost| lost.push(call));
        if loss == Loss::Cut {
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
        Some(loss)
    }

    /// A door to a member, in which the answers are lost. Returns its address.
    pub(crate) async fn door(&self, to: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let losses = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                losses.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, to, losses.clone()));
            }
        });
        address
    }
}

/// One connection, until an end of it closes or it is cut.
async fn serve(near: TcpStream, to: SocketAddr, losses: Losses) -> Option<()> {
    let far = TcpStream::connect(to).await.ok()?;
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let mut cuts = losses.cuts.subscribe();
    let born = *cuts.borrow_and_update();
    let mut near = h2::server::handshake(near).await.ok()?;
    let (send, connection) = h2::client::handshake(far).await.ok()?;
    // What is late outlives the connection of its client.
    tokio::spawn(async move { connection.await.ok() });
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            accepted = near.accept() => {
                let (request, respond) = accepted?.ok()?;
                calls.spawn(call(send.clone(), request, respond, losses.clone()));
            }
            _ = cuts.wait_for(|cuts| *cuts != born) => return None,
        }
    }
}

/// One call, from its first message to its end.
async fn call(
    send: SendRequest<Bytes>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    losses: Losses,
) -> Option<()> {
    let (head, mut asks) = request.into_parts();
    let first = asks.data().await?.ok()?;
    asks.flow_control().release_capacity(first.len()).ok()?;
    let which = which(head.uri.path(), &first);
    let mut send = send.ready().await.ok()?;
    if losses.take(which, true).is_some() {
        // By itself, since its client may close the connection, and it comes all the same.
        tokio::spawn(late(send, Request::from_parts(head, ()), first, losses));
        return std::future::pending().await;
    }
    let (answer, mut up) = send.send_request(Request::from_parts(head, ()), false).ok()?;
    up.send_data(first, asks.is_end_stream()).ok()?;
    let asking = async {
        if !asks.is_end_stream() && pass(asks, &mut up, || false).await.is_none() {
            up.send_reset(h2::Reason::CANCEL);
        }
        std::future::pending::<()>().await;
    };
    let answering = async {
        let (head, answers) = answer.await.ok()?.into_parts();
        let is_over = answers.is_end_stream();
        let mut down = respond.send_response(Response::from_parts(head, ()), is_over).ok()?;
        if !is_over {
            pass(answers, &mut down, || losses.take(which, false).is_some()).await?;
        }
        Some(())
    };
    tokio::select! {
        done = answering => done,
        () = asking => None,
    }
}

/// Hold a call of one message back, and have it carried out when it is let go, whatever its client
/// does meanwhile.
async fn late(
    mut send: SendRequest<Bytes>,
    request: Request<()>,
    message: Bytes,
    losses: Losses,
) -> Option<()> {
    losses.are_let_go.subscribe().wait_for(|go| *go).await.ok()?;
    let (answer, mut up) = send.send_request(request, false).ok()?;
    up.send_data(message, true).ok()?;
    let mut answers = answer.await.ok()?.into_body();
    while let Some(data) = answers.data().await {
        answers.flow_control().release_capacity(data.ok()?.len()).ok()?;
    }
    losses.late.send_modify(|late| *late += 1);
    Some(())
}

/// Pass one direction of a call on until its end. Of what is lost, and what comes after it, nothing
/// is.
async fn pass(
    mut from: RecvStream,
    to: &mut SendStream<Bytes>,
    is_lost: impl Fn() -> bool,
) -> Option<()> {
    while let Some(data) = from.data().await {
        let data = data.ok()?;
        from.flow_control().release_capacity(data.len()).ok()?;
        if is_lost() {
            std::future::pending::<()>().await;
        }
        to.send_data(data, false).ok()?;
    }
    match from.trailers().await.ok()? {
        Some(trailers) => to.send_trailers(trailers).ok(),
        None => to.send_data(Bytes::new(), true).ok(),
    }
}
