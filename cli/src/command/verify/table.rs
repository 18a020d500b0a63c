//! The report for people: a line per event, the sums, and what does not add up.

use std::fmt::Write;

use fanfare_nats::story::audit::Judged;
use fanfare_nats::story::sums::Sums;
use fanfare_nats::story::unplanned::Absence;
use jiff::{SignedDuration, Timestamp, Unit};

use super::ledger::Compared;
use super::report::{Report, Row, Stage};

/// Events that add up are shown up to so many, the newest of them.
const MAX_ROWS: usize = 40;

const HEAD: [&str; 10] = [
    "EVENT",
    "LEVEL",
    "OWED",
    "ACCEPTED",
    "NOT SENT",
    "DEAD",
    "PENDING",
    "LOST",
    "SUPPRESSED",
    "",
];

/// The whole report as text.
pub(super) fn of(report: &Report, now: Timestamp) -> String {
    let mut text = String::new();
    if report.events.is_empty() {
        text.push_str("no events\n");
    } else {
        events(&mut text, report, now);
        text.push('\n');
        sums(&mut text, report);
    }
    if let Some(ledger) = &report.ledger {
        text.push('\n');
        compared(&mut text, ledger, report.totals().repeats_bound);
    }
    text.push('\n');
    verdict(&mut text, report);
    text
}

/// Writing to a `String` cannot fail.
macro_rules! line {
    ($text:expr, $($what:tt)*) => {{
        let _ok = writeln!($text, $($what)*);
    }};
}

fn events(text: &mut String, report: &Report, now: Timestamp) {
    let n_adding_up = report.events.iter().filter(|it| it.adds_up()).count();
    let mut n_hidden = n_adding_up.saturating_sub(MAX_ROWS);
    if n_hidden > 0 {
        line!(
            text,
            "{n_hidden} older events add up and are not shown; --json has all\n"
        );
    }
    let shown = report.events.iter().filter(|it| {
        let hide = it.adds_up() && n_hidden > 0;
        n_hidden -= usize::from(hide);
        !hide
    });
    let rows: Vec<[String; 10]> = shown.map(|it| cells(it, now)).collect();
    let mut widths = HEAD.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in [&HEAD.map(str::to_owned)].into_iter().chain(&rows) {
        let mut cells = String::new();
        for (at, (width, cell)) in widths.iter().zip(row).enumerate() {
            let _ok = match at {
                0 | 1 | 9 => write!(cells, "{cell:width$}  "),
                _ => write!(cells, "{cell:>width$}  "),
            };
        }
        line!(text, "{}", cells.trim_end());
    }
}

fn cells(row: &Row, now: Timestamp) -> [String; 10] {
    let (id, level) = (row.id.to_string(), row.level.to_string());
    let n = |it: u64| it.to_string();
    match &row.stage {
        Stage::Judged(judged) => {
            let sums = &judged.sums;
            [
                id,
                level,
                n(sums.owed),
                n(sums.accepted),
                n(sums.not_sent() + sums.unregistered),
                n(sums.dead()),
                n(sums.pending),
                n(sums.lost),
                n(sums.suppressed),
                remark(row, judged, now),
            ]
        }
        Stage::Unplanned(absence) => {
            let none = || "-".to_owned();
            let remark = match absence {
                Absence::Waiting => format!("not planned yet, stored {}", ago(row.stored_at, now)),
                Absence::Expired => "expired before it was planned".to_owned(),
                Absence::Superseded(by) => format!("level {by} stood before it was planned"),
                Absence::Lost => "LOST: acknowledged and never planned".to_owned(),
                Absence::Forgotten => "not judged: older than plans are kept".to_owned(),
            };
            [
                id,
                level,
                none(),
                none(),
                none(),
                none(),
                none(),
                none(),
                none(),
                remark,
            ]
        }
    }
}

fn remark(row: &Row, judged: &Judged, now: Timestamp) -> String {
    let mut remarks = Vec::new();
    if !judged.adds_up() {
        remarks.push("DOES NOT ADD UP".to_owned());
    }
    if judged.sums.pending > 0 {
        let since = row.planned_at.unwrap_or(row.stored_at);
        let (done, all) = (judged.n_finished, judged.n_tasks);
        remarks.push(format!(
            "{done} of {all} tasks finished, planned {}",
            ago(since, now)
        ));
    }
    if judged.n_changed > 0 {
        remarks.push(format!("changed since: {}, not judged", judged.n_changed));
    }
    if judged.sums.take_overs > 0 {
        remarks.push(format!("{} taken over", judged.sums.take_overs));
    }
    remarks.join("; ")
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).max(SignedDuration::ZERO);
    let seconds = seconds.round(Unit::Second).unwrap_or(seconds);
    format!("{seconds:#} ago")
}

/// What became of what was owed, and what each word means.
fn parts(sums: &Sums) -> [(&'static str, u64, &'static str); 11] {
    [
        ("accepted", sums.accepted, "the provider took it"),
        ("expired", sums.expired, "not sent: too late"),
        (
            "superseded",
            sums.superseded,
            "not sent: a higher level stood",
        ),
        (
            "dropped",
            sums.dropped,
            "not sent: its token was another device's",
        ),
        (
            "unregistered",
            sums.unregistered,
            "the provider knows the token no more",
        ),
        (
            "refused",
            sums.refused,
            "dead letter: the provider refuses it",
        ),
        (
            "poison",
            sums.poison,
            "dead letter: its task made no progress",
        ),
        (
            "unclear",
            sums.unclear,
            "sent at most once, and the answer was lost",
        ),
        ("pending", sums.pending, "still to come"),
        ("lost", sums.lost, "finished without a word"),
        (
            "suppressed",
            sums.suppressed,
            "decided against, and the documents say otherwise",
        ),
    ]
}

fn sums(text: &mut String, report: &Report) {
    let totals = report.totals();
    let n_events = report.events.len();
    let n_devices = report.n_devices;
    line!(
        text,
        "{n_events} events against {n_devices} device documents"
    );
    line!(text, "owed {:>17}", totals.owed);
    for (part, n, what) in parts(&totals) {
        let always = ["accepted", "lost", "suppressed"].contains(&part);
        if n > 0 || always {
            line!(text, "  {part:<13} {n:>6}  {what}");
        }
    }
    not_judged(text, report, &totals);
    if totals.take_overs > 0 {
        line!(
            text,
            "taken over {} times: at most {} repeats are possible because of it (a bound, W = {})",
            totals.take_overs,
            totals.repeats_bound,
            report.window
        );
    }
    line!(text, "repeated, as recorded: {}", totals.repeated);
}

fn not_judged(text: &mut String, report: &Report, totals: &Sums) {
    let n_changed = report.n_changed();
    if n_changed > 0 {
        line!(
            text,
            "changed since: {n_changed}, not judged ({} of them were accepted)",
            totals.not_judged_accepted
        );
    }
    let unplanned = [
        (
            "not planned yet",
            report.n_unplanned(|it| *it == Absence::Waiting),
        ),
        (
            "expired before planning",
            report.n_unplanned(|it| *it == Absence::Expired),
        ),
        (
            "superseded before planning",
            report.n_unplanned(|it| matches!(it, Absence::Superseded(_))),
        ),
        (
            "older than plans are kept",
            report.n_unplanned(|it| *it == Absence::Forgotten),
        ),
    ];
    for (what, n) in unplanned.into_iter().filter(|(_, n)| *n > 0) {
        line!(text, "events {what}: {n}");
    }
    if report.n_unreadable > 0 {
        let n = report.n_unreadable;
        line!(
            text,
            "messages that are no events: {n} (fanfare dead-letters list)"
        );
    }
}

fn compared(text: &mut String, ledger: &Compared, bound: u64) {
    line!(text, "against the ledger");
    line!(text, "  accepted there      {:>6}", ledger.accepted);
    line!(text, "  really repeated     {:>6}", ledger.repeated);
    if ledger.unheard > 0 {
        let n = ledger.unheard;
        line!(
            text,
            "    answer was lost   {n:>6}  whoever sent it could not know"
        );
    }
    let unexplained = ledger.unexplained();
    if unexplained > 0 {
        line!(
            text,
            "    other             {unexplained:>6}  changes of hands explain up to {bound}"
        );
    }
    line!(
        text,
        "  really lost         {:>6}  accepted by the receipts, and not there",
        ledger.missing
    );
    if ledger.unrecorded > 0 {
        let n = ledger.unrecorded;
        line!(
            text,
            "  without a record    {n:>6}  there, and not accepted by the receipts"
        );
    }
    for (app, n) in &ledger.other_apps {
        line!(
            text,
            "  {n} deliveries of {app} not compared: the ledger knows nothing of this app"
        );
    }
}

fn verdict(text: &mut String, report: &Report) {
    if report.adds_up() {
        line!(text, "adds up");
        return;
    }
    line!(text, "does not add up:");
    for row in report.events.iter().filter(|it| !it.adds_up()) {
        let of = format!("{} {} {}", row.source, row.item, row.level);
        match &row.stage {
            Stage::Unplanned(_) => {
                line!(
                    text,
                    "  event {} ({of}): acknowledged and never planned",
                    row.id
                );
            }
            Stage::Judged(judged) => {
                line!(text, "  event {} ({of})", row.id);
                details(text, judged);
            }
        }
    }
    if let Some(ledger) = &report.ledger {
        let bound = report.totals().repeats_bound;
        if ledger.missing > 0 {
            let n = ledger.missing;
            line!(text, "  {n} accepted by the receipts never arrived");
        }
        if ledger.unexplained() > bound {
            let n = ledger.unexplained();
            line!(
                text,
                "  {n} really repeated, changes of hands explain at most {bound}"
            );
        }
    }
}

fn details(text: &mut String, judged: &Judged) {
    for it in &judged.findings {
        let (word, why) = (it.what.word(), it.what.sentence());
        let device = match it.device.as_str() {
            "" => String::new(),
            device => format!(" device {device}"),
        };
        let task = match it.task.as_str() {
            "" => String::new(),
            task => format!(" (task {task})"),
        };
        line!(text, "    {word}{device}{task}: {why}");
    }
    let sums = &judged.sums;
    let n = sums.lost + sums.suppressed + sums.unasked;
    let n_named = u64::try_from(judged.findings.len()).unwrap_or(u64::MAX);
    if n > n_named {
        line!(text, "    and {} more", n - n_named);
    }
}
