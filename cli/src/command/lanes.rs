//! `fanfare lanes`: what waits on each lane, and an operator's pause.
//!
//! A pause is the broker's own pause of the lane's consumer: it holds for every notifier, survives
//! every restart, and `nats consumer pause` does the same.

use std::fmt::Write;

use anyhow::Context;
use clap::{Args, Subcommand};
use fanfare_nats::lanes::{LaneError, LaneReport};
use fanfare_nats::permissions::Role as User;
use fanfare_nats::{Broker, Lane, Tenant};
use fanfare_nats_server::Environment;
use jiff::{SignedDuration, Timestamp, Unit};

use super::reach::Reach;
use super::{Common, audit};
use crate::exit::Failure;

/// A pause without an end is one of ten years.
pub(super) const FOR_EVER: SignedDuration = SignedDuration::from_hours(24 * 3652);

#[derive(Args)]
pub(crate) struct Lanes {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Shows every lane: tasks that wait, tasks in hand, and until when it is paused
    List {
        /// One object of JSON a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Stops sending on a lane; its work is kept
    Pause {
        /// The lane, as `list` shows it, for example ios-bulk
        #[arg(value_name = "LANE")]
        lane: String,
        /// For how long, for example 90s, 30m or 2h [default: until it is resumed]
        #[arg(long = "for", value_name = "TIME", value_parser = lasting)]
        lasting: Option<SignedDuration>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Ends a pause
    Resume {
        /// The lane, as `list` shows it
        #[arg(value_name = "LANE")]
        lane: String,
        #[command(flatten)]
        reach: Reach,
    },
}

impl Lanes {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let config = common.load(environment)?;
        match self.what {
            What::List { json, reach } => {
                let broker = reach.broker(&config, environment, "lanes").await?;
                let lanes = broker.lanes().await.map_err(anyhow::Error::from)?;
                let now = crate::clock::now();
                print!(
                    "{}",
                    if json {
                        as_json(&lanes)
                    } else {
                        as_table(&lanes, now)
                    }
                );
                Ok(())
            }
            What::Pause {
                lane,
                lasting,
                reach,
            } => {
                let lane = read(&lane)?;
                let broker = reach.broker(&config, environment, "lanes").await?;
                let until = crate::clock::now() + lasting.unwrap_or(FOR_EVER);
                let paused = broker.pause_lane(&lane, until).await;
                known(paused, &broker).await?;
                match lasting {
                    Some(_) => println!("{lane} is paused until {}", shown(until)),
                    None => println!("{lane} is paused until it is resumed"),
                }
                note(&broker, "pauseLane", &lane).await
            }
            What::Resume { lane, reach } => {
                let lane = read(&lane)?;
                let broker = reach.broker(&config, environment, "lanes").await?;
                let resumed = broker.resume_lane(&lane).await;
                known(resumed, &broker).await?;
                println!("{lane} is not paused");
                note(&broker, "resumeLane", &lane).await
            }
        }
    }
}

async fn note(broker: &Broker, what: &str, lane: &Lane) -> Result<(), Failure> {
    let of = [("lane", lane.to_string())];
    audit::note(broker, User::Ops, &Tenant::main(), what, of).await
}

fn read(lane: &str) -> Result<Lane, Failure> {
    Lane::parse(lane).ok_or_else(|| {
        let text = format!("{lane:?} is no lane: a lane is an app with -urgent or -bulk");
        Failure::Usage(text)
    })
}

pub(super) fn lasting(text: &str) -> Result<SignedDuration, String> {
    let lasting: SignedDuration = text.parse().map_err(|_| "is no time such as 30m")?;
    if lasting.is_positive() && lasting <= FOR_EVER {
        Ok(lasting)
    } else {
        Err("must be longer than nothing and at most ten years".to_owned())
    }
}

/// Names the lanes that there are where the one that was named is not among them.
async fn known(done: Result<LaneReport, LaneError>, broker: &Broker) -> anyhow::Result<()> {
    let Err(error) = done else { return Ok(()) };
    if !matches!(error, LaneError::Unknown(_)) {
        return Err(error.into());
    }
    let lanes = broker.lanes().await.unwrap_or_default();
    let names: Vec<_> = lanes.iter().map(|it| it.lane.to_string()).collect();
    Err(error).context(match names.as_slice() {
        [] => "no notifier was ever started here".to_owned(),
        names => format!("the lanes are {}", names.join(", ")),
    })
}

pub(super) fn shown(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

fn as_table(lanes: &[LaneReport], now: Timestamp) -> String {
    let width = lanes.iter().map(|it| it.lane.to_string().len());
    let width = width.max().unwrap_or_default().max("lane".len());
    let mut text = format!("{:width$}  waiting  in hand  paused until\n", "lane");
    for it in lanes {
        let until = match it.paused_until {
            None => String::new(),
            Some(until) if until > now + FOR_EVER / 2 => "it is resumed".to_owned(),
            Some(until) => shown(until),
        };
        let lane = it.lane.to_string();
        let (n_pending, n_in_hand) = (it.n_pending, it.n_in_hand);
        let row = format!("{lane:width$}  {n_pending:>7}  {n_in_hand:>7}  {until}");
        // Writing to a String cannot fail.
        let _ok = writeln!(text, "{}", row.trim_end());
    }
    text
}

fn as_json(lanes: &[LaneReport]) -> String {
    lanes.iter().fold(String::new(), |mut text, it| {
        let line = serde_json::json!({
            "lane": it.lane.to_string(),
            "waiting": it.n_pending,
            "in_hand": it.n_in_hand,
            "paused_until": it.paused_until,
        });
        let _ok = writeln!(text, "{line}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes() -> Vec<LaneReport> {
        let lane = |name: &str, n_pending, until: Option<i64>| LaneReport {
            lane: Lane::parse(name).unwrap(),
            n_pending,
            n_in_hand: 4,
            paused_until: until.map(|it| Timestamp::from_second(it).unwrap()),
        };
        vec![
            lane("ios-bulk", 12_000, Some(3600)),
            lane("ios-urgent", 0, None),
            lane("web-bulk", 1, Some(24 * 3600 * 3652)),
        ]
    }

    #[test]
    fn a_table_has_a_line_for_each_lane() {
        let expected = "\
lane        waiting  in hand  paused until
ios-bulk      12000        4  1970-01-01T01:00:00Z
ios-urgent        0        4
web-bulk          1        4  it is resumed
";
        assert_eq!(as_table(&lanes(), Timestamp::UNIX_EPOCH), expected);
    }

    #[test]
    fn json_has_an_object_for_each_lane() {
        let text = as_json(&lanes());
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["lane"], "ios-bulk");
        assert_eq!(first["paused_until"], "1970-01-01T01:00:00Z");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(lasting("1h"), Ok(SignedDuration::from_hours(1)));
        assert_eq!(lasting("90s"), Ok(SignedDuration::from_secs(90)));
        for wrong in ["0s", "-1h", "soon", "100000h"] {
            assert!(lasting(wrong).is_err(), "{wrong}");
        }
        assert!(read("ios").is_err() && read("ios-bulk").is_ok());
    }
}
