//! The answer for programs.

use fanfare_nats::story::matching::Opinion;
use fanfare_nats::story::read::Document;
use fanfare_nats::story::why::{Attempt, Case, Chain, Ending, TokenStory, Why};
use serde_json::{Value, json};

use super::text::time;

/// The whole answer as one object.
pub(super) fn of(case: &Case, why: &Why) -> Value {
    let event = &case.stored.event;
    let due = if let Ending::Waiting(later) = &why.ending {
        Some(time(later.due))
    } else {
        None
    };
    let plan = case.plan.as_ref();
    let chain = why.chain.and_then(|at| case.chains.get(at));
    json!({
        "ending": why.ending.word(),
        "sentence": why.ending.sentence(),
        "event": {
            "id": event.id().as_str(),
            "source": event.source.as_str(),
            "item": event.item,
            "level": event.level.to_string(),
            "topics": event.topics.iter().map(fanfare_nats::Topic::as_str).collect::<Vec<_>>(),
            "stored_at": time(case.stored.at),
            "expires_at": time(event.expires_at),
        },
        "device": document(case),
        "is_addressed": why.is_addressed,
        "subscriptions": why.opinions.iter().map(opinion).collect::<Vec<_>>(),
        "plan": plan.map(|it| json!({
            "revision": it.revision,
            "planned_at": time(it.planned_at),
            "tasks": it.n_tasks(),
        })),
        "task": chain.map(task),
        "attempts": why.attempts.iter().map(attempt).collect::<Vec<_>>(),
        "next_due": due,
        "token": why.token.map(TokenStory::word),
        "dead_letters": case.letters.iter().map(|it| it.seq).collect::<Vec<_>>(),
    })
}

fn document(case: &Case) -> Value {
    let id = case.device.as_str();
    match &case.document {
        Document::Stands {
            revision,
            at,
            device,
        } => json!({
            "id": id,
            "app": device.app.as_str(),
            "revision": revision,
            "written_at": time(*at),
            "registered_at": time(device.registered_at),
        }),
        Document::Removed { revision, at } => json!({
            "id": id,
            "revision": revision,
            "removed_at": time(*at),
        }),
        Document::Unknown => json!({ "id": id }),
    }
}

fn opinion(opinion: &Opinion) -> Value {
    let conditions: Vec<Value> = opinion
        .conditions
        .iter()
        .map(|it| json!({ "condition": it.text, "found": it.found, "holds": it.holds }))
        .collect();
    json!({
        "pattern": opinion.pattern,
        "topic": opinion.topic,
        "conditions": conditions,
        "is_for": opinion.is_for(),
    })
}

fn task(chain: &Chain) -> Value {
    let last = chain.receipts.last().map(|(_, it)| it);
    json!({
        "lane": chain.lane.to_string(),
        "n": chain.n,
        "of": chain.n_tasks,
        "receipts": chain.receipts.len(),
        "is_finished": last.is_some_and(fanfare_nats::Receipt::is_finished),
        "node": last.map(|it| it.node.as_str()),
    })
}

fn attempt(attempt: &Attempt) -> Value {
    json!({
        "at": time(attempt.line.at),
        "attempt": attempt.line.attempt,
        "mark": attempt.line.mark.word(),
        "reason": attempt.line.reason,
        "pass": attempt.pass,
        "node": attempt.node,
        "receipt": attempt.seq,
    })
}
