//! A few letters from a number on, message by message: a reader that asks often leaves no consumer behind.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};

use super::read::{Entry, ReadDeadError, Wanted};
use crate::connect::Broker;

impl Broker {
    /// The first letters that are wanted with greater numbers than `after`, the oldest first, at most
    /// `most`; fewer mean that there are no more. [`Wanted::since`] does not count here: the broker
    /// finds no message by its time this way.
    ///
    /// # Errors
    /// [`ReadDeadError::Read`].
    pub async fn dead_letters_after(
        &self,
        wanted: &Wanted,
        after: u64,
        most: usize,
    ) -> Result<Vec<Entry>, ReadDeadError> {
        let name = self.names.dead();
        let failed = |text: String| ReadDeadError::Read {
            stream: name.clone(),
            text,
        };
        let stream = self.reads.get_stream_no_info(&name).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        // The next one of each kind of subject; the oldest of them is the next of all.
        let mut heads = Vec::new();
        for filter in wanted.filters(&self.names) {
            let next = next(&stream, &filter, after.saturating_add(1)).await;
            if let Some(message) = next.map_err(failed)? {
                heads.push((filter, message));
            }
        }
        let mut entries = Vec::new();
        while entries.len() < most {
            let oldest = heads.iter_mut().min_by_key(|(_, it)| it.sequence);
            let Some((filter, head)) = oldest else { break };
            let seq = head.sequence;
            entries.push(Entry::of(head));
            if entries.len() == most {
                break;
            }
            match next(&stream, filter, seq + 1).await.map_err(failed)? {
                Some(message) => *head = message,
                None => heads.retain(|(_, it)| it.sequence != seq),
            }
        }
        Ok(entries)
    }
}

async fn next(
    stream: &Stream<()>,
    filter: &str,
    from: u64,
) -> Result<Option<StreamMessage>, String> {
    match stream.get_first_raw_message_by_subject(filter, from).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
