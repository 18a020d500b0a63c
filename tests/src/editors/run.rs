//! One run: everybody edits, two are killed in the middle, and the ledger is held against all nodes.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use futures::future::{join, join_all};
use futures::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::{Client, Method};
use tokio::time::Instant;

use super::client::{Answer, Book, Editor, ask, path};
use super::ledger::{State, Told, Wish};
use super::nodes::{Addresses, Nodes};
use super::verdict::judge;
use crate::eventually::{at_least, eventually};
use crate::pipeline::Pipeline;
use crate::races::{kill_leader, revive};

const DEVICES: &str = "KV_fanfare_devices";
/// Devices that are read at once at the end.
const AT_ONCE: usize = 32;

/// How many there are, and how long they go on.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Clients that write at the same time.
    pub clients: u32,
    /// Devices that they share.
    pub devices: usize,
    /// How often an API node and a leader are killed.
    pub rounds: u64,
    /// Acknowledged writes before, between and after the kills of a round.
    pub between: u64,
    /// For chance.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Acknowledged writes.
    pub done: u64,
    /// Writes that came late (412).
    pub refused: u64,
    /// Writes without a final answer, and how many of these are known to be stored.
    pub unknown: (u64, u64),
    /// Requests that failed because an API node was dead, in each round.
    pub by_api: Vec<u64>,
    /// Requests that were put off because the leader was dead, in each round.
    pub by_leader: Vec<u64>,
    /// Devices that are there at the end.
    pub there: usize,
    /// Seconds.
    pub seconds: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unknown, stored) = self.unknown;
        write!(
            f,
            "{} writes acknowledged in {:.0} s, {} refused (412), {unknown} not answered, of which \
             {stored} are known to be stored; requests lost to a dead API {:?}, put off by a dead \
             leader {:?}; {} devices at the end",
            self.done, self.seconds, self.refused, self.by_api, self.by_leader, self.there
        )
    }
}

/// Lets them edit, kills, and judges.
///
/// # Panics
/// If an acknowledged write is not there, an update was lost, two nodes differ, or a kill was not
/// noticed.
pub async fn edit(pipeline: &Pipeline, nodes: &mut Nodes, crowd: Crowd) -> Figures {
    let devices = std::iter::repeat_with(Mutex::default).take(crowd.devices);
    let book = Book {
        devices: devices.collect(),
        ..Book::default()
    };
    let http = crate::api::client();
    let is_over = AtomicBool::new(false);
    let addresses = std::sync::Arc::clone(&nodes.addresses);
    let began = Instant::now();
    let clients = (0..crowd.clients).map(|number| {
        let mut editor = Editor {
            number,
            book: &book,
            addresses: &addresses,
            http: &http,
            chance: StdRng::seed_from_u64(crowd.seed ^ u64::from(number) << 32),
            n_writes: 0,
        };
        let is_over = &is_over;
        async move {
            while !is_over.load(Ordering::Relaxed) {
                editor.edit().await;
            }
        }
    });
    let mut figures = Figures::default();
    let killing = async {
        let mut chance = StdRng::seed_from_u64(crowd.seed);
        for _ in 0..crowd.rounds {
            let node = chance.random_range(0..addresses.len());
            round(pipeline, nodes, &book, node, crowd.between, &mut figures).await;
        }
        is_over.store(true, Ordering::Relaxed);
    };
    join(join_all(clients), killing).await;
    figures.seconds = began.elapsed().as_secs_f64();
    (figures.done, figures.refused) = (count(&book.done), count(&book.refused));
    verify(&book, &addresses, &http, &mut figures).await;
    figures
}

fn count(n: &AtomicU64) -> u64 {
    n.load(Ordering::Relaxed)
}

/// Waits until so many more are acknowledged.
async fn more(book: &Book, n: u64) {
    let until = count(&book.done) + n;
    eventually("more writes", async || at_least(count(&book.done), until)).await;
}

async fn round(
    pipeline: &Pipeline,
    nodes: &mut Nodes,
    book: &Book,
    node: usize,
    between: u64,
    figures: &mut Figures,
) {
    more(book, between).await;
    let before = count(&book.unreached);
    nodes.kill(node).await;
    more(book, between).await;
    let by_api = count(&book.unreached) - before;
    assert!(by_api > 0, "void: nobody missed the API");
    figures.by_api.push(by_api);

    // The dead node stays away meanwhile.
    let mut server = pipeline.server.lock().await;
    let before = count(&book.put_off);
    let killed = kill_leader(&mut server, DEVICES).await;
    more(book, between).await;
    let by_leader = count(&book.put_off) - before;
    assert!(by_leader > 0, "void: nobody missed the leader");
    figures.by_leader.push(by_leader);

    nodes.revive(pipeline, node).await;
    revive(&mut server, killed, DEVICES).await;
    // What was asked for before is stored by then, or never.
    more(book, between).await;
}

/// Holds what every node says against the ledger.
async fn verify(book: &Book, addresses: &Addresses, http: &Client, figures: &mut Figures) {
    let answers = stream::iter(0..book.devices.len())
        .map(|device| async move { (device, same(http, addresses, device).await) })
        .buffer_unordered(AT_ONCE);
    let answers: Vec<(usize, Answer)> = answers.collect().await;
    let mut wrong = Vec::new();
    for (device, answer) in answers {
        let ledger = book.devices[device]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = answer.state();
        figures.there += usize::from(last.is_some());
        for write in ledger.writes.iter().filter(|it| it.told == Told::Nothing) {
            let is_its = |it: &State| write.wish == Wish::Put(it.1);
            figures.unknown.0 += 1;
            figures.unknown.1 += u64::from(ledger.seen.iter().chain(&last).any(is_its));
        }
        let found = judge(&ledger, last);
        wrong.extend(
            found
                .into_iter()
                .map(|it| format!("{}: {it}", path(device))),
        );
    }
    assert!(wrong.is_empty(), "{figures}: {wrong:#?}");
}

/// What all nodes say of a device.
async fn same(http: &Client, addresses: &Addresses, device: usize) -> Answer {
    let mut first: Option<Answer> = None;
    for node in 0..addresses.len() {
        let url = format!("http://{}{}", addresses.get(node), path(device));
        let mut answer = ask(http, url, Method::GET, None, None).await.unwrap();
        if let Some(id) = answer.body.get_mut("request_id") {
            id.take();
        }
        if let Some(first) = &first {
            assert_eq!(*first, answer, "node {node} says something else");
        }
        first.get_or_insert(answer);
    }
    first.unwrap()
}
