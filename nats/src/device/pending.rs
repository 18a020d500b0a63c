//! A registration whose token belongs to another user's device: it waits until whoever holds the
//! token has confirmed it.
//!
//! Until then the document's own fields follow nothing, name nobody and hold a stand-in for the
//! token; what was asked for stands apart. So whoever does not know of this (an older version, a
//! reader of documents) sees a device that concerns no event, and one that drops the field on
//! rewriting leaves a device without a token. Nothing of it moves a token by mistake.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::holding::Holding;
use super::wire::{self, WireSubscription};
use super::{DecodeDeviceError, Device, Subscription, Token};
use crate::key::SecretHash;

/// So many wrong answers end a challenge.
pub const MAX_CHALLENGE_ATTEMPTS: u32 = 5;
/// How the stand-in for a token begins; no provider has such tokens.
const STAND_IN: &str = "pending-";

/// What a registration asked for, and the challenge that has to be answered first.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// The token that belongs to somebody else until now.
    pub token: Token,
    /// Whose the device says to be.
    pub user: Option<String>,
    /// What it wants to follow.
    pub subscriptions: Vec<Subscription>,
    /// The hash of the nonce that was sent to the token.
    pub nonce: SecretHash,
    /// When the challenge was made.
    pub asked_at: Timestamp,
    /// Until when it may be answered.
    pub expires_at: Timestamp,
    /// Wrong answers so far.
    pub n_wrong: u32,
}

/// What became of an answer to a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is the nonce.
    Right,
    /// It is another one.
    Wrong,
    /// Too late, or after too many wrong ones: whatever it is.
    Over,
}

impl Pending {
    /// What the challenge is called. It tells nothing of the nonce.
    pub fn name(&self) -> String {
        let mut name = self.nonce.to_hex();
        name.truncate(32);
        name
    }

    /// Judges an answer.
    pub fn answer(&self, shown: &SecretHash, now: Timestamp) -> Answered {
        if self.expires_at <= now || self.n_wrong >= MAX_CHALLENGE_ATTEMPTS {
            Answered::Over
        } else if self.nonce.is_same(shown) {
            Answered::Right
        } else {
            Answered::Wrong
        }
    }
}

impl Device {
    /// The same registration, waiting for an answer.
    #[must_use]
    pub fn waiting(self, nonce: SecretHash, now: Timestamp, expires_at: Timestamp) -> Self {
        let pending = Pending {
            token: self.token,
            user: self.user,
            subscriptions: self.subscriptions,
            nonce,
            asked_at: now,
            expires_at,
            n_wrong: 0,
        };
        Self {
            token: Token(format!("{STAND_IN}{}", pending.name()).into()),
            user: None,
            subscriptions: Vec::new(),
            holding: Holding::default(),
            pending: Some(pending),
            ..self
        }
    }

    /// The token that was asked for, whether or not it waits.
    pub fn asked_token(&self) -> &Token {
        self.pending.as_ref().map_or(&self.token, |it| &it.token)
    }

    /// The same of the user.
    pub fn asked_user(&self) -> Option<&str> {
        let user = self.pending.as_ref().map_or(&self.user, |it| &it.user);
        user.as_deref()
    }

    /// The same of what it follows.
    pub fn asked_subscriptions(&self) -> &[Subscription] {
        let pending = self.pending.as_ref();
        pending.map_or(&self.subscriptions, |it| &it.subscriptions)
    }

    /// The same, to be changed.
    pub fn asked_subscriptions_mut(&mut self) -> &mut Vec<Subscription> {
        match &mut self.pending {
            Some(pending) => &mut pending.subscriptions,
            None => &mut self.subscriptions,
        }
    }

    /// What was asked for, whether or not it waited: as it is once it is confirmed by whoever holds the
    /// token.
    #[must_use]
    pub fn as_asked(self) -> Self {
        match self.pending {
            None => self,
            Some(pending) => Self {
                token: pending.token,
                user: pending.user,
                subscriptions: pending.subscriptions,
                holding: Holding::PROVEN,
                pending: None,
                ..self
            },
        }
    }
}

/// The wire form.
#[derive(Serialize, Deserialize)]
pub(super) struct WirePending {
    token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    topics: Vec<WireSubscription>,
    nonce_sha256: String,
    asked_at: Timestamp,
    expires_at: Timestamp,
    #[serde(default)]
    n_wrong: u32,
}

impl WirePending {
    pub(super) fn of(pending: &Pending) -> Self {
        Self {
            token: pending.token.reveal().to_owned(),
            user: pending.user.clone(),
            topics: wire::subscriptions(&pending.subscriptions),
            nonce_sha256: pending.nonce.to_hex(),
            asked_at: pending.asked_at,
            expires_at: pending.expires_at,
            n_wrong: pending.n_wrong,
        }
    }

    pub(super) fn read(self) -> Result<Pending, DecodeDeviceError> {
        Ok(Pending {
            token: Token::parse(&self.token).ok_or(DecodeDeviceError::Token)?,
            user: self.user,
            subscriptions: wire::read_subscriptions(self.topics)?,
            nonce: SecretHash::parse(&self.nonce_sha256).ok_or(DecodeDeviceError::Nonce)?,
            asked_at: self.asked_at,
            expires_at: self.expires_at,
            n_wrong: self.n_wrong,
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use serde_json::Value;

    use super::*;
    use crate::device::{AppName, Filter};
    use crate::key::NewSecret;
    use crate::topic::Pattern;

    fn asked() -> Device {
        Device {
            app: AppName::parse("ios").unwrap(),
            token: Token::parse(&"ab".repeat(32)).unwrap(),
            user: Some("bob".into()),
            locale: Some("de".into()),
            time_zone: None,
            subscriptions: vec![Subscription {
                pattern: Pattern::parse("quakes.>").unwrap(),
                filters: vec![Filter::AtLeast {
                    field: "mag".into(),
                    min: 5.0,
                }],
            }],
            registered_at: Timestamp::UNIX_EPOCH,
            last_seen: None,
            secret: Some(NewSecret::of_device(&crate::Tenant::main()).hash()),
            holding: Holding::default(),
            pending: None,
        }
    }

    fn waiting(nonce: &NewSecret) -> Device {
        let epoch = Timestamp::UNIX_EPOCH;
        asked().waiting(nonce.hash(), epoch, epoch + 10.minutes())
    }

    #[test]
    fn it_is_read_back_and_becomes_what_was_asked_for() {
        let nonce = NewSecret::nonce();
        let waiting = waiting(&nonce);
        assert_eq!(Device::decode(&waiting.encode()).unwrap(), waiting);
        assert!(!format!("{waiting:?}").contains(&"ab".repeat(32)));
        let confirmed = Device {
            secret: waiting.secret,
            holding: Holding::PROVEN,
            ..asked()
        };
        assert_eq!(waiting.as_asked(), confirmed);
        assert_eq!(confirmed.clone().as_asked(), confirmed);
    }

    /// An older version reads documents without the field, and writes them so.
    #[test]
    fn who_does_not_know_of_it_sees_a_device_without_token_user_and_interests() {
        let (one, other) = (NewSecret::nonce(), NewSecret::nonce());
        let old = |nonce: &NewSecret| {
            let mut seen: Value = serde_json::from_slice(&waiting(nonce).encode()).unwrap();
            seen.as_object_mut().unwrap().remove("pending");
            Device::decode(seen.to_string().as_bytes()).unwrap()
        };
        let seen = old(&one);
        assert!(seen.token.reveal().starts_with(STAND_IN), "{seen:?}");
        assert_eq!((seen.user.as_deref(), seen.subscriptions.len()), (None, 0));
        assert_ne!(seen.token, old(&other).token, "stand-ins have no owner");
    }

    #[test]
    fn an_answer_is_right_in_time_and_before_too_many_wrong_ones() {
        let (nonce, other) = (NewSecret::nonce(), NewSecret::nonce());
        let mut pending = waiting(&nonce).pending.unwrap();
        let at = |minutes: i64| Timestamp::UNIX_EPOCH + minutes.minutes();
        assert_eq!(pending.answer(&nonce.hash(), at(9)), Answered::Right);
        assert_eq!(pending.answer(&other.hash(), at(9)), Answered::Wrong);
        assert_eq!(pending.answer(&nonce.hash(), at(10)), Answered::Over);
        pending.n_wrong = MAX_CHALLENGE_ATTEMPTS;
        assert_eq!(pending.answer(&nonce.hash(), at(9)), Answered::Over);
    }
}
