//! Changes what exists, where that is safe while everything runs.
//!
//! Values are set in the broker's own JSON, so that whatever else an operator configured, also what
//! this version knows nothing of, stays as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::response::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Difference, EVENTS_CONSUMER, LANE_EPOCH, Remedy, Topology, TopologyError, Weight};
use crate::connect::Broker;

/// How long a stream that changes its replicas may take to answer again.
const SETTLE: Duration = Duration::from_millis(250);
const SETTLE_TRIES: u32 = 40;
/// How long new copies are waited for; those of large streams go on by themselves.
const CATCH_UP: Duration = Duration::from_mins(2);
/// How the names of lanes' durables begin.
const SEND: &str = "send-";

/// A step that `apply` takes, or leaves to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a stream, bucket or consumer.
    Create {
        /// Its name.
        name: String,
    },
    /// Set values of one, while everything runs.
    Set {
        /// Its name.
        name: String,
        /// Values by key; `null` removes one.
        values: BTreeMap<&'static str, Value>,
        /// What is wrong with it.
        differences: Vec<Difference>,
    },
    /// Nothing that can be done from here.
    ByHand {
        /// What is wrong.
        difference: Difference,
        /// What can be done.
        how: &'static str,
    },
}

/// What would be done about differences, in order.
pub fn steps(differences: Vec<Difference>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut changes: BTreeMap<String, (BTreeMap<&'static str, Value>, Vec<Difference>)> =
        BTreeMap::new();
    for difference in differences {
        let name = difference.name.clone();
        match difference.remedy.clone() {
            Remedy::Create => steps.push(Step::Create { name }),
            Remedy::Set(values) => {
                let (all, about) = changes.entry(name).or_default();
                all.extend(values);
                about.push(difference);
            }
            Remedy::ByHand(how) => steps.push(Step::ByHand { difference, how }),
        }
    }
    let changes = changes
        .into_iter()
        .map(|(name, (values, differences))| Step::Set {
            name,
            values,
            differences,
        });
    steps.extend(changes);
    steps
}

impl Broker {
    /// Takes the steps that can be taken: creates what is missing, sets values. What exists keeps
    /// everything else. Returns what is different still.
    ///
    /// Safe while everything runs, to repeat, and to drop.
    ///
    /// # Errors
    /// [`TopologyError`] names the first step that the broker refused; those before are taken.
    pub async fn apply(
        &self,
        topology: &Topology,
        steps: &[Step],
    ) -> Result<Vec<Difference>, TopologyError> {
        for step in steps {
            if let Step::Set { name, values, .. } = step {
                self.set(name, values).await?;
            }
        }
        self.create_missing(topology).await?;
        let mut tries = 1..SETTLE_TRIES;
        loop {
            let left = self.verify(topology).await;
            // A stream with new replicas is away for a moment.
            let is_changing = left.iter().any(|it| it.remedy == Remedy::Create);
            if !is_changing || tries.next().is_none() {
                let behind = self.caught_up(steps).await;
                return Ok(left.into_iter().chain(behind).collect());
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Waits until the copies that were asked for have everything; a change of their number is
    /// answered when it is proposed. What is not current in time is told.
    async fn caught_up(&self, steps: &[Step]) -> Vec<Difference> {
        let deadline = Instant::now() + CATCH_UP;
        let mut behind = Vec::new();
        for step in steps {
            let Step::Set { name, values, .. } = step else {
                continue;
            };
            let Some(wanted) = values.get("num_replicas").and_then(Value::as_u64) else {
                continue;
            };
            loop {
                let n = self.n_current(name).await;
                if n >= wanted {
                    break;
                }
                if Instant::now() > deadline {
                    behind.push(Difference {
                        name: name.clone(),
                        property: "copies",
                        found: format!("{n} that have everything"),
                        needed: wanted.to_string(),
                        why: "until then the loss of a server may stop it",
                        weight: Weight::Doubtful,
                        remedy: Remedy::ByHand("they are being made: fanfare doctor tells"),
                    });
                    break;
                }
                tokio::time::sleep(SETTLE).await;
            }
        }
        behind
    }

    /// Copies of a stream that have everything, the leader's included.
    async fn n_current(&self, name: &str) -> u64 {
        let told = self.api(&format!("STREAM.INFO.{name}"), &json!({})).await;
        let told = told.unwrap_or_default();
        let has_leader = told.pointer("/cluster/leader").is_some();
        let copies = told.pointer("/cluster/replicas").and_then(Value::as_array);
        let copies = copies.into_iter().flatten();
        let is_current = |it: &&Value| it.get("current") == Some(&Value::Bool(true));
        u64::from(has_leader) + copies.filter(is_current).map(|_| 1).sum::<u64>()
    }

    /// After a restore: lets claims of this moment win over all that are recorded, and has every
    /// stored event looked at again. What is planned or recorded as accepted is recognised.
    ///
    /// No notifier may run. `epoch` is a number that grows with time, such as seconds.
    ///
    /// # Errors
    /// [`TopologyError::Consumer`]: repeat it.
    pub async fn begin_epoch(&self, topology: &Topology, epoch: u64) -> Result<(), TopologyError> {
        for (stream, wanted) in topology.consumers(&self.names) {
            if wanted.durable_name.as_deref() == Some(EVENTS_CONSUMER) {
                self.look_again(&stream, wanted).await?;
            }
        }
        // Also lanes that are not in this configuration: other notifiers may serve them.
        let stream = self.names.tasks();
        for durable in self.lane_durables(&stream).await? {
            let name = format!("{stream}/{durable}");
            let mut config = self.consumer_config(&name, &stream, &durable).await?;
            let recorded = config
                .pointer(&format!("/metadata/{LANE_EPOCH}"))
                .and_then(Value::as_str)
                .and_then(|it| it.parse::<u64>().ok());
            let epoch = epoch.max(recorded.unwrap_or(0).saturating_add(1));
            put_epoch(&mut config, epoch);
            self.update_consumer(&name, &stream, &durable, config)
                .await?;
        }
        Ok(())
    }

    /// The durables of all lanes that there are.
    async fn lane_durables(&self, stream: &str) -> Result<Vec<String>, TopologyError> {
        let failed = |text: String| TopologyError::Consumer {
            name: format!("{stream}/{SEND}*"),
            text,
        };
        let mut found = Vec::new();
        loop {
            let subject = format!("CONSUMER.NAMES.{stream}");
            let asked = json!({ "offset": found.len() });
            let told = self.api(&subject, &asked).await.map_err(failed)?;
            let names = told.get("consumers").and_then(Value::as_array);
            let names = names.into_iter().flatten().filter_map(Value::as_str);
            let n_before = found.len();
            found.extend(names.map(str::to_owned));
            let n_all = told.get("total").and_then(Value::as_u64).unwrap_or(0);
            let is_all = u64::try_from(found.len()).is_ok_and(|it| it >= n_all);
            if is_all || found.len() == n_before {
                found.retain(|it| it.starts_with(SEND));
                return Ok(found);
            }
        }
    }

    /// Makes the events' durable anew: it begins with the first event that is stored.
    async fn look_again(
        &self,
        stream: &str,
        wanted: async_nats::jetstream::consumer::pull::Config,
    ) -> Result<(), TopologyError> {
        let failed = |text: String| TopologyError::Consumer {
            name: format!("{stream}/{EVENTS_CONSUMER}"),
            text,
        };
        let subject = format!("CONSUMER.DELETE.{stream}.{EVENTS_CONSUMER}");
        let gone: Response<Value> = self
            .reads
            .request(subject, &json!({}))
            .await
            .map_err(|error| failed(error.to_string()))?;
        match gone {
            Response::Ok(_) => {}
            Response::Err { error } if error.code() == 404 => {}
            Response::Err { error } => return Err(failed(error.to_string())),
        }
        self.ensure_consumer(stream, &wanted).await
    }

    async fn set(
        &self,
        name: &str,
        values: &BTreeMap<&'static str, Value>,
    ) -> Result<(), TopologyError> {
        if let Some((stream, durable)) = name.split_once('/') {
            let mut config = self.consumer_config(name, stream, durable).await?;
            patch(&mut config, values);
            return self.update_consumer(name, stream, durable, config).await;
        }
        let failed = |text: String| TopologyError::Create {
            name: name.to_owned(),
            text,
        };
        let info = self.api(&format!("STREAM.INFO.{name}"), &json!({})).await;
        let mut config = config_of(info.map_err(failed)?);
        patch(&mut config, values);
        let updated = self.api(&format!("STREAM.UPDATE.{name}"), &config).await;
        updated.map(drop).map_err(failed)
    }

    async fn consumer_config(
        &self,
        name: &str,
        stream: &str,
        durable: &str,
    ) -> Result<Value, TopologyError> {
        let subject = format!("CONSUMER.INFO.{stream}.{durable}");
        let info = self.api(&subject, &json!({})).await;
        info.map(config_of).map_err(|text| TopologyError::Consumer {
            name: name.to_owned(),
            text,
        })
    }

    async fn update_consumer(
        &self,
        name: &str,
        stream: &str,
        durable: &str,
        config: Value,
    ) -> Result<(), TopologyError> {
        let mut subject = format!("CONSUMER.CREATE.{stream}.{durable}");
        if let Some(filter) = config.get("filter_subject").and_then(Value::as_str) {
            subject = format!("{subject}.{filter}");
        }
        let update = json!({"stream_name": stream, "config": config, "action": "update"});
        let updated = self.api(&subject, &update).await;
        updated.map(drop).map_err(|text| TopologyError::Consumer {
            name: name.to_owned(),
            text,
        })
    }

    /// Asks the broker's own interface; the error is its words.
    pub(crate) async fn api(&self, subject: &str, payload: &Value) -> Result<Value, String> {
        let answer = self.reads.request(subject.to_owned(), payload).await;
        match answer.map_err(|error| error.to_string())? {
            Response::Ok(answer) => Ok(answer),
            Response::Err { error } => Err(error.to_string()),
        }
    }
}

/// The configuration in what the broker tells of a stream or consumer.
fn config_of(mut info: Value) -> Value {
    let config = info.get_mut("config").map(Value::take);
    config.unwrap_or_default()
}

fn put_epoch(config: &mut Value, epoch: u64) {
    let Some(config) = config.as_object_mut() else {
        return;
    };
    let metadata = config.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert(LANE_EPOCH.to_owned(), epoch.to_string().into());
    }
}

fn patch(config: &mut Value, values: &BTreeMap<&'static str, Value>) {
    let Some(config) = config.as_object_mut() else {
        return;
    };
    for (key, value) in values {
        match (value, config.get_mut(*key)) {
            (Value::Null, _) => {
                config.remove(*key);
            }
            // Metadata: what else an operator put there stays.
            (Value::Object(values), Some(Value::Object(found))) => found.extend(values.clone()),
            _ => {
                config.insert((*key).to_owned(), value.clone());
            }
        }
    }
}
