//! What becomes of a request: the double's honest answer, or the fault of a rule. Pure.

use std::time::Duration;

use h2::Reason;

use super::Disturbance;
use super::connection::After;
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

impl Manner {
    pub(super) fn leaves_unprocessed(self) -> bool {
        matches!(self, Self::RefuseStream | Self::GoawayBelow)
    }

    /// What happens to the connection once the answer is out.
    pub(super) fn after(self) -> After {
        if let Self::Then(disturbance) = self {
            After::Disturb(disturbance)
        } else {
            After::Nothing
        }
    }
}

/// `None`: the connection falls silent before anything is decided.
pub(super) fn decide(
    double: &Double,
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
    let Some(mut reply) = double.scripted(&answer, push, now_ms) else {
        return played(answer, honest);
    };
    // The `apns-id` comes back with a refusal too.
    reply.headers.extend(
        honest
            .headers
            .into_iter()
            .filter(|(name, _)| *name == apns::ID),
    );
    let manner = if answer == Answer::EndlessBody {
        Manner::Endless
    } else if answer == Answer::Shutdown {
        Manner::Then(Disturbance::Goaway)
    } else {
        Manner::Plain
    };
    let verdict = if answer == Answer::AcceptedInternal {
        Verdict::Accepted
    } else {
        verdict(reply.status)
    };
    Some(Decided {
        reply,
        verdict,
        manner,
    })
}

/// A fault of the wire under an honest answer.
fn played(answer: Answer, honest: Reply) -> Option<Decided> {
    let (word, manner) = match answer {
        Answer::SilentDrop => return None,
        Answer::RefuseStream => return Some(unprocessed(honest, Manner::RefuseStream)),
        Answer::GoawayBelow => return Some(unprocessed(honest, Manner::GoawayBelow)),
        Answer::Slow { head_ms, body_ms } => {
            let [head, body] = [head_ms, body_ms].map(Duration::from_millis);
            ("slow", Manner::Slow { head, body })
        }
        Answer::ResetStream { code } => ("reset_stream", Manner::ResetStream(Reason::from(code))),
        Answer::ResetConnection => ("reset_connection", Manner::Then(Disturbance::Reset)),
        Answer::Goaway => ("goaway", Manner::Then(Disturbance::Goaway)),
        Answer::MaxStreams { streams } => (
            "max_streams",
            Manner::Then(Disturbance::MaxStreams { streams }),
        ),
        // `Double::scripted` has words for these.
        Answer::Unregistered { .. }
        | Answer::BadToken
        | Answer::WrongSender
        | Answer::TooMany { .. }
        | Answer::Unavailable { .. }
        | Answer::Internal
        | Answer::AcceptedInternal
        | Answer::Shutdown
        | Answer::Html { .. }
        | Answer::Credentials { .. }
        | Answer::Reason { .. }
        | Answer::EndlessBody => ("unscripted", Manner::Plain),
    };
    let reply = Reply {
        reason: Some(word.to_owned()),
        ..honest
    };
    Some(Decided {
        reply,
        verdict: Verdict::Accepted,
        manner,
    })
}

/// Told to the peer as not processed.
pub(super) fn unprocessed(honest: Reply, manner: Manner) -> Decided {
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
