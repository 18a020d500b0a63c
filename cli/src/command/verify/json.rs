//! The report for programs.

use fanfare_nats::story::audit::Judged;
use fanfare_nats::story::sums::Sums;
use fanfare_nats::story::unplanned::Absence;
use serde_json::{Value, json};

use super::report::{Report, Row, Stage};

/// The whole report as one object.
pub(super) fn of(report: &Report) -> Value {
    let events: Vec<Value> = report.events.iter().map(event).collect();
    let ledger = report.ledger.as_ref().map(|it| {
        json!({
            "accepted": it.accepted,
            "repeated": it.repeated,
            "repeated_answer_lost": it.unheard,
            "repeated_unexplained": it.unexplained(),
            "lost": it.missing,
            "without_record": it.unrecorded,
            "apps_not_compared": it.other_apps.iter().map(|(app, _)| app).collect::<Vec<_>>(),
        })
    });
    json!({
        "adds_up": report.adds_up(),
        "devices": report.n_devices,
        "window": report.window,
        "unreadable": report.n_unreadable,
        "totals": sums(&report.totals()),
        "changed_since": report.n_changed(),
        "ledger": ledger,
        "events": events,
    })
}

fn event(row: &Row) -> Value {
    let mut object = json!({
        "event": row.id.as_str(),
        "source": row.source,
        "item": row.item,
        "level": row.level.to_string(),
        "stored_at": row.stored_at.to_string(),
        "planned_at": row.planned_at.map(|it| it.to_string()),
        "adds_up": row.adds_up(),
    });
    let (stage, more) = match &row.stage {
        Stage::Judged(it) => ("planned", judged(it)),
        Stage::Unplanned(Absence::Waiting) => ("not_planned_yet", Value::Null),
        Stage::Unplanned(Absence::Expired) => ("expired_before_planning", Value::Null),
        Stage::Unplanned(Absence::Superseded(by)) => (
            "superseded_before_planning",
            json!({ "by": by.to_string() }),
        ),
        Stage::Unplanned(Absence::Lost) => ("never_planned", Value::Null),
        Stage::Unplanned(Absence::Forgotten) => ("older_than_plans_are_kept", Value::Null),
    };
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    if let Some(object) = object.as_object_mut() {
        object.insert("stage".to_owned(), stage.into());
    }
    object
}

fn judged(judged: &Judged) -> Value {
    let findings: Vec<Value> = judged
        .findings
        .iter()
        .map(|it| {
            json!({
                "what": it.what.word(),
                "device": it.device,
                "task": it.task,
                "why": it.what.sentence(),
            })
        })
        .collect();
    json!({
        "sums": sums(&judged.sums),
        "changed_since": judged.n_changed,
        "judged_documents": judged.n_judged,
        "tasks": judged.n_tasks,
        "tasks_finished": judged.n_finished,
        "findings": findings,
    })
}

fn sums(sums: &Sums) -> Value {
    json!({
        "owed": sums.owed,
        "accepted": sums.accepted,
        "expired": sums.expired,
        "superseded": sums.superseded,
        "dropped": sums.dropped,
        "unregistered": sums.unregistered,
        "refused": sums.refused,
        "poison": sums.poison,
        "unclear": sums.unclear,
        "pending": sums.pending,
        "lost": sums.lost,
        "suppressed": sums.suppressed,
        "unasked": sums.unasked,
        "repeated_as_recorded": sums.repeated,
        "accepted_not_judged": sums.not_judged_accepted,
        "take_overs": sums.take_overs,
        "repeats_bound": sums.repeats_bound,
    })
}
