//! An event that an app posts through one of several APIs: stored once, and exactly one of them is
//! told that it was the one.

use async_nats::HeaderMap;
use thiserror::Error;

use crate::connect::Broker;
use crate::control::ReadError;
use crate::event::Event;
use crate::publish::{PublishEventError, Published};
use crate::wire::{self, DecodeEventError};

/// Names one post among all: whoever's answer was lost finds by it that what is stored is its own.
/// It is no attribute of the event, nobody else reads it.
const POST: &str = "Fanfare-Post";

/// What became of a post.
#[derive(Debug)]
pub enum Posted {
    /// This post stored the event.
    New,
    /// Another one did before: the event as it is stored.
    Before(Box<Event>),
}

/// Why it is not known what became of a post.
#[derive(Debug, Error)]
pub enum PostEventError {
    /// It could not be published.
    #[error(transparent)]
    Publish(PublishEventError),
    /// Something is stored, but the leader did not tell what. The same post again settles it.
    #[error("the event that is stored could not be read")]
    Read(#[source] ReadError),
    /// Something is stored, but the leader that answered does not know of it: one that was deposed.
    /// The same post again settles it.
    #[error("the event that is stored was not found")]
    NotFound,
    /// What is stored is no event.
    #[error("the event that is stored is not readable")]
    Decode(#[source] DecodeEventError),
}

impl Broker {
    /// Stores an event unless there is one of its identity, which is given back then.
    ///
    /// Dropping the future leaves it unknown whether the event is stored; the same event again is
    /// harmless.
    ///
    /// # Errors
    /// [`PostEventError`].
    pub async fn post(&self, event: &Event) -> Result<Posted, PostEventError> {
        self.post_as(event, &format!("{:x}", Self::nonce())).await
    }

    /// As [`Self::post`], by a name: the same post again is told the same, [`Posted::New`].
    ///
    /// # Errors
    /// [`PostEventError`].
    pub async fn post_as(&self, event: &Event, name: &str) -> Result<Posted, PostEventError> {
        let mut headers = HeaderMap::new();
        headers.insert(POST, name);
        match self.publish_with(event, headers).await {
            Ok(Published::Stored(_)) => return Ok(Posted::New),
            Ok(Published::Already) => {}
            Err(error) => return Err(PostEventError::Publish(error)),
        }
        let subject = self.event_subject(event);
        let last = self.last_message(&self.names.events(), &subject).await;
        let Some(last) = last.map_err(PostEventError::Read)? else {
            return Err(PostEventError::NotFound);
        };
        let is_ours = last.headers.get(POST).is_some_and(|it| it.as_str() == name);
        if is_ours {
            return Ok(Posted::New);
        }
        let before = wire::decode(&last.headers, &last.payload).map_err(PostEventError::Decode)?;
        Ok(Posted::Before(Box::new(before)))
    }
}
