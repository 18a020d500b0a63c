//! What stands under a lease's key: who holds it, or how it became vacant. Pure.

use async_nats::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::control::is_marker;
use crate::request::header;

/// On the marker of a release: the node that held the lease and lets go of it.
pub(super) const BY: &str = "Fanfare-Lease-By";
/// On the marker of a hand-over: the node that it is meant for.
pub(super) const TO: &str = "Fanfare-Lease-To";

/// The holder's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The process that holds the lease.
    pub node: String,
    /// Its machine.
    pub host: String,
    /// Names the candidate among all, so that it knows its own writes again.
    pub(super) nonce: u64,
    /// Counts the candidate's writes.
    pub(super) n: u64,
    /// The lease's number; on the record that took the lease it is the record's own sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<u64>,
    /// When it was taken, by the holder's clock; for people.
    pub since: Timestamp,
}

/// How a lease became vacant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vacancy {
    /// Nobody ever held it, or that is forgotten.
    Never,
    /// Its holder renewed it no more.
    Expired,
    /// Its holder let go of it, its connections closed.
    Released {
        /// The node that held it.
        by: String,
        /// The node that it is meant for.
        to: Option<String>,
    },
    /// Somebody else took it away. Its holder may not know yet.
    Withdrawn,
}

/// What stands under a lease's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nobody holds it.
    Vacant {
        /// The sequence that the next holder's record must follow.
        seq: u64,
        /// How that came.
        why: Vacancy,
    },
    /// Somebody holds it.
    Held {
        /// Sequence of the record.
        seq: u64,
        /// The record; `None` if it cannot be read, which nobody of ours wrote.
        record: Option<Record>,
    },
}

impl Record {
    /// The lease's number: the sequence at which it was taken. It grows from holder to holder.
    pub fn number(&self, seq: u64) -> u64 {
        self.number.unwrap_or(seq)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default() // Plain fields cannot fail.
    }
}

impl Seen {
    /// Where nothing was ever written.
    pub(super) const NOTHING: Self = Self::Vacant {
        seq: 0,
        why: Vacancy::Never,
    };

    pub(super) fn read(seq: u64, headers: &HeaderMap, body: &[u8]) -> Self {
        if !is_marker(headers) {
            let record = serde_json::from_slice(body).ok();
            return Self::Held { seq, record };
        }
        let text = |name| headers.get(name).map(|it| it.as_str().to_owned());
        let why = if headers.get(header::MARKER_REASON).is_some() {
            Vacancy::Expired
        } else if let Some(by) = text(BY) {
            Vacancy::Released { by, to: text(TO) }
        } else {
            Vacancy::Withdrawn
        };
        Self::Vacant { seq, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], body: &[u8], expected: Seen) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        assert_eq!(Seen::read(7, &map, body), expected);
    }

    #[test]
    fn markers_say_how_the_lease_became_vacant() {
        let vacant = |why| Seen::Vacant { seq: 7, why };
        let released = |to: Option<&str>| Vacancy::Released {
            by: "a".to_owned(),
            to: to.map(str::to_owned),
        };
        check(
            &[("Nats-Marker-Reason", "MaxAge")],
            b"",
            vacant(Vacancy::Expired),
        );
        check(
            &[("KV-Operation", "PURGE")],
            b"",
            vacant(Vacancy::Withdrawn),
        );
        check(&[("KV-Operation", "DEL")], b"", vacant(Vacancy::Withdrawn));
        let by = ("Fanfare-Lease-By", "a");
        check(
            &[("KV-Operation", "PURGE"), by],
            b"",
            vacant(released(None)),
        );
        let to = ("Fanfare-Lease-To", "b");
        check(
            &[("KV-Operation", "PURGE"), by, to],
            b"",
            vacant(released(Some("b"))),
        );
    }

    #[test]
    fn a_record_is_read_back_and_a_foreign_one_is_held_all_the_same() {
        let record = Record {
            node: "a".to_owned(),
            host: "h".to_owned(),
            nonce: u64::MAX,
            n: 3,
            number: None,
            since: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(record.number(7), 7);
        let body = record.encode();
        let record = Some(record);
        check(&[], &body, Seen::Held { seq: 7, record });
        let record = None;
        check(&[], b"mine", Seen::Held { seq: 7, record });
    }
}
