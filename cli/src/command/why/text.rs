//! The answer for people.

use std::fmt::Write;

use fanfare_nats::story::matching::Opinion;
use fanfare_nats::story::read::Document;
use fanfare_nats::story::why::{Attempt, Case, Ending, TokenStory, Why};
use jiff::Timestamp;

/// Writing to a `String` cannot fail.
macro_rules! line {
    ($text:expr, $($what:tt)*) => {{
        let _ok = writeln!($text, $($what)*);
    }};
}

/// The whole answer as text.
pub(super) fn of(case: &Case, why: &Why) -> String {
    let mut text = String::new();
    line!(text, "{}\n", why.ending.sentence());
    event(&mut text, case);
    device(&mut text, case);
    subscriptions(&mut text, case, why);
    plan(&mut text, case, why);
    attempts(&mut text, why);
    if let Ending::Waiting(later) = &why.ending {
        line!(text, "next      due {}", time(later.due));
    }
    if let Some(token) = why.token {
        line!(text, "token     {}", token_text(token));
    }
    for it in &case.letters {
        let (seq, at, error) = (it.seq, time(it.letter.at), &it.letter.error);
        line!(text, "letter    {seq}, {at}: {error}");
    }
    text
}

fn event(text: &mut String, case: &Case) {
    let stored = &case.stored;
    let event = &stored.event;
    let topics: Vec<&str> = event
        .topics
        .iter()
        .map(fanfare_nats::Topic::as_str)
        .collect();
    line!(
        text,
        "event     {}: {} of {}, level {}",
        event.id(),
        event.item,
        event.source,
        event.level
    );
    line!(text, "          on {}", topics.join(", "));
    line!(
        text,
        "          stored {}, expires {}",
        time(stored.at),
        time(event.expires_at)
    );
}

fn device(text: &mut String, case: &Case) {
    let id = &case.device;
    match &case.document {
        Document::Stands {
            revision,
            at,
            device,
        } => {
            let since = time(device.registered_at);
            line!(
                text,
                "device    {id}: app {}, token registered {since}, document {revision} of {}",
                device.app,
                time(*at)
            );
        }
        Document::Removed { revision, at } => {
            line!(
                text,
                "device    {id}: removed {} (revision {revision})",
                time(*at)
            );
        }
        Document::Unknown => line!(text, "device    {id}: not known (any more)"),
    }
    let planned = case.plan.as_ref().map(|it| it.revision);
    if let (Document::Stands { revision, .. }, Some(planned)) = (&case.document, planned) {
        let text_of = if *revision <= planned {
            "it is what the event was planned by"
        } else {
            "it changed after the event was planned; what it said then is not kept"
        };
        line!(text, "          {text_of}");
    }
}

fn subscriptions(text: &mut String, case: &Case, why: &Why) {
    if why.is_addressed {
        line!(text, "follows   the event names this device or its user");
    }
    if why.opinions.is_empty() && matches!(case.document, Document::Stands { .. }) {
        line!(text, "follows   no topics");
    }
    for opinion in &why.opinions {
        subscription(text, opinion);
    }
}

fn subscription(text: &mut String, opinion: &Opinion) {
    let verdict = match &opinion.topic {
        Some(topic) => format!("matches {topic}"),
        None => "matches none of the topics".to_owned(),
    };
    line!(text, "follows   {}: {verdict}", opinion.pattern);
    for it in &opinion.conditions {
        let verdict = if it.holds { "passes" } else { "does not pass" };
        line!(text, "          {}: {verdict}, {}", it.text, it.found);
    }
}

fn plan(text: &mut String, case: &Case, why: &Why) {
    let Some(plan) = &case.plan else {
        line!(text, "plan      none");
        return;
    };
    let lanes: Vec<String> = plan
        .lanes
        .iter()
        .map(|(lane, log2_n)| format!("{} in {lane}", 1_u32 << log2_n))
        .collect();
    let lanes = if lanes.is_empty() {
        "no tasks: nobody followed it".to_owned()
    } else {
        format!("tasks: {}", lanes.join(", "))
    };
    line!(
        text,
        "plan      {}, revision {}, {lanes}",
        time(plan.planned_at),
        plan.revision
    );
    match why.chain.and_then(|at| case.chains.get(at)) {
        Some(chain) => {
            let n_receipts = chain.receipts.len();
            let state = match chain.receipts.last() {
                None => "not begun".to_owned(),
                Some((_, last)) if last.is_finished() => {
                    format!("finished {} by {}", time(last.at), last.node)
                }
                Some((_, last)) => {
                    format!("last heard of {} from {}", time(last.at), last.node)
                }
            };
            line!(
                text,
                "task      {} {} (of 0 to {}): {n_receipts} receipts, {state}",
                chain.lane,
                chain.n,
                chain.n_tasks - 1
            );
        }
        None if plan.lanes.is_empty() => {}
        None => line!(text, "task      none holds this device"),
    }
}

fn attempts(text: &mut String, why: &Why) {
    for attempt in &why.attempts {
        let Attempt {
            line,
            node,
            pass,
            seq,
        } = attempt;
        let reason = match &line.reason {
            Some(reason) => format!(": {reason}"),
            None => String::new(),
        };
        let which = match line.attempt {
            0 => "no attempt".to_owned(),
            n => format!("attempt {n}"),
        };
        let mark = line.mark.word();
        line!(
            text,
            "{}  {which}, {mark}{reason} (pass {pass}, {node}, receipt {seq})",
            time(line.at)
        );
    }
}

fn token_text(token: TokenStory) -> &'static str {
    match token {
        TokenStory::AsItWas => "as it was when the event was planned",
        TokenStory::ChangedSince => "the document was written again since",
        TokenStory::Retired => "the provider knew it no more; the document was removed",
        TokenStory::DeadAndKept => {
            "the provider knew it no more; kept, because it was registered later or too many came \
             back at once"
        }
        TokenStory::Moved => "another device's when its turn came",
        TokenStory::Removed => "the document was removed",
    }
}

/// To the millisecond, as receipts have it.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}
