//! How a role is seen by others while it runs: a member to its kind, a micro service to operators.

use std::error::Error;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::connect::Broker;
use crate::membership::View;
use crate::service::Service;

/// What runs beside a role. Dropping it ends both at once; the member is then forgotten by itself.
#[derive(Debug)]
pub struct Presence {
    tasks: JoinSet<()>,
    end: CancellationToken,
}

impl Broker {
    /// Makes a role seen: until `stop` as a member, which then says goodbye, and until
    /// [`Presence::end`] as a service, so that operators see the drain. The receiver shows the
    /// members of the role; dropped, they are not read.
    pub fn appear(
        &self,
        service: Service,
        stop: CancellationToken,
    ) -> (Presence, watch::Receiver<View>) {
        let (membership, views) = self.membership(service.role);
        let end = CancellationToken::new();
        let (broker, until) = (self.clone(), end.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut both = JoinSet::new();
            both.spawn(membership.run(stop));
            both.spawn(async move {
                if let Err(error) = broker.serve(service, until).await {
                    let error = &error as &dyn Error;
                    tracing::warn!(error, "not to be found as a micro service");
                }
            });
            while let Some(ended) = both.join_next().await {
                report(ended);
            }
        });
        (Presence { tasks, end }, views)
    }
}

impl Presence {
    /// Ends the service, and waits for the member's goodbye.
    pub async fn end(mut self) {
        self.end.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            report(ended);
        }
    }
}

/// The role goes on: it is only not seen any more.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the process is no longer seen by others");
    }
}
