//! Reading the audit: the oldest record first, message by message, from the leader. No consumer is
//! left behind, and the broker looks for the tenant's subjects, so that nothing else is read.

use std::str::FromStr;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use jiff::Timestamp;
use thiserror::Error;

use super::{Change, Message};
use crate::connect::Broker;
use crate::tenant::Tenant;

/// The place of a record among all: the sequence of its message, and its number in it. They grow with
/// time; the default stands before every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Sequence of the message.
    pub seq: u64,
    /// Number in it, from 0.
    pub n: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.seq, self.n)
    }
}

/// A text that is no place.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("is no place of a record, such as 12.0")]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (seq, n) = text.split_once('.').ok_or(NoPlace)?;
        let (seq, n) = (seq.parse().ok(), n.parse().ok());
        let (Some(seq), Some(n)) = (seq, n) else {
            return Err(NoPlace);
        };
        Ok(Self { seq, n })
    }
}

/// A record as it lies in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its place.
    pub place: Place,
    /// When it was stored, by the broker's clock.
    pub stored_at: Timestamp,
    /// The user that wrote it.
    pub user: String,
    /// Whose it is.
    pub tenant: String,
    /// The process that wrote it.
    pub node: String,
    /// The change; `None` if this version cannot read the message.
    pub change: Option<Change>,
}

/// Why the audit could not be read.
#[derive(Debug, Error)]
#[error("the audit could not be read: {0}")]
pub struct ReadAuditError(String);

fn failed(error: impl std::fmt::Display) -> ReadAuditError {
    ReadAuditError(error.to_string())
}

impl Broker {
    /// Records behind a place, the oldest first, of a tenant or of all: those of at most `n_messages`
    /// messages; none mean that there are no more.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// [`ReadAuditError`].
    pub async fn changes_after(
        &self,
        tenant: Option<&Tenant>,
        after: Place,
        n_messages: usize,
    ) -> Result<Vec<Kept>, ReadAuditError> {
        let stream = self.audit_stream().await?;
        let filter = self.names.audits(tenant);
        let mut kept = Vec::new();
        // Of the message in which the last page ended something may be left.
        let mut from = after.seq.max(1);
        let mut left = n_messages;
        while left > 0 {
            let Some(message) = next(&stream, &filter, from).await? else {
                break;
            };
            from = message.sequence.saturating_add(1);
            // What is left of it counts for nothing, or a page could be empty with more behind it.
            left -= usize::from(message.sequence > after.seq);
            kept.extend(read(&message).into_iter().filter(|it| it.place > after));
        }
        Ok(kept)
    }

    /// The place before the first record that was stored at `since` or later, by halving: about 20 reads
    /// for a million messages.
    ///
    /// # Errors
    /// [`ReadAuditError`].
    pub async fn changes_since(
        &self,
        tenant: Option<&Tenant>,
        since: Timestamp,
    ) -> Result<Place, ReadAuditError> {
        let stream = self.audit_stream().await?;
        let filter = self.names.audits(tenant);
        let newest = self.last_message(&self.names.audit(), &filter).await;
        let newest = newest.map_err(failed)?.map_or(0, |it| it.sequence);
        let oldest = next(&stream, &filter, 1).await?;
        let mut low = oldest.map_or(1, |it| it.sequence);
        let mut high = newest.saturating_add(1).max(low);
        while low < high {
            let middle = low + (high - low) / 2;
            match next(&stream, &filter, middle).await? {
                Some(message) if stored_at(&message) < since => low = message.sequence + 1,
                Some(_) | None => high = middle,
            }
        }
        // Nothing lies between the last number of the message before and the first of this one.
        Ok(Place {
            seq: low.saturating_sub(1),
            n: usize::MAX,
        })
    }

    async fn audit_stream(&self) -> Result<Stream<()>, ReadAuditError> {
        let stream = self.reads.get_stream_no_info(self.names.audit()).await;
        stream.map_err(failed)
    }
}

/// The first message at or behind a sequence.
async fn next(
    stream: &Stream<()>,
    filter: &str,
    from: u64,
) -> Result<Option<StreamMessage>, ReadAuditError> {
    match stream.get_first_raw_message_by_subject(filter, from).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn stored_at(message: &StreamMessage) -> Timestamp {
    Timestamp::from_nanosecond(message.time.unix_timestamp_nanos()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn read(message: &StreamMessage) -> Vec<Kept> {
    records(
        message.sequence,
        stored_at(message),
        &message.subject,
        &message.payload,
    )
}

/// The records of a message. Its subject is where the broker says who wrote it; what is in it is what
/// he says.
fn records(seq: u64, stored_at: Timestamp, subject: &str, payload: &[u8]) -> Vec<Kept> {
    let mut tokens = subject.rsplit('.').map(str::to_owned);
    let [node, tenant, user] = [(); 3].map(|()| tokens.next().unwrap_or_default());
    let kept = |n, change| Kept {
        place: Place { seq, n },
        stored_at,
        user: user.clone(),
        tenant: tenant.clone(),
        node: node.clone(),
        change,
    };
    match serde_json::from_slice::<Message>(payload) {
        Ok(message) => {
            let records = message.records.into_iter().enumerate();
            records.map(|(n, it)| kept(n, Some(it))).collect()
        }
        Err(_) => vec![kept(0, None)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Who;

    #[test]
    fn what_a_later_version_adds_is_ignored_and_what_cannot_be_read_is_told() {
        let text = r#"{"schema":2,"colour":1,"records":[
            {"at":"2026-01-01T00:00:00Z","who":{"kind":"key","id":"a","more":1},
             "what":"pauseLane","of":{"lane":"ios-bulk"},"status":200,"more":1},
            {"at":"2026-01-01T00:00:00Z","who":{"kind":"device"},"what":"putDevice"}]}"#;
        let at = Timestamp::UNIX_EPOCH;
        let of = records(7, at, "fanfare.audit.api.acme.n1", text.as_bytes());
        let places: Vec<String> = of.iter().map(|it| it.place.to_string()).collect();
        assert_eq!(places, ["7.0", "7.1"]);
        let Kept {
            user, tenant, node, ..
        } = &of[0];
        assert_eq!([user, tenant, node], ["api", "acme", "n1"]);
        let change = of[0].change.as_ref().unwrap();
        assert_eq!(change.of["lane"], "ios-bulk");
        assert_eq!(change.who, Who::Key { id: "a".to_owned() });
        let other = records(8, at, "fanfare.audit.ops.main.n2", b"hello");
        assert!(matches!(other.as_slice(), [it] if it.change.is_none() && it.user == "ops"));
    }

    #[test]
    fn a_place_is_read_as_it_is_written_and_grows_with_time() {
        let place = |text: &str| text.parse::<Place>();
        assert_eq!(place("12.3").unwrap().to_string(), "12.3");
        for wrong in ["12", "12.", ".1", "a.b", "1.2.3", "-1.0"] {
            assert_eq!(place(wrong), Err(NoPlace), "{wrong}");
        }
        let order = ["9.1", "10.0", "10.2"].map(|it| place(it).unwrap());
        assert!(order.is_sorted());
    }
}
