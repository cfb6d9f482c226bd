//! Which member leads a cluster, and which does not vote in it. Apart from `server.rs`, which the
//! command's tests use too, without the client library.

use std::path::Path;

use etcd_client::{Client, MemberAddOptions};

use crate::server::{Cluster, Member, free_url};

impl Cluster {
    /// The number of the member that leads.
    pub(crate) async fn leader(&self) -> usize {
        loop {
            for (number, member) in self.members.iter().enumerate() {
                let Ok(mut client) = Client::connect([&member.endpoint], None).await else {
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

    /// Adds a member that does not vote, with its data there, to a cluster of one.
    pub(crate) async fn add_learner(&mut self, data: &Path) {
        self.leader().await;
        let mut client = Client::connect(self.endpoints(), None).await.expect("it runs");
        let [url, peer] = [free_url("http"), free_url("http")];
        let learner = Some(MemberAddOptions::new().with_is_learner());
        let added = client.member_add([&peer], learner).await.expect("it works");
        let members = added.member_list().iter().map(|member| match member.name() {
            "" => format!("learner={peer}"),
            name => format!("{name}={}", member.peer_urls()[0]),
        });
        let all = members.collect::<Vec<_>>().join(",");
        let arguments = [
            "--name=learner".into(),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={all}"),
            "--initial-cluster-state=existing".into(),
            "--log-level=error".into(),
        ];
        let started = Member::start(url, arguments.into());
        self.members.push(started.expect("the first one was started"));
    }
}
