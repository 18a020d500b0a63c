//! Asking running processes how they are, as an operator does.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::time::timeout;

use super::status_subject;
use crate::connect::Broker;
use crate::members::Member;

/// How long one process has for its answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Processes asked at a time.
const AT_ONCE: usize = 32;

impl Broker {
    /// The figures of every process of a role that answers within a second. Only operators may ask.
    pub async fn figures(&self, role: &str) -> Vec<(Member, Value)> {
        let members = self.members(role).await.unwrap_or_default();
        let asked = members.into_iter().map(|member| async move {
            let subject = status_subject(&self.names, role, &member.node);
            let answer = timeout(PATIENCE, self.client.request(subject, Bytes::new()));
            let message = answer.await.ok()?.ok()?;
            let mut told: Value = serde_json::from_slice(&message.payload).ok()?;
            let figures = told.get_mut("figures").map(Value::take)?;
            Some((member, figures))
        });
        let answers = stream::iter(asked).buffered(AT_ONCE);
        answers.filter_map(async |it| it).collect().await
    }
}
