//! What becomes of a request: the double's honest answer, or the fault of a rule. Pure.

use std::time::Duration;

use h2::Reason;

use super::Disturbance;
use crate::ledger::Verdict;
use crate::provider::reply::Reply;
use crate::provider::{Double, Push, apns, verdict};
use crate::script::Answer;

/// What is decided for a request.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) reply: Reply,
    pub(super) verdict: Verdict,
    pub(super) manner: Manner,
}

/// How the answer goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Plain,
    Slow {
        head: Duration,
        body: Duration,
    },
    Endless,
    /// Accepted, and the answer never comes.
    ResetStream(Reason),
    /// Answered (unless it is a reset), then this happens to the connection.
    Then(Disturbance),
    /// No answer: the peer is told that nothing was processed.
    RefuseStream,
    GoawayBelow,
}

/// `None`: the connection falls silent before anything is decided.
fn decide(
    connection: &Connection,
    honest: Reply,
    answer: Option<Answer>,
    push: &Push,
    now_ms: i64,
) -> Option<Decided> {
    let Some(answer) = answer else {
        let verdict = verdict(honest.status);
        return Some(Decided {
            reply: honest,
            verdict,
            manner: Manner::Plain,
        });
    };
    if let Some(mut reply) = connection.listener.double.scripted(&answer, push, now_ms) {
        // The `apns-id` comes back with a refusal too.
        reply.headers.extend(
            honest
                .headers
                .into_iter()
                .filter(|(name, _)| *name == apns::ID),
        );
        let manner = match answer {
            Answer::EndlessBody => Manner::Endless,
            Answer::Shutdown => Manner::Then(Disturbance::Goaway),
            _ => Manner::Plain,
        };
        let verdict = verdict(reply.status);
        return Some(Decided {
            reply,
            verdict,
            manner,
        });
    }
    let accepted = |word: &str, manner| {
        let reply = Reply {
            reason: Some(word.to_owned()),
            ..honest.clone()
        };
        Some(Decided {
            reply,
            verdict: Verdict::Accepted,
            manner,
        })
    };
    match answer {
        Answer::SilentDrop => None,
        Answer::RefuseStream => Some(unprocessed(honest, Manner::RefuseStream)),
        Answer::GoawayBelow => Some(unprocessed(honest, Manner::GoawayBelow)),
        Answer::Slow { head_ms, body_ms } => {
            let (head, body) = (
                Duration::from_millis(head_ms),
                Duration::from_millis(body_ms),
            );
            accepted("slow", Manner::Slow { head, body })
        }
        Answer::ResetStream { code } => {
            accepted("reset_stream", Manner::ResetStream(Reason::from(code)))
        }
        Answer::ResetConnection => accepted("reset_connection", Manner::Then(Disturbance::Reset)),
        Answer::Goaway => accepted("goaway", Manner::Then(Disturbance::Goaway)),
        Answer::MaxStreams { streams } => accepted(
            "max_streams",
            Manner::Then(Disturbance::MaxStreams { streams }),
        ),
        // `Double::scripted` has words for the rest.
        _ => accepted("unscripted", Manner::Plain),
    }
}

fn unprocessed(honest: Reply, manner: Manner) -> Decided {
    let word = if manner == Manner::GoawayBelow {
        "GOAWAY"
    } else {
        "REFUSED_STREAM"
    };
    let reply = Reply {
        status: 0,
        reason: Some(word.to_owned()),
        ..honest
    };
    Decided {
        reply,
        verdict: Verdict::Unavailable,
        manner,
    }
}

