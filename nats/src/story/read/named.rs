//! The event that somebody names who may not search the whole stream: a few reads, whatever the
//! name, so that asking for what does not exist costs no more than asking for what does.

use futures::StreamExt;
use jiff::Timestamp;

use super::case::absence;
use super::{Standings, StoredEvent, StoryError};
use crate::connect::Broker;
use crate::event::{EventId, ScreenId, SourceName};
use crate::plan::Plan;
use crate::story::unplanned::Absence;
use crate::tenant::Tenant;

/// An event that waits for its plan is looked for among so many that wait, the newest: whoever asks
/// by an event's id has mostly just posted it.
const WAITING: u64 = 512;
/// So many of them are asked for at once.
const AT_ONCE: usize = 32;

/// An event that was found by its name.
#[derive(Clone, Debug)]
pub struct Named {
    /// The event.
    pub stored: StoredEvent,
    /// Its plan, or why there is none.
    pub plan: Result<Plan, Absence>,
}

impl Broker {
    /// An event of a tenant by its id, or by the id that its poster gave it: planned, or posted, or among the
    /// newest 512 that planners have not come to. An event of a source that expired or was superseded before
    /// anybody planned it is not found by its id.
    ///
    /// An event id is looked for first, so that nobody can stand before another's event by naming
    /// his own like it.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn event_named(
        &self,
        tenant: &Tenant,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Named>, StoryError> {
        let id = EventId::parse(name);
        if let Some(planned) = self.planned(tenant, id.as_ref()).await? {
            return Ok(Some(planned));
        }
        // Before the plan is looked for: what is acknowledged here must have one.
        let standings = self.standings().await?;
        let source = SourceName::api();
        let filter = self
            .names
            .item_levels(&source, &ScreenId::new(&source, &tenant.text(name)));
        let mut stored = self.newest_event(Some(&filter)).await?;
        if let (None, Some(id)) = (&stored, &id) {
            stored = self.waiting_event(id, &standings).await?;
        }
        let Some(stored) = stored.filter(|it| it.event.tenant() == *tenant) else {
            // It may have been planned between the first look and the planners' standing.
            return self.planned(tenant, id.as_ref()).await;
        };
        let plan = if let Some(plan) = self.plan_of(&stored.event.id()).await? {
            Ok(plan)
        } else {
            let levels = self.levels_of(&stored.event).await?;
            Err(absence(&stored, &levels, &standings, now))
        };
        Ok(Some(Named { stored, plan }))
    }

    async fn planned(
        &self,
        tenant: &Tenant,
        id: Option<&EventId>,
    ) -> Result<Option<Named>, StoryError> {
        let Some(id) = id else {
            return Ok(None);
        };
        let Some(plan) = self.plan_of(id).await? else {
            return Ok(None);
        };
        let stored = self.event_at_exactly(plan.event_seq).await?;
        let is_it = |it: &StoredEvent| it.event.id() == *id && it.event.tenant() == *tenant;
        let stored = stored.filter(is_it);
        let plan = Ok(plan);
        Ok(stored.map(|stored| Named { stored, plan }))
    }

    async fn waiting_event(
        &self,
        id: &EventId,
        standings: &Standings,
    ) -> Result<Option<StoredEvent>, StoryError> {
        let (oldest, last) = standings.events;
        let unsettled = standings.settled_up_to.saturating_add(1);
        let first = unsettled.max(oldest).max(last.saturating_sub(WAITING - 1));
        let mut asked = futures::stream::iter((first..=last).rev())
            .map(|seq| self.event_at_exactly(seq))
            .buffered(AT_ONCE);
        while let Some(found) = asked.next().await {
            if let Some(found) = found?.filter(|it| it.event.id() == *id) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
