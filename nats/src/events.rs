//! Reading events back, from the leader.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use thiserror::Error;

use crate::connect::Broker;
use crate::control::ReadError;
use crate::event::{Event, ScreenId, SourceName};
use crate::level::Level;
use crate::subject::Subject;
use crate::wire::{self, DecodeEventError};

/// Why an event could not be read back.
#[derive(Debug, Error)]
pub enum ReadEventError {
    /// The leader did not answer.
    #[error("the stored event could not be read")]
    Read(#[source] ReadError),
    /// The leader did not answer.
    #[error("the stored event could not be read: {0}")]
    Unavailable(String),
    /// What is stored is no event.
    #[error("the stored event is not readable")]
    Decode(#[source] DecodeEventError),
}

fn decode(message: &StreamMessage) -> Result<Event, ReadEventError> {
    wire::decode(&message.headers, &message.payload).map_err(ReadEventError::Decode)
}

impl Broker {
    /// The event stored for an item's level, with its stream sequence.
    ///
    /// # Errors
    /// [`ReadEventError`].
    pub async fn stored_event(
        &self,
        source: &SourceName,
        screen: &ScreenId,
        level: &Level,
    ) -> Result<Option<(u64, Event)>, ReadEventError> {
        let subject = self.names.subject(&Subject::Event {
            source: source.clone(),
            screen: screen.clone(),
            level: level.clone(),
        });
        let last = self.last_message(&self.names.events(), &subject).await;
        let last = last.map_err(ReadEventError::Read)?;
        last.map(|it| Ok((it.sequence, decode(&it)?))).transpose()
    }

    /// The event at a stream sequence; `None` if it has aged out.
    ///
    /// # Errors
    /// [`ReadEventError`].
    pub async fn event_at(&self, seq: u64) -> Result<Option<Event>, ReadEventError> {
        let unavailable = |text: String| ReadEventError::Unavailable(text);
        let stream = self
            .reads
            .get_stream_no_info(self.names.events())
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        match stream.get_raw_message(seq).await {
            Ok(message) => decode(&message).map(Some),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::InvalidSubject
                | RawMessageErrorKind::JetStream(_)
                | RawMessageErrorKind::Other => Err(unavailable(error.to_string())),
            },
        }
    }

    /// All levels that are stored for an item, from the leader.
    ///
    /// # Errors
    /// [`ReadEventError::Unavailable`].
    pub async fn stored_levels(
        &self,
        source: &SourceName,
        screen: &ScreenId,
    ) -> Result<Vec<Level>, ReadEventError> {
        use futures::TryStreamExt;

        let unavailable = |text: String| ReadEventError::Unavailable(text);
        let stream = self
            .reads
            .get_stream_no_info(self.names.events())
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        let filter = self.names.item_levels(source, screen);
        let subjects: Vec<(String, usize)> = stream
            .info_with_subjects(filter)
            .await
            .map_err(|error| unavailable(error.to_string()))?
            .try_collect()
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        Ok(subjects
            .iter()
            .filter_map(|(subject, _)| match self.names.parse(subject) {
                Ok(Subject::Event { level, .. }) => Some(level),
                Ok(_) | Err(_) => None,
            })
            .collect())
    }
}
