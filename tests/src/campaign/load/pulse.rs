//! What is urgent: the pulse, small events by which waits are measured, and one event in eight.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::json;
use tokio::time::sleep;

use super::Load;
use crate::campaign::book::Group;

/// So many may wait for their answer at once.
const AT_ONCE: usize = 200;

impl Load<'_> {
    /// Posts a small urgent event so often, whether or not the one before it was answered.
    pub async fn keep_pulsing(&self, every: Duration) {
        let beats = stream::unfold(0_u64, |n| async move {
            if self.is_over() {
                return None;
            }
            sleep(every).await;
            Some((n, n + 1))
        });
        let beat = async |n| {
            let more = json!({"urgency": "urgent"});
            self.post_to(Group::Pulse, "pulse", &format!("pulse-{n}"), &more)
                .await;
        };
        beats.for_each_concurrent(AT_ONCE, beat).await;
    }
}

/// One event in eight is urgent.
pub(super) fn urgency(n: u64) -> &'static str {
    if n.is_multiple_of(8) {
        "urgent"
    } else {
        "bulk"
    }
}
