//! Who leads a cluster. Beside `server.rs`, which the command's tests use too, without the client library.

use crate::server::Cluster;

impl Cluster {
    /// The number of the member that leads.
    pub(crate) async fn leader(&self) -> usize {
        loop {
            for (number, member) in self.members.iter().enumerate() {
                let Ok(mut client) = etcd_client::Client::connect([&member.endpoint], None).await
                else {
                    continue;
                };
                let asked =
                    tokio::time::timeout(std::time::Duration::from_secs(1), client.status()).await;
                if let Ok(Ok(status)) = asked
                    && status.header().is_some_and(|header| header.member_id() == status.leader())
                {
                    return number;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}
