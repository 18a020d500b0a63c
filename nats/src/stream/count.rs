//! How much is stored.

use super::TopologyError;
use crate::connect::Broker;

impl Broker {
    /// Messages stored in the streams of plans, tasks and receipts, ever: what a fan-out costs the
    /// broker.
    ///
    /// # Errors
    /// [`TopologyError::Create`] names the stream that could not be asked.
    pub async fn n_messages(&self) -> Result<u64, TopologyError> {
        let mut n = 0;
        for name in [self.names.tasks(), self.names.receipts()] {
            let stream = self.context.get_stream(&name).await;
            let stream = stream.map_err(|error| TopologyError::Create {
                name,
                text: error.to_string(),
            })?;
            n += stream.cached_info().state.last_sequence;
        }
        Ok(n)
    }
}
