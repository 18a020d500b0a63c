//! The receipts of an event, read one by one: slower than in bulk, and without the right to make
//! consumers.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt};

use super::StoryError;
use crate::connect::Broker;
use crate::plan::{Lane, Plan};
use crate::receipt::Receipt;
use crate::story::tally::Tally;
use crate::{EventId, genuine};

/// Tasks that are read at once.
const AT_ONCE: usize = 32;

impl Broker {
    /// What the receipts of an event say, from at most `most` of them.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn tally(&self, plan: &Plan, most: u64) -> Result<Tally, StoryError> {
        let n_read = AtomicU64::new(0);
        let tasks: Vec<(Lane, u32)> = plan.tasks().map(|it| (it.lane, it.range.index())).collect();
        let read = |(lane, n): (Lane, u32)| {
            let (n_read, event) = (&n_read, &plan.event);
            async move {
                let (receipts, is_whole) = self.few_receipts(event, lane, n, most, n_read).await?;
                Ok(Tally::of_task(&receipts, is_whole))
            }
        };
        futures::stream::iter(tasks)
            .map(read)
            .buffer_unordered(AT_ONCE)
            .try_fold(Tally::default(), |mut all, one| async move {
                all.add(one);
                Ok(all)
            })
            .await
    }

    /// The receipts of a task, as long as fewer than `most` were read by all together; and whether
    /// that was all.
    async fn few_receipts(
        &self,
        event: &EventId,
        lane: Lane,
        n: u32,
        most: u64,
        n_read: &AtomicU64,
    ) -> Result<(Vec<Receipt>, bool), StoryError> {
        let subject = self.receipt_subject(event, &lane, n);
        let stream = self.stream_of(self.names.receipts()).await?;
        let (mut receipts, mut from) = (Vec::new(), 1);
        loop {
            if n_read.fetch_add(1, Ordering::Relaxed) >= most {
                return Ok((receipts, false));
            }
            let Some(message) = self.message_from(&stream, &subject, from).await? else {
                return Ok((receipts, true));
            };
            from = message.sequence + 1;
            if genuine::is_receipt(&subject, &message.headers) {
                receipts.push(super::receipt(&subject, &message)?);
            }
        }
    }
}
