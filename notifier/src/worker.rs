//! One task's message in the hands of one worker, from its taking until it is settled.
//!
//! What is done, and in which order, is decided by [`crate::machine`]; the worker carries it out.

mod admissions;
mod answers;
mod driver;
mod effects;

use std::sync::Arc;

use fanfare_nats::claim::Message;
use fanfare_nats::consumer::Claims;
use fanfare_nats::fail;
use fanfare_nats::receipt::Claim;

use self::driver::Driver;
use crate::config::Sabotage;
use crate::machine::Settle;
use crate::planner;
use crate::shared::{LaneOfProcess, Shared};

/// Works on one message until it is settled.
pub(crate) async fn work(
    shared: Arc<Shared>,
    lane: Arc<LaneOfProcess>,
    claims: Arc<Claims>,
    message: Message,
) {
    let (task, pass) = match message.task(shared.broker.names()) {
        Ok(read) => read,
        Err(error) => match error.later() {
            Some(schema) => return planner::leave(&shared, message, schema).await,
            None => return planner::bury(&shared, message, &error).await,
        },
    };
    fail::point("task.taken");
    shared.metrics.tasks.inc();
    let claim = Claim {
        epoch: claims.epoch(),
        pass,
        message: message.seq(),
        delivered: message.delivered(),
        nonce: rand::random(),
    };
    let ack_wait = claims.ack_wait();
    let driver = Driver::new(shared.clone(), lane, task, claim, ack_wait);
    if shared.config.sabotage == Some(Sabotage::AckEarly) {
        let _acknowledged = message.ack().await;
        let _unheard = driver.run().await;
        return;
    }
    let working = Box::pin(driver.run()); // Large, and once per task.
    match message.extend_while(ack_wait, working).await {
        Settle::Ack => settled(message.ack().await),
        Settle::Terminate => settled(message.terminate().await),
        Settle::Back(delay) => {
            shared.metrics.handed_back.inc();
            message.nak(delay.filter(|it| !it.is_zero())).await;
        }
        Settle::Forget | Settle::StepAside => message.forget(),
        Settle::Refused => {
            shared.broker.metrics().fenced_claims.inc();
            message.forget();
            // The lane's durable may have been made anew: then ours is a claim of an epoch that is
            // over, and would be refused for ever.
            if let Err(error) = claims.pause_left().await {
                tracing::debug!(%error, "the lane's epoch could not be read again");
            }
        }
    }
}

fn settled(confirmed: Result<(), fanfare_nats::claim::SettleError>) {
    if let Err(error) = confirmed {
        tracing::debug!(%error, "task comes again and finds itself done");
    }
    fail::point("task.acked");
}
