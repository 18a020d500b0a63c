//! The questions. Each is asked only if the user's list has it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Account, Clock, Consumer, Peer, Stream, Survey};
use crate::connect::Broker;
use crate::permissions::{Permissions, Role, Scope};
use crate::stream::{Kind, Topology};

/// After so many questions without an answer no more are asked.
const PATIENCE: u32 = 2;

impl Broker {
    /// Looks at everything that a role may look at; `None` may look at everything. `now` reads the
    /// clock of this machine.
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn survey(
        &self,
        topology: &Topology,
        role: Option<Role>,
        now: impl Fn() -> Timestamp,
    ) -> Survey {
        let mut look = Look {
            broker: self,
            list: role.map(|it| Permissions::of(it, &Scope::any(self.names.clone()))),
            now,
            n_silent: 0,
            clocks: BTreeMap::new(),
            seen: Survey::default(),
        };
        look.account().await;
        for definition in topology.definitions(&self.names) {
            match definition.kind {
                Kind::Stream | Kind::Bucket(_) => look.stream(&definition.name).await,
                Kind::Consumer(stream) => look.consumer(&stream, &definition.name).await,
            }
        }
        look.processes().await;
        let Look {
            clocks, mut seen, ..
        } = look;
        seen.clocks = clocks.into_values().collect();
        seen
    }
}

struct Look<'a, N> {
    broker: &'a Broker,
    list: Option<Permissions>,
    now: N,
    /// Questions that nobody answered.
    n_silent: u32,
    /// The most exact reading of each server.
    clocks: BTreeMap<String, Clock>,
    seen: Survey,
}

impl<N: Fn() -> Timestamp> Look<'_, N> {
    /// Asks if that is allowed; what nobody answers is noted.
    async fn ask(&mut self, question: &str) -> Option<Value> {
        let subject = format!("$JS.API.{question}");
        let is_allowed = (self.list.as_ref()).is_none_or(|it| it.may_publish(&subject));
        if !is_allowed {
            self.seen
                .unseen
                .push(format!("{question}: not this user's"));
            return None;
        }
        if self.n_silent >= PATIENCE {
            return None; // Each silence takes seconds, and one says what all would.
        }
        let asked = (self.now)();
        match self.broker.api(question, &json!({})).await {
            Ok(told) => {
                self.read_clock(&told, asked);
                Some(told)
            }
            // What is missing is told by the comparison of the topology.
            Err(text) if text.contains("not found") => None,
            Err(text) => {
                self.n_silent += 1;
                self.seen.unseen.push(format!("{question}: {text}"));
                None
            }
        }
    }

    fn read_clock(&mut self, told: &Value, asked: Timestamp) {
        let heard = (self.now)();
        let time = told.get("ts").and_then(Value::as_str);
        let Some(time) = time.and_then(|it| it.parse::<Timestamp>().ok()) else {
            return;
        };
        let server = leader(told).unwrap_or_else(|| "the server".to_owned());
        let clock = Clock::between(server.clone(), asked, time, heard);
        let known = self.clocks.get(&server).map(|it| it.give_or_take);
        if known.is_none_or(|it| clock.give_or_take < it) {
            self.clocks.insert(server, clock);
        }
    }

    async fn account(&mut self) {
        let Some(told) = self.ask("INFO").await else {
            return;
        };
        let n = |path: &str| told.pointer(path).and_then(Value::as_i64);
        self.seen.account = Some(Account {
            api_level: n("/api/level")
                .and_then(|it| it.try_into().ok())
                .unwrap_or(0),
            storage: n("/storage").and_then(|it| it.try_into().ok()).unwrap_or(0),
            storage_limit: n("/limits/max_storage")
                .and_then(|it| u64::try_from(it).ok())
                .filter(|it| *it > 0),
        });
    }

    async fn stream(&mut self, name: &str) {
        if let Some(told) = self.ask(&format!("STREAM.INFO.{name}")).await {
            self.seen.streams.push(stream(name, &told));
        }
    }

    async fn consumer(&mut self, stream: &str, name: &str) {
        let told = self.ask(&format!("CONSUMER.INFO.{stream}.{name}")).await;
        let Some(told) = told else {
            return;
        };
        let n = |key: &str| told.get(key).and_then(Value::as_u64).unwrap_or(0);
        let limit = told
            .pointer("/config/max_ack_pending")
            .and_then(Value::as_i64);
        self.seen.consumers.push(Consumer {
            stream: stream.to_owned(),
            name: name.to_owned(),
            n_pending: n("num_pending"),
            n_in_hand: n("num_ack_pending"),
            max_ack_pending: limit.unwrap_or(0),
            is_paused: told.get("paused").and_then(Value::as_bool).unwrap_or(false),
        });
    }

    /// Members and leases, which both lie in the control bucket.
    async fn processes(&mut self) {
        let bucket = format!("KV_{}", self.broker.names.control_bucket());
        let subject = format!("$JS.API.STREAM.MSG.GET.{bucket}");
        let is_allowed = (self.list.as_ref()).is_none_or(|it| it.may_publish(&subject));
        if !is_allowed {
            let text = "members and leases: not this user's".to_owned();
            return self.seen.unseen.push(text);
        }
        if !self.seen.streams.iter().any(|it| it.name == bucket) {
            return; // There is none yet.
        }
        let mut members = Vec::new();
        for role in [Role::Fetcher, Role::Notifier, Role::Api] {
            match self.broker.members(role.name()).await {
                Ok(found) => members.extend(found),
                Err(error) => return self.seen.unseen.push(error.to_string()),
            }
        }
        self.seen.members = Some(members);
        match self.broker.leases().await {
            Ok(leases) => self.seen.leases = Some(leases),
            Err(error) => self.seen.unseen.push(error.to_string()),
        }
    }
}

fn leader(told: &Value) -> Option<String> {
    let leader = told.pointer("/cluster/leader").and_then(Value::as_str);
    leader.filter(|it| !it.is_empty()).map(str::to_owned)
}

fn stream(name: &str, told: &Value) -> Stream {
    let n = |path: &str| told.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let limit = told.pointer("/config/max_bytes").and_then(Value::as_i64);
    let peers = told.pointer("/cluster/replicas").and_then(Value::as_array);
    Stream {
        name: name.to_owned(),
        n_messages: n("/state/messages"),
        bytes: n("/state/bytes"),
        limit_bytes: limit
            .and_then(|it| u64::try_from(it).ok())
            .filter(|it| *it > 0),
        replicas: usize::try_from(n("/config/num_replicas")).unwrap_or(1),
        leader: leader(told),
        is_clustered: told.pointer("/cluster/name").is_some(),
        peers: peers.into_iter().flatten().map(peer).collect(),
    }
}

fn peer(told: &Value) -> Peer {
    let is = |key: &str| told.get(key).and_then(Value::as_bool).unwrap_or(false);
    let name = told.get("name").and_then(Value::as_str).unwrap_or_default();
    Peer {
        name: name.to_owned(),
        is_current: is("current"),
        is_offline: is("offline"),
        lag: told.get("lag").and_then(Value::as_u64).unwrap_or(0),
    }
}
