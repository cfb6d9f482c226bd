//! The clients: treelock, etcd's own lock, and the least that any client must send.

use std::sync::Arc;

use etcd_client::{Client as Etcd, KvClient, LockClient, LockOptions, PutOptions};
use treelock::Request;
use treelock_etcd::{EtcdLock, Guard, Options};

use super::server::{Cluster, RUNTIME};

/// How many tasks want the lock at once, in all contended or concurrent workloads.
pub(super) const CROWD: usize = 16;

/// How long the peers' leases live, in seconds: long enough that they need not be renewed.
const LEASE: i64 = 36_000;

/// What is locked: a request for clients that support trees, and a name for the others.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) request: Request,
}

impl Place {
    /// Returns a write lock on `path`.
    pub(super) fn write(path: &str) -> Place {
        let request = Request::new().write(path).expect("the path is valid");
        Place { name: format!("etcd-lock{path}"), request }
    }

    /// Returns a read lock on `path`.
    pub(super) fn read(path: &str) -> Place {
        let request = Request::new().read(path).expect("the path is valid");
        Place { request, ..Place::write(path) }
    }
}

/// One client, with its own connection and lease.
pub(super) trait Client: Send + Sync + Sized + 'static {
    /// Its name in the tables.
    const NAME: &'static str;

    /// What a holder has.
    type Held: Send;

    fn connect(cluster: &Cluster) -> impl Future<Output = Self> + Send;

    fn acquire(&self, place: &Place) -> impl Future<Output = Self::Held> + Send;

    /// Releases, and returns when etcd has confirmed it.
    fn release(&self, held: Self::Held) -> impl Future<Output = ()> + Send;
}

/// Returns `count` connected clients.
pub(super) fn clients<C: Client>(cluster: &Cluster, count: usize) -> Vec<Arc<C>> {
    let connect = |number: usize| {
        RUNTIME.block_on(async {
            let client = C::connect(cluster).await;
            // After this, everything that happens only once has happened.
            let warm_up = Place::write(&format!("/warm-up/{number}"));
            client.release(client.acquire(&warm_up).await).await;
            Arc::new(client)
        })
    };
    (0..count).map(connect).collect()
}

/// treelock: a handle with its session.
impl Client for EtcdLock {
    const NAME: &'static str = "treelock";

    type Held = Guard;

    async fn connect(cluster: &Cluster) -> EtcdLock {
        EtcdLock::new(&Options::new(&cluster.endpoints))
    }

    async fn acquire(&self, place: &Place) -> Guard {
        EtcdLock::acquire(self, &place.request).await.expect("etcd is there")
    }

    async fn release(&self, held: Guard) {
        held.release().await;
    }
}

/// etcd's Lock API.
pub(super) struct LockApi {
    client: LockClient,
    lease: i64,
}

impl Client for LockApi {
    const NAME: &'static str = "etcd's Lock API";

    type Held = Vec<u8>;

    async fn connect(cluster: &Cluster) -> LockApi {
        let (client, lease) = connect(cluster).await;
        LockApi { client: client.lock_client(), lease }
    }

    async fn acquire(&self, place: &Place) -> Vec<u8> {
        let options = LockOptions::new().with_lease(self.lease);
        let locked = self.client.clone().lock(place.name.as_str(), Some(options)).await;
        locked.expect("etcd is there").key().into()
    }

    async fn release(&self, held: Vec<u8>) {
        self.client.clone().unlock(held).await.expect("etcd is there");
    }
}

/// The floor: a key is put and deleted. Locks nothing.
pub(super) struct TwoWrites {
    client: KvClient,
    lease: i64,
}

impl Client for TwoWrites {
    const NAME: &'static str = "a put and a delete";

    type Held = String;

    async fn connect(cluster: &Cluster) -> TwoWrites {
        let (client, lease) = connect(cluster).await;
        TwoWrites { client: client.kv_client(), lease }
    }

    async fn acquire(&self, place: &Place) -> String {
        let options = PutOptions::new().with_lease(self.lease);
        let put = self.client.clone().put(place.name.as_str(), "", Some(options)).await;
        put.expect("etcd is there");
        place.name.clone()
    }

    async fn release(&self, held: String) {
        self.client.clone().delete(held, None).await.expect("etcd is there");
    }
}

async fn connect(cluster: &Cluster) -> (Etcd, i64) {
    // Connects to one member, the same one that treelock uses as long as it answers.
    let connected = Etcd::connect(&cluster.endpoints[..1], None).await;
    let mut client = connected.expect("etcd is there");
    let lease = client.lease_grant(LEASE, None).await.expect("etcd is there").id();
    (client, lease)
}
