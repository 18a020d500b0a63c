//! What operators do, through a second connection: to pause and to resume.
//!
//! The broker's user `api` has no right to any of it, and gets none: whoever takes over a process
//! that stands in the internet could stop every push. A process that may do it is given a connection
//! of its own, with the user `ops`; every other one answers these routes `501 not_configured`.
//!
//! Where no keys are asked for, a page in a browser on the same machine must not be able to operate.
//! It is not: every one of these routes is a `PUT`, a `DELETE`, or a `POST` with a body of JSON. None
//! of them is a "simple" request (Fetch, section 3.2), so a browser asks first, with an `OPTIONS`
//! that this API grants only to origins that its configuration names; and a name that points to this machine is refused
//! (`access.rs`). A header of our own would add nothing.

pub(crate) mod pause;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use fanfare_nats::Broker;
use tokio_util::sync::CancellationToken;

use crate::problem::{Kind, Problem};

/// How the connection of operators comes about. It is tried while the API serves already: whoever
/// registers devices does not wait for it.
pub struct Operator(Pin<Box<dyn Future<Output = Broker> + Send>>);

impl Operator {
    /// The future is asked once, and dropped when the API ends before it has an answer.
    pub fn new(connecting: impl Future<Output = Broker> + Send + 'static) -> Self {
        Self(Box::pin(connecting))
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").finish_non_exhaustive()
    }
}

/// The connection of operators, for handlers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operating {
    is_configured: bool,
    broker: Arc<OnceLock<Broker>>,
}

impl Operating {
    /// The place of a connection that is to come, and what brings it.
    pub(crate) fn of(
        operator: Option<Operator>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        let operating = Self {
            is_configured: operator.is_some(),
            broker: Arc::default(),
        };
        let place = operating.broker.clone();
        let comes = async move {
            let Some(Operator(connecting)) = operator else {
                return;
            };
            if let Some(broker) = stop.run_until_cancelled(connecting).await {
                tracing::info!("this API can operate: pauses and replays");
                // Nobody else sets it.
                let _set = place.set(broker);
            }
        };
        (operating, comes)
    }

    /// The connection.
    pub(crate) fn broker(&self) -> Result<&Broker, Problem> {
        if !self.is_configured {
            return Err(Problem::new(
                Kind::NotConfigured,
                "this process may not operate: ask one that is configured with `[api.operate]`, or \
                 use the command line",
            ));
        }
        self.broker.get().ok_or_else(|| {
            Problem::new(
                Kind::BrokerUnavailable,
                "there is no connection for operators yet; nothing was changed",
            )
        })
    }
}
