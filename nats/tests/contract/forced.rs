//! What somebody made the server store under a subject of ours is recognised: the server checks
//! neither where an answer is sent nor what a schedule is for.

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use fanfare_nats::batch::CommitPlanError;
use fanfare_nats::claim::{Message, TakenTaskError};
use fanfare_nats::consumer::Claims;
use fanfare_nats::plan::DecodePlanError;
use fanfare_nats::receipt::{Claim, Receipt};
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, Plan, Task};
use jiff::ToSpan;

use super::support::{eventually, hasty, lane, now, plan, raw, state};

on_one_and_three!(
    an_answer_that_lies_under_a_task_or_a_plan_is_neither,
    what_lies_on_top_of_a_tasks_receipts_is_passed_over,
    a_schedule_starts_its_own_task_and_nothing_else,
);

async fn taken(claims: &Claims) -> Message {
    eventually(async || claims.next().await.unwrap().ok_or("nothing")).await
}

/// Writes a value into the control bucket and has it answered to `subject`.
async fn answer_to(broker: &Broker, raw: &Context, subject: &str, value: &[u8]) {
    let key = "baseline.usgs";
    broker
        .control_put(key, value.to_vec().into())
        .await
        .unwrap();
    let api = "$JS.API.DIRECT.GET.KV_fanfare_control";
    let request = format!("{{\"last_by_subj\":\"$KV.fanfare_control.{key}\"}}");
    let client = raw.client();
    let (api, subject) = (api.to_owned(), subject.to_owned());
    let sent = client.publish_with_reply(api, subject, request.into());
    sent.await.unwrap();
}

fn task_of(plan: &Plan) -> Task {
    plan.tasks().next().unwrap()
}

async fn an_answer_that_lies_under_a_task_or_a_plan_is_neither(server: TestServer) {
    let (broker, raw) = (
        hasty(&server, "n1", &[lane("ios")]).await,
        raw(&server).await,
    );
    let (ours, forged) = (plan("us1", &[("ios", 1)]), plan("us2", &[("ios", 1)]));
    broker.commit(&ours).await.unwrap();
    let claims = broker.task_claims(&lane("ios")).await.unwrap();
    let message = taken(&claims).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let of_other = |it: String| it.replace(ours.event.as_str(), forged.event.as_str());
    let task = of_other(text(message.payload()));
    message.ack().await.unwrap();
    let stored = raw.get_stream("FANFARE_TASKS").await.unwrap();
    let stored = stored
        .get_last_raw_message_by_subject(&format!("fanfare.plan.{}", ours.event))
        .await
        .unwrap();

    let subject = format!("fanfare.task.ios-urgent.{}.0", forged.event);
    answer_to(&broker, &raw, &subject, task.as_bytes()).await;
    let message = taken(&claims).await;
    assert_eq!(
        (message.subject(), message.payload()),
        (&*subject, task.as_bytes())
    );
    let read = message.task(broker.names()).unwrap_err();
    let is_told = matches!(read, TakenTaskError::Decode(DecodePlanError::Forced));
    assert!(is_told, "{read:?}");
    message.terminate().await.unwrap();

    let body = of_other(text(&stored.payload));
    let subject = format!("fanfare.plan.{}", forged.event);
    answer_to(&broker, &raw, &subject, body.as_bytes()).await;
    let read = eventually(async || match broker.stored_plan(&forged.event).await {
        Ok(None) => Err("not there yet"),
        Ok(Some(it)) => panic!("{it:?}"),
        Err(error) => Ok(error),
    });
    let read = read.await;
    let is_told = matches!(read, CommitPlanError::Decode(_, DecodePlanError::Forced));
    assert!(is_told, "{read:?}");
    assert_eq!(broker.stored_plan(&ours.event).await.unwrap(), Some(ours));
}

async fn what_lies_on_top_of_a_tasks_receipts_is_passed_over(server: TestServer) {
    let (broker, raw) = (server.broker("n1").await, raw(&server).await);
    let task = task_of(&plan("us1", &[("ios", 1)]));
    let claim = |pass| Claim {
        epoch: 1,
        pass,
        message: 0,
        delivered: 1,
        nonce: 7,
    };
    let at = now();
    let ours = Receipt::first(claim(1), "n1", at);
    let (mut chain, _) = broker.receipts(&task).await.unwrap();
    let first = chain.append(&ours).await.unwrap();
    let forged = Receipt {
        low: None,
        ..Receipt::first(claim(9), "n9", at)
    };
    let subject = format!("fanfare.receipt.{}.ios-urgent.0", task.event);
    answer_to(&broker, &raw, &subject, &forged.encode()).await;
    let n_stored = |n| {
        let raw = &raw;
        eventually(
            async move || match state(raw, "FANFARE_RECEIPTS").await.messages {
                found if found == n => Ok(()),
                found => Err(found),
            },
        )
    };
    n_stored(2).await;
    // An answer of JetStream's, which has no headers.
    let client = raw.client();
    let info = client.publish_with_reply(
        "$JS.API.STREAM.INFO.FANFARE_EVENTS",
        subject.clone(),
        "".into(),
    );
    info.await.unwrap();
    n_stored(3).await;

    let (mut chain, last) = broker.receipts(&task).await.unwrap();
    assert_eq!(last.map(|it| it.claim), Some(ours.claim));
    assert_eq!(chain.last(), first + 2);
    let next = Receipt::first(claim(2), "n1", at);
    chain.append(&next).await.unwrap();
    let trail = broker
        .receipt_chain(&task.event, &task.lane, 0)
        .await
        .unwrap();
    let passes: Vec<_> = trail.iter().map(|(_, it)| it.claim.pass).collect();
    assert_eq!(passes, [1, 2]);
    let (_, last) = broker.receipts(&task).await.unwrap();
    assert_eq!(last.map(|it| it.claim), Some(next.claim));
}

async fn a_schedule_starts_its_own_task_and_nothing_else(server: TestServer) {
    let (broker, raw) = (
        hasty(&server, "n1", &[lane("ios")]).await,
        raw(&server).await,
    );
    let (ours, other) = (plan("us1", &[("ios", 1)]), plan("us2", &[("ios", 1)]));
    let claims = broker.task_claims(&lane("ios")).await.unwrap();
    let at = now();
    broker.wake_up(&task_of(&ours), 2, at, at).await.unwrap();
    let message = taken(&claims).await;
    let (task, pass) = message.task(broker.names()).unwrap();
    assert_eq!((task, pass), (task_of(&ours), 2));
    let body = message.payload().to_vec();
    message.ack().await.unwrap();

    let mut headers = HeaderMap::new();
    headers.insert(
        "Nats-Schedule",
        format!("@at {}", at + 1.seconds()).as_str(),
    );
    let target = format!("fanfare.task.ios-urgent.{}.0", ours.event);
    headers.insert("Nats-Schedule-Target", target.as_str());
    let schedule = format!("fanfare.later.{}.ios-urgent.0.2", other.event);
    let stored = raw.publish_with_headers(schedule, headers, body.into());
    stored.await.unwrap().await.unwrap();
    let message = taken(&claims).await;
    assert_eq!(message.subject(), target);
    let read = message.task(broker.names()).unwrap_err();
    let is_told = matches!(read, TakenTaskError::Decode(DecodePlanError::Forced));
    assert!(is_told, "{read:?}");
    message.terminate().await.unwrap();
}
