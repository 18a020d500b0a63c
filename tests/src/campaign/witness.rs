//! What the ledger of the doubles says: who got what, how often, and from whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use fanfare_sim::EndedConnection;
use fanfare_sim::ledger::{self, Entry, Request, Verdict};

use super::book::Book;

/// `F` of the promise: nothing starts later than this after an unsubscribe was answered.
const FRESHNESS_US: i64 = 2_000_000;
/// From the last look to the decision at the double, on a machine with more to do than cores.
const SLACK_US: i64 = 500_000;
/// All connections of a process that dies end within so long.
const AT_ONCE_US: i64 = 500_000;
/// Violations are told up to so many.
const TOLD: usize = 20;

/// One sender, told apart by its credential: one life of a notifier.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// Its first and last decided request, in Unix microseconds.
    pub between_us: (i64, i64),
    /// Requests accepted.
    pub n_accepted: u64,
    /// Accepted requests whose answer could not be given: it was gone.
    pub n_unanswered: u64,
    /// Pushes that it had made and that somebody made again.
    pub n_repeated: u64,
    /// Requests in flight when it died: on the connections that ended with it.
    pub in_flight: u64,
    connections: BTreeSet<u64>,
    /// Acceptances of its last second.
    recent: std::collections::VecDeque<i64>,
}

impl Sender {
    /// Acceptances in its last second.
    pub fn rate(&self) -> u64 {
        self.recent.len() as u64
    }
}

/// What the ledger says, set against a book.
#[derive(Debug, Default)]
pub struct Witness {
    /// Requests decided.
    pub n_requests: u64,
    /// Requests accepted.
    pub n_accepted: u64,
    /// Title and token, how often accepted.
    accepted: HashMap<(u32, u32), Accepted>,
    titles: HashMap<String, u32>,
    tokens: HashMap<String, u32>,
    /// By credential.
    pub senders: HashMap<String, Sender>,
    /// Pushes made again.
    pub n_repeated: u64,
    /// What must never be.
    pub violations: Vec<String>,
    /// Of all violations.
    pub n_violations: u64,
}

#[derive(Debug)]
struct Accepted {
    n: u32,
    by: String,
}

impl Witness {
    /// Reads a ledger. `way_us`: how long a push may be on its way before it is decided.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn read(path: &Path, book: &Book, way_us: i64) -> Self {
        let mut witness = Self::default();
        let mut open: HashMap<u64, String> = HashMap::new();
        let mut levels: HashMap<(String, String), f64> = HashMap::new();
        for entry in ledger::read(path).unwrap() {
            match entry.unwrap() {
                Entry::Request(request) => {
                    witness.rules(&request, book, way_us, &mut levels);
                    if request.verdict == Verdict::Accepted {
                        let by = request.credential.clone().unwrap_or_default();
                        open.insert(request.seq, by);
                    }
                    witness.request(request, book);
                }
                Entry::Answered { of, sent, .. } => {
                    let by = open.remove(&of);
                    if let Some(by) = by.filter(|_| !sent) {
                        witness.senders.entry(by).or_default().n_unanswered += 1;
                    }
                }
            }
        }
        witness
    }

    /// Takes in how the connections ended. Those that nothing was decided on are told as senders of
    /// their own: whoever died before its first push was decided had them.
    pub fn ended(&mut self, ended: &[EndedConnection]) {
        let by_number: HashMap<u64, &EndedConnection> =
            ended.iter().map(|it| (it.connection, it)).collect();
        let mut known: BTreeSet<u64> = BTreeSet::new();
        for sender in self.senders.values_mut() {
            known.extend(&sender.connections);
            let of_it = || sender.connections.iter().filter_map(|it| by_number.get(it));
            let last_us = of_it().map(|it| it.at_us).max().unwrap_or_default();
            let with_it = of_it().filter(|it| last_us - it.at_us < AT_ONCE_US);
            sender.in_flight = with_it.map(|it| it.in_flight).sum();
        }
        let strangers = ended
            .iter()
            .filter(|it| it.in_flight > 0 && !known.contains(&it.connection));
        for stranger in strangers {
            let sender = Sender {
                between_us: (stranger.at_us, stranger.at_us),
                in_flight: stranger.in_flight,
                ..Sender::default()
            };
            self.senders
                .insert(format!("connection {}", stranger.connection), sender);
        }
    }

    fn violation(&mut self, text: impl FnOnce() -> String) {
        self.n_violations += 1;
        if self.violations.len() < TOLD {
            self.violations.push(text());
        }
    }

    /// I4, and the second half of I5.
    fn rules(
        &mut self,
        request: &Request,
        book: &Book,
        way_us: i64,
        levels: &mut HashMap<(String, String), f64>,
    ) {
        let (title, at_us) = (request.title.as_deref().unwrap_or_default(), request.at_us);
        let late = way_us + SLACK_US;
        let device = book.devices.get(&request.token);
        if let Some((_, answered_us)) = device.and_then(|it| it.removed_us)
            && at_us > answered_us.saturating_add(FRESHNESS_US + late)
        {
            let by_s = (at_us - answered_us) / 1000;
            self.violation(|| format!("I4: {title} {by_s} ms after an unsubscribe was answered"));
        }
        let event = book.events.get(title);
        if let Some(expires_us) = event.and_then(|it| it.expires_us)
            && at_us > expires_us.saturating_add(late)
        {
            let by_ms = (at_us - expires_us) / 1000;
            self.violation(|| format!("I4: {title} {by_ms} ms after it had expired"));
        }
        let level = request.level.as_deref().and_then(step);
        if let Some(level) = level.filter(|_| request.verdict == Verdict::Accepted) {
            let highest = levels
                .entry((request.token.clone(), title.to_owned()))
                .or_insert(level);
            if level < *highest {
                let highest = *highest;
                self.violation(|| format!("I5: {title} level {level} after level {highest}"));
            } else {
                *highest = level;
            }
        }
    }

    fn request(&mut self, request: Request, book: &Book) {
        self.n_requests += 1;
        let by = request.credential.clone().unwrap_or_default();
        let sender = self.senders.entry(by.clone()).or_insert_with(|| Sender {
            between_us: (request.at_us, request.at_us),
            ..Sender::default()
        });
        sender.between_us.1 = request.at_us;
        sender.connections.insert(request.conn);
        if request.verdict != Verdict::Accepted {
            return;
        }
        self.n_accepted += 1;
        sender.n_accepted += 1;
        sender.recent.push_back(request.at_us);
        while sender
            .recent
            .front()
            .is_some_and(|it| *it < request.at_us - 1_000_000)
        {
            sender.recent.pop_front();
        }
        let title = request.title.unwrap_or_default();
        if !book.may(&title, &request.token) {
            let token: String = request.token.chars().take(4).collect();
            self.violation(|| format!("to nobody's debt: {title} to {token}…"));
        }
        let is_once = book.events.get(&title).is_some_and(|it| it.is_at_most_once);
        // Levels of one item are events of their own under one title.
        let level = request.level.filter(|it| step(it).is_some());
        let name = match level {
            Some(level) => format!("{title} {level}"),
            None => title,
        };
        let key = (
            number(&mut self.titles, &name),
            number(&mut self.tokens, &request.token),
        );
        match self.accepted.get_mut(&key) {
            None => {
                self.accepted.insert(key, Accepted { n: 1, by });
            }
            Some(before) => {
                before.n += 1;
                self.n_repeated += 1;
                let blamed = std::mem::replace(&mut before.by, by);
                self.senders.entry(blamed).or_default().n_repeated += 1;
                if is_once {
                    self.violation(|| format!("I3: {name} twice, and it is at most once"));
                }
            }
        }
    }

    /// How often a title was accepted for a token, whatever its level.
    pub fn times(&self, title: &str, token: &str) -> u32 {
        let pair = (self.titles.get(title), self.tokens.get(token));
        let (Some(title), Some(token)) = pair else {
            return 0;
        };
        self.accepted.get(&(*title, *token)).map_or(0, |it| it.n)
    }

    /// I1: what was owed and never accepted.
    pub fn lost(&self, must: &BTreeMap<String, Vec<String>>) -> Vec<(String, String)> {
        let mut lost = Vec::new();
        for (title, tokens) in must {
            let missing = tokens.iter().filter(|it| self.times(title, it) == 0);
            lost.extend(missing.map(|it| (title.clone(), it.clone())));
        }
        lost
    }
}

fn number(known: &mut HashMap<String, u32>, text: &str) -> u32 {
    if let Some(number) = known.get(text) {
        return *number;
    }
    let number = u32::try_from(known.len()).unwrap_or(u32::MAX);
    known.insert(text.to_owned(), number);
    number
}

/// `s2_5` is level 2.5.
fn step(level: &str) -> Option<f64> {
    level.strip_prefix('s')?.replace('_', ".").parse().ok()
}
