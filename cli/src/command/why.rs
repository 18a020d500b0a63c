//! `fanfare why EVENT DEVICE`: why a device got an event, or why not, from the streams.

mod find;
mod json;
mod text;

use clap::Args;
use fanfare_nats::DeviceId;
use fanfare_nats::story::read::{Letters, StoryError};
use fanfare_nats::story::why::why;
use fanfare_nats_server::Environment;

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
        let device = DeviceId::parse_stored(&self.device)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let config = common.load(environment)?;
        let broker = self.reach.broker(&config, environment, "why").await?;
        let sources = config.fetcher.source.iter().map(|it| it.name.clone());
        let found = find::event(&broker, &self.event, sources).await?;
        let find::Found { stored, plan } = found;
        let now = crate::clock::now();
        let case = broker.case(stored, plan, device, Letters::Wanted, now);
        let case = case.await.map_err(unread)?;
        if !case.is_of_a_known_device() {
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
