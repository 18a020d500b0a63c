//! Provider doubles, as strict as the real ones.

pub(crate) mod apns;
pub(crate) mod auth;
pub(crate) mod fcm;
pub(crate) mod jwt;
pub(crate) mod oauth;
mod payload;
pub(crate) mod reply;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;

use crate::ledger::{ProviderKind, Verdict};
use crate::script::{Answer, Credential};
use reply::Reply;

/// A double. Pure but for its memory of credentials.
#[derive(Debug, Clone)]
pub(crate) enum Double {
    Apns(Arc<apns::Apns>),
    Fcm(Arc<fcm::Fcm>),
}

/// What a double thinks of a request before any fault is played.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) push: Push,
    pub(crate) reply: Reply,
    /// The credentials were good: the connection may use all its streams.
    pub(crate) is_trusted: bool,
    pub(crate) credential: Credential,
}

/// What the request asks for, as far as it could be read.
#[derive(Debug, Default)]
pub(crate) struct Push {
    pub(crate) app: String,
    pub(crate) token: String,
    pub(crate) event: Option<String>,
    pub(crate) screen: Option<String>,
    pub(crate) level: Option<String>,
    pub(crate) challenge: Option<String>,
    pub(crate) title: Option<String>,
}

/// Something a double answers at once that is no push: a token request, an unknown path.
#[derive(Debug)]
pub(crate) enum Judgement {
    Push(Box<Judged>),
    Other(Reply),
}

impl Double {
    pub(crate) fn kind(&self) -> ProviderKind {
        match self {
            Self::Apns(_) => ProviderKind::Apns,
            Self::Fcm(_) => ProviderKind::Fcm,
        }
    }

    /// `now_ms`: Unix milliseconds.
    pub(crate) fn judge(
        &self,
        head: &Parts,
        body: &Bytes,
        line: &auth::Line,
        now_ms: i64,
    ) -> Judgement {
        match self {
            Self::Apns(apns) => Judgement::Push(Box::new(apns.judge(head, body, line, now_ms))),
            Self::Fcm(fcm) => fcm.judge(head, body, now_ms),
        }
    }

    /// The provider's words for a scripted fault; `None` if the honest answer stays.
    pub(crate) fn scripted(&self, answer: &Answer, push: &Push, now_ms: i64) -> Option<Reply> {
        match self {
            Self::Apns(_) => apns::scripted(answer, now_ms),
            Self::Fcm(_) => fcm::scripted(answer, push, now_ms),
        }
    }
}

/// Status alone decides; a 429 asks for patience.
pub(crate) fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Accepted,
        429 | 500.. => Verdict::Unavailable,
        _ => Verdict::Refused,
    }
}
