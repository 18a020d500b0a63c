//! Everything that is stored of one event and one device.

use jiff::Timestamp;

use super::{Standings, StoredEvent, StoryError};
use crate::connect::Broker;
use crate::device::DeviceId;
use crate::level::Level;
use crate::plan::{HashRange, Plan};
use crate::story::unplanned::{Absence, Unplanned};
use crate::story::why::{Case, Chain};

/// Whether dead letters are read too. Not every role may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters {
    /// They are.
    Wanted,
    /// They are left alone: the receipts say what became of the device without them.
    LeftAlone,
}

impl Broker {
    /// Reads what is stored of an event and a device, and nothing else: some ten small reads.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn case(
        &self,
        stored: StoredEvent,
        plan: Option<Plan>,
        device: DeviceId,
        letters: Letters,
        now: Timestamp,
    ) -> Result<Case, StoryError> {
        let document = self.document(&device).await?;
        let levels = self.levels_of(&stored.event).await?;
        let absence = if plan.is_some() {
            None
        } else {
            let standings = Standings {
                settled_up_to: 0, // Read after the plan was looked for, it would prove nothing.
                ..self.standings().await?
            };
            Some(absence(&stored, &levels, &standings, now))
        };
        let chains = match &plan {
            Some(plan) => self.chains(plan, &device).await?,
            None => Vec::new(),
        };
        let mut found = Vec::new();
        if letters == Letters::Wanted {
            for chain in &chains {
                let (app, event) = (&chain.lane.app, stored.event.id());
                let mut letters = self.letters(&event, app, device.hash()).await?;
                // One about a whole task may be about another task of the app.
                letters.retain(|it| it.letter.task.as_ref().is_none_or(|it| it.index == chain.n));
                found.append(&mut letters);
            }
        }
        Ok(Case {
            device,
            document,
            stored,
            plan,
            absence,
            chains,
            letters: found,
            levels,
        })
    }

    /// In each lane, the one task whose range holds the device.
    async fn chains(&self, plan: &Plan, device: &DeviceId) -> Result<Vec<Chain>, StoryError> {
        let mut chains = Vec::new();
        for (lane, log2_n) in &plan.lanes {
            let n_tasks = 1_u32 << log2_n;
            let holds =
                |n: &u32| HashRange::new(*n, *log2_n).is_some_and(|it| it.contains(device.hash()));
            let Some(n) = (0..n_tasks).find(holds) else {
                continue;
            };
            chains.push(Chain {
                lane: lane.clone(),
                n,
                n_tasks,
                receipts: self.receipt_chain(&plan.event, lane, n).await?,
            });
        }
        Ok(chains)
    }
}

/// Why an event has no plan.
pub(super) fn absence(
    stored: &StoredEvent,
    levels: &[Level],
    standings: &Standings,
    now: Timestamp,
) -> Absence {
    let unplanned = Unplanned {
        seq: stored.seq,
        stored_at: stored.at,
        expires_at: stored.event.expires_at,
        level: &stored.event.level,
        levels,
        settled_up_to: standings.settled_up_to,
        plans_kept: standings.plans_kept,
    };
    unplanned.absence(now)
}
