//! How one request is asked for, from its first poll until it is granted or given up.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{oneshot, watch};
use treelock::{Access, Node, Request};

use crate::{
    call::{Answered, Call, TakenOver},
    clock::since_1970,
    cluster::failure::judge,
    enter::ASK,
    error::Error,
    guard::Guard,
    key::{are_its_own, essential, root_text},
    live::Live,
    protocol::{blockers::Blockers, wish::OPERATIONS_MAX},
    runtime::{caller::CallerConnection, work::Work},
    session::{Session, slots::Slot},
    shared::Shared,
    turn::Turn,
    value::Value,
};

/// How often a try is repeated when it was refused, and then nobody was found to be in the way any
/// more.
const TRY_ATTEMPTS_MAX: usize = 10;

/// What a future and the task that asks for it tell each other.
#[derive(Default)]
pub(crate) struct Asked {
    /// 0 until it is known.
    ticket: AtomicU64,
    /// The request shall not wait, or not any longer.
    has_given_up: watch::Sender<bool>,
}

impl Asked {
    /// Returns that of a request that does not wait.
    pub(crate) fn without_waiting() -> Arc<Asked> {
        let asked = Asked::default();
        asked.give_up();
        Arc::new(asked)
    }

    pub(crate) fn ticket(&self) -> Option<u64> {
        Some(self.ticket.load(Ordering::Acquire)).filter(|ticket| *ticket != 0)
    }

    fn set_ticket(&self, ticket: u64) {
        self.ticket.store(ticket, Ordering::Release);
    }

    /// Tells the task to stop waiting.
    pub(crate) fn give_up(&self) {
        self.has_given_up.send_replace(true);
    }

    fn has_given_up(&self) -> bool {
        *self.has_given_up.borrow()
    }

    /// Waits until the request shall not wait any longer.
    async fn given_up(&self) {
        // The sender lives as long as `self`.
        let _ = self.has_given_up.subscribe().wait_for(|given_up| *given_up).await;
    }
}

/// Asks for `request`: by a call of the caller's runtime if that can make one, and otherwise by our
/// thread.
pub(crate) async fn ask(
    shared: Arc<Shared>,
    request: Request,
    asked: Arc<Asked>,
) -> Result<Guard, Error> {
    let asking = Asking { may_wait: !asked.has_given_up(), shared, asked };
    if let Some(connection) = asking.shared.pool.servers.caller_connection()
        && let Some(turn) = asking.turn_at_hand(&request)
    {
        return asking.ask_by_caller(connection, turn).await;
    }
    let there = asking.clone();
    let granted = async move {
        let turn = there.turn(request).await?;
        there.granted(turn).await
    };
    asking.shared.work(granted)?.await
}

/// What is needed to ask for one request.
#[derive(Clone)]
struct Asking {
    shared: Arc<Shared>,
    asked: Arc<Asked>,
    /// Whether it waits if somebody is in the way.
    may_wait: bool,
}

impl Asking {
    /// Makes the one call that enters it, in the caller's runtime. If it is granted by that,
    /// nothing else is done.
    async fn ask_by_caller(
        self,
        connection: CallerConnection,
        mut turn: Turn,
    ) -> Result<Guard, Error> {
        let Some(txn) = turn.ask() else { return self.go_on(turn)?.await };
        let (taken_over, taken) = oneshot::channel();
        let there = self.clone();
        let take_over = move |mut turn: Turn| {
            turn.asked_in_vain();
            let _ = taken_over.send(there.go_on(turn));
        };
        let (background, slot) = (turn.background().clone(), turn.slot.clone());
        let call = Call::begin(background, turn, Box::new(take_over), None);
        slot.set_call(call.pending());
        let Answered { answer, item: mut turn, .. } = match call.make(&connection, txn, taken).await
        {
            Ok(answered) => answered,
            Err(TakenOver(there)) => {
                drop(connection);
                return there.unwrap_or(Err(Error::Lost))?.await;
            }
        };
        drop(connection);
        let is_granted = turn.asked(answer.map_err(|error| judge(ASK, &error)))?;
        self.asked.set_ticket(turn.ticket());
        match is_granted {
            true => Guard::new(turn),
            false => self.go_on(turn)?.await,
        }
    }

    /// Goes on with it in our thread.
    fn go_on(&self, turn: Turn) -> Result<Work<Result<Guard, Error>>, Error> {
        let there = self.clone();
        self.shared.work(async move { there.granted(turn).await })
    }

    /// Returns the guard when it is granted.
    async fn granted(&self, mut turn: Turn) -> Result<Guard, Error> {
        if !self.may_wait {
            return self.try_now(turn).await;
        }
        let blockers = turn.enter().await?;
        self.asked.set_ticket(turn.ticket());
        let Some(blockers) = blockers else { return Err(Error::Lost) };
        tokio::select! {
            biased;
            waited = self.wait(&turn, blockers) => {
                waited?;
                return Guard::new(turn);
            }
            () = self.asked.given_up() => {}
        }
        self.leave(turn).await
    }

    /// Waits until nobody is in the way.
    async fn wait(&self, turn: &Turn, blockers: Blockers) -> Result<(), Error> {
        self.shared.count_rescued(turn.wait(blockers).await?);
        Ok(())
    }

    /// Leaves the line, and says who was in the way. If nobody is any more, returns the guard.
    async fn leave(&self, turn: Turn) -> Result<Guard, Error> {
        let namespace = self.shared.namespace();
        match namespace.in_the_way(turn.request(), turn.ticket()).await? {
            Some(blocked) => {
                turn.leave_soon().await;
                Err(blocked.into())
            }
            // Those in the way only become fewer, so it is granted and only has to be seen.
            None => turn.nobody_is_in_the_way().await.and_then(|()| Guard::new(turn)),
        }
    }

    async fn try_now(&self, mut turn: Turn) -> Result<Guard, Error> {
        for _ in 0..TRY_ATTEMPTS_MAX {
            if turn.enter().await?.is_some() {
                return Guard::new(turn);
            }
            let request = turn.request().clone();
            turn.leave_soon().await;
            // All of them may have left just now.
            let namespace = self.shared.namespace();
            if let Some(blocked) = namespace.in_the_way(&request, u64::MAX).await? {
                return Err(blocked.into());
            }
            turn = self.turn(request).await?;
        }
        Err(Error::unreadable("a key"))
    }

    /// Returns the request at a slot of its own, about to be sent.
    async fn turn(&self, request: Request) -> Result<Turn, Error> {
        let roots = roots(&request)?;
        let at = self.shared.pool.slot(roots.len().max(1)).await?;
        Ok(self.turn_at(at, &roots, request))
    }

    /// Does the same, if a session with room for it is open.
    fn turn_at_hand(&self, request: &Request) -> Option<Turn> {
        // If something is wrong with it, `turn` says so.
        let roots = roots(request).ok()?;
        let at = self.shared.pool.slot_at_hand(roots.len().max(1))?;
        Some(self.turn_at(at, &roots, request.clone()))
    }

    fn turn_at(
        &self,
        at: (Arc<Session>, Arc<Slot>),
        roots: &[(Access, Node)],
        request: Request,
    ) -> Turn {
        let is_told_by_keys = roots.len() == request.roots().count() && roots.len() <= 1;
        let label = request.label().map(Into::into);
        let value = Value {
            nonce: 0,
            label: label.or_else(|| self.shared.label.clone()),
            host: self.shared.host.clone(),
            pid: std::process::id(),
            roots: match is_told_by_keys {
                true => Vec::new(),
                false => request.roots().map(root_text).collect(),
            },
            first: None,
            since: since_1970().as_millis() as u64,
        };
        Turn::new(Live::new(at, roots, value, self.may_wait), request)
    }
}

/// Returns the roots that say all that the request locks; an error says why etcd cannot lock it.
fn roots(request: &Request) -> Result<Vec<(Access, Node)>, Error> {
    if !lies_where_its_names_say(request) {
        let what = "in etcd, each root of a request lies where its name says; do not give other \
                    ancestors";
        return Err(Error::Unsupported { what: what.into() });
    }
    let roots = essential(request);
    if roots.len() > OPERATIONS_MAX {
        let what = format!(
            "the request has {} roots, and etcd takes at most {OPERATIONS_MAX} at once; ask for \
             fewer or wider roots",
            roots.len()
        );
        return Err(Error::Unsupported { what });
    }
    Ok(roots)
}

fn lies_where_its_names_say(request: &Request) -> bool {
    let mut places = request.roots().zip(request.given_ancestors());
    places.all(|((_, node), given)| given.is_none_or(|given| are_its_own(node, given)))
}
