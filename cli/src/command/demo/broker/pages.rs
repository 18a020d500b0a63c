//! What the servers' own pages say of streams and durables.

use anyhow::Context;
use serde::Deserialize;

/// The `/jsz` page of one server.
#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    account_details: Vec<AccountPage>,
}

#[derive(Deserialize)]
struct AccountPage {
    #[serde(default)]
    stream_detail: Vec<StreamPage>,
}

#[derive(Deserialize)]
struct StreamPage {
    name: String,
    state: StreamState,
    cluster: Option<ClusterPage>,
    #[serde(default)]
    consumer_detail: Vec<ConsumerPage>,
}

#[derive(Deserialize)]
struct StreamState {
    last_seq: u64,
}

#[derive(Deserialize)]
struct ConsumerPage {
    name: String,
    delivered: Delivered,
    num_ack_pending: u64,
    num_pending: u64,
    cluster: Option<ClusterPage>,
}

#[derive(Deserialize)]
struct Delivered {
    consumer_seq: u64,
}

/// Of a cluster: who leads. The others' figures lag behind.
#[derive(Deserialize)]
struct ClusterPage {
    #[serde(default)]
    leader: String,
}

fn is_led(cluster: Option<&ClusterPage>, server: &str) -> bool {
    cluster.is_none_or(|it| it.leader == server)
}

/// What the leaders say of streams and durables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Work {
    last_event: u64,
    n_open: u64,
    n_sent: u64,
    events_leader: Option<String>,
    n_durables: usize,
}

impl Page {
    /// Reads a page.
    pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(bytes).context("the broker's page cannot be read")
    }
}

impl Work {
    /// Puts together what each server says of what it leads; pages are by the server's name. `None`
    /// while something has no leader.
    pub(super) fn of(pages: &[(&str, Page)], durables: usize) -> Option<Self> {
        let mut work = Self::default();
        for (server, page) in pages {
            for stream in page.account_details.iter().flat_map(|it| &it.stream_detail) {
                if is_led(stream.cluster.as_ref(), server) && stream.name.ends_with("_EVENTS") {
                    work.last_event = stream.state.last_seq;
                    work.events_leader = Some((*server).to_owned());
                }
                for consumer in &stream.consumer_detail {
                    if is_led(consumer.cluster.as_ref(), server) {
                        work.add(consumer);
                    }
                }
            }
        }
        (work.events_leader.is_some() && work.n_durables >= durables).then_some(work)
    }

    fn add(&mut self, consumer: &ConsumerPage) {
        let is_lane = consumer.name.starts_with("send-");
        if is_lane || consumer.name == "notifier" {
            self.n_durables += 1;
            self.n_open += consumer.num_pending + consumer.num_ack_pending;
        }
        if is_lane {
            self.n_sent += consumer.delivered.consumer_seq;
        }
    }

    /// Messages of the durables that are not taken or not settled.
    pub(in super::super) fn n_open(&self) -> u64 {
        self.n_open
    }

    /// The last sequence of the stream of events.
    pub(in super::super) fn last_event(&self) -> u64 {
        self.last_event
    }

    /// Deliveries of tasks to notifiers, each further one of the same task included.
    pub(super) fn n_sent(&self) -> u64 {
        self.n_sent
    }

    /// The server that leads the stream of events.
    pub(super) fn events_leader(&self) -> Option<&str> {
        self.events_leader.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A stream as a server sees it: who leads it and its durable, and the figures it has.
    fn page(stream_leader: &str, consumer_leader: &str, figure: u64) -> Page {
        let page = json!({ "account_details": [{ "stream_detail": [{
            "name": "FANFARE_EVENTS", "state": { "last_seq": figure },
            "cluster": { "leader": stream_leader },
            "consumer_detail": [{
                "name": "notifier", "delivered": { "consumer_seq": figure },
                "num_ack_pending": figure, "num_pending": 0,
                "cluster": { "leader": consumer_leader },
            }],
        }] }] });
        Page::read(page.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn only_leaders_are_believed() {
        let pages = [("a", page("b", "a", 1)), ("b", page("b", "a", 2))];
        let work = Work::of(&pages, 1).unwrap();
        assert_eq!((work.last_event(), work.n_open()), (2, 1));
        assert_eq!(work.events_leader(), Some("b"));
    }

    #[test]
    fn what_has_no_leader_leaves_everything_open() {
        assert_eq!(Work::of(&[("a", page("", "a", 1))], 1), None);
        assert_eq!(Work::of(&[("a", page("a", "", 1))], 1), None);
        assert_eq!(Work::of(&[("a", page("a", "b", 1))], 1), None);
    }
}
