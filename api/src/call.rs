//! One bounded call to the broker.

use std::error::Error;
use std::time::Duration;

use fanfare_nats::Broker;
use rand::Rng;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::problem::{Kind, Problem};

/// How long a request waits for the broker: long enough for a stream that is busy, shorter than an
/// election, which the client sits out.
pub(crate) const BUDGET: Duration = Duration::from_secs(4);

/// How long one request looks through a stream before it hands out a cursor: well within [`BUDGET`],
/// however slow the broker is at the moment.
pub(crate) const LOOKING: Duration = Duration::from_millis(1500);

/// Runs a call and waits at most [`BUDGET`]. Without a connection nothing is sent: the client
/// library would keep the request and send it later, after we said no.
///
/// Whoever gets the problem because time was over does not know what became of a write.
pub(crate) async fn bounded<T>(
    broker: &Broker,
    call: impl Future<Output = Result<T, Problem>>,
    unknown: impl FnOnce() -> Problem,
) -> Result<T, Problem> {
    if !broker.is_connected() {
        let problem = Problem::new(
            Kind::BrokerUnavailable,
            "there is no connection to the broker; nothing was stored",
        );
        return Err(problem.having_done_nothing());
    }
    match timeout(BUDGET, call).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(unknown()),
    }
}

/// The broker gave no final answer to something that may be repeated as it is.
pub(crate) fn unavailable(error: &(dyn Error + 'static)) -> Problem {
    tracing::debug!(error, "the broker gave no final answer");
    no_answer()
}

/// The same where no error says more.
pub(crate) fn no_answer() -> Problem {
    Problem::new(
        Kind::BrokerUnavailable,
        "the broker gave no final answer; send the same request again",
    )
}

/// The broker refuses for good: an operator has to act, the client can only come again.
pub(crate) fn refused(error: &(dyn Error + 'static)) -> Problem {
    tracing::error!(error, "the broker refuses a write of the API");
    let problem = Problem::new(
        Kind::BrokerUnavailable,
        "the broker refuses the write; nothing was stored",
    );
    problem.having_done_nothing()
}

/// How long something is tried again that belongs to a longer work: an election is sat out.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tries again while the refusal is a passing one, for half a minute, or until `stop`.
///
/// # Errors
/// The last refusal.
pub(crate) async fn patiently<T, F>(
    stop: &CancellationToken,
    mut call: impl FnMut() -> F,
) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Problem>>,
{
    let until = Instant::now() + PATIENCE;
    loop {
        match call().await {
            Err(problem) if problem.is_passing() && Instant::now() < until => {
                let pause = Duration::from_millis(rand::rng().random_range(200..=600));
                if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                    return Err(problem);
                }
            }
            answer => return answer,
        }
    }
}
