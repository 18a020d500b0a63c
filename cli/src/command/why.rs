//! `fanfare why EVENT DEVICE`: why a device got an event, or why not, from the streams.

mod find;
mod json;
mod text;

use clap::Args;
use fanfare_nats::story::read::{Document, StoryError};
use fanfare_nats::story::unplanned::Unplanned;
use fanfare_nats::story::why::{Case, Chain, why};
use fanfare_nats::{Broker, DeviceId, HashRange, Plan};
use fanfare_nats_server::Environment;
use jiff::Timestamp;

use super::Common;
use super::reach::Reach;
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Why {
    /// The event: its id, its item as the source or the API calls it (SOURCE/ITEM where several
    /// sources have it), or `last`
    #[arg(value_name = "EVENT")]
    event: String,
    /// The device's id
    #[arg(value_name = "DEVICE")]
    device: String,
    /// One object of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Why {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let device =
            DeviceId::parse(&self.device).map_err(|error| Failure::Usage(error.to_string()))?;
        let config = common.load(environment)?;
        let broker = self.reach.broker(&config, environment, "why").await?;
        let sources = config.fetcher.source.iter().map(|it| it.name.clone());
        let found = find::event(&broker, &self.event, sources).await?;
        let case = gather(&broker, found, device, crate::clock::now());
        let case = case.await.map_err(unread)?;
        let is_named = |it: &Chain| {
            let mut lines = it.receipts.iter().flat_map(|(_, it)| &it.lines);
            lines.any(|it| it.device == case.device.hash())
        };
        if case.document == Document::Unknown && !case.chains.iter().any(is_named) {
            let error = anyhow::anyhow!(
                "there is no device {}, and no receipt of this event names it",
                case.device
            );
            return Err(error.into());
        }
        let answer = why(&case);
        if self.json {
            println!("{}", json::of(&case, &answer));
        } else {
            print!("{}", text::of(&case, &answer));
        }
        Ok(())
    }
}

fn unread(error: StoryError) -> Failure {
    Failure::NoServer(error.into())
}

/// Reads what is stored of an event and a device, and nothing else.
async fn gather(
    broker: &Broker,
    found: find::Found,
    device: DeviceId,
    now: Timestamp,
) -> Result<Case, StoryError> {
    let find::Found { stored, plan } = found;
    let document = broker.document(&device).await?;
    let levels = broker.levels_of(&stored.event).await?;
    let absence = if plan.is_some() {
        None
    } else {
        let standings = broker.standings().await?;
        let unplanned = Unplanned {
            seq: stored.seq,
            stored_at: stored.at,
            expires_at: stored.event.expires_at,
            level: &stored.event.level,
            levels: &levels,
            settled_up_to: 0, // Read after the plan was looked for, it would prove nothing.
            plans_kept: standings.plans_kept,
        };
        Some(unplanned.absence(now))
    };
    let chains = match &plan {
        Some(plan) => chains(broker, plan, &device).await?,
        None => Vec::new(),
    };
    let mut letters = Vec::new();
    for chain in &chains {
        let app = &chain.lane.app;
        let event = stored.event.id();
        let mut found = broker.letters(&event, app, device.hash()).await?;
        // One about a whole task may be about another task of the app.
        found.retain(|it| it.letter.task.as_ref().is_none_or(|it| it.index == chain.n));
        letters.append(&mut found);
    }
    Ok(Case {
        device,
        document,
        stored,
        plan,
        absence,
        chains,
        letters,
        levels,
    })
}

/// In each lane, the one task whose range holds the device.
async fn chains(broker: &Broker, plan: &Plan, device: &DeviceId) -> Result<Vec<Chain>, StoryError> {
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
            receipts: broker.receipt_chain(&plan.event, lane, n).await?,
        });
    }
    Ok(chains)
}
