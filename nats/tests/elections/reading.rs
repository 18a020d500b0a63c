//! Reads a whole stream by a plain client, once, without bodies.

use std::collections::BTreeMap;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use futures::StreamExt;

use super::rig::patiently;

/// What a stream holds: subject by sequence.
pub(crate) type Held = BTreeMap<u64, String>;

/// Reads a stream; asks again while its leader is not there.
pub(crate) async fn held(raw: &Context, stream: &str) -> Held {
    patiently(async || read(raw, stream).await.map_err(|it| it.to_string())).await
}

async fn read(raw: &Context, stream: &str) -> Result<Held, async_nats::Error> {
    let stream = raw.get_stream(stream).await?;
    let consumer = stream
        .create_consumer(pull::Config {
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            headers_only: true,
            ..pull::Config::default()
        })
        .await?;
    let mut left = consumer.cached_info().num_pending;
    let mut held = Held::new();
    while left > 0 {
        let batch = consumer.batch().max_messages(5000);
        let mut batch = batch
            .expires(std::time::Duration::from_secs(5))
            .messages()
            .await?;
        let before = left;
        while let Some(message) = batch.next().await {
            let message = message?;
            let info = message.info()?;
            left = info.pending;
            let seq = info.stream_sequence;
            held.insert(seq, message.subject.to_string());
            if left == 0 {
                break;
            }
        }
        if left == before {
            return Err("the reading stands still".into());
        }
    }
    Ok(held)
}

/// How often each subject is held, and where last.
pub(crate) fn by_subject(held: &Held) -> BTreeMap<&str, Vec<u64>> {
    let mut subjects: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (seq, subject) in held {
        subjects.entry(subject).or_default().push(*seq);
    }
    subjects
}
