//! What the broker does not answer at the moment: writes to a stream without a leader, a durable that
//! gives nothing, a read that nobody serves. One line when it begins and one when it ends, and a
//! condition of readiness meanwhile; whoever tries again need not tell.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::connect::Broker;
use crate::request::{Answer, Unknown};

/// A place that gives no answer for so long is told. An election of the broker takes 4 to 11 s, and
/// is told; a leader that steps down takes less.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the same trouble is no news.
const NEWS_LAST: Duration = Duration::from_mins(1);
/// A place that nobody asks any more says nothing about now, once another place answers.
const STALE: Duration = Duration::from_secs(10);

/// The condition of readiness that everything is answered.
const OUTAGE: &str = "broker";

/// What follows for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The first place is told.
    Began(String),
    /// There is an outage, and these are the places now.
    GoesOn(String),
    /// Every place answers again, after so long.
    Ended(Duration),
}

#[derive(Clone, Debug)]
struct Silence {
    since: Instant,
    last: Instant,
    why: String,
}

/// The places that do not answer. Pure.
#[derive(Clone, Debug, Default)]
struct Ledger {
    silent: BTreeMap<String, Silence>,
    told_since: Option<Instant>,
}

impl Ledger {
    fn missed(&mut self, place: &str, why: &str, now: Instant) -> Option<Turn> {
        let silence = self.silent.entry(place.to_owned());
        let silence = silence.or_insert_with(|| Silence {
            since: now,
            last: now,
            why: String::new(),
        });
        silence.last = now;
        why.clone_into(&mut silence.why);
        let since = silence.since;
        let is_told = now.duration_since(since) >= PATIENCE;
        match self.told_since {
            Some(_) => Some(Turn::GoesOn(self.text(now))),
            None if is_told => {
                self.told_since = Some(since);
                Some(Turn::Began(self.text(now)))
            }
            None => None,
        }
    }

    fn heard(&mut self, place: &str, now: Instant) -> Option<Turn> {
        self.silent.remove(place);
        self.silent
            .retain(|_, it| now.duration_since(it.last) < STALE);
        let began = self.told_since?;
        // What began to be silent a moment ago belongs to it as well: the groups of a cluster elect
        // their leaders one after another, and that is one outage.
        if self.silent.is_empty() {
            self.told_since = None;
            return Some(Turn::Ended(now.duration_since(began)));
        }
        Some(Turn::GoesOn(self.text(now)))
    }

    fn text(&self, now: Instant) -> String {
        let mut text = "the broker does not answer:".to_owned();
        let is_long = |it: &Silence| now.duration_since(it.since) >= PATIENCE;
        // At the end of an outage there may be only places that have just begun.
        let is_any_long = self.silent.values().any(is_long);
        let told = self.silent.iter();
        let told = told.filter(|(_, it)| is_long(it) || !is_any_long);
        for (n, (place, silence)) in told.enumerate() {
            let comma = if n == 0 { "" } else { "," };
            // Writing to a String cannot fail.
            let _ok = write!(text, "{comma} {place} ({})", silence.why);
        }
        text
    }
}

/// The outages of a process; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outages(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// False most of the time, and then an answer costs one look.
    is_any: AtomicBool,
    ledger: Mutex<Ledger>,
    /// When each kind of trouble was last told.
    told: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Outages {
    /// A place gave no answer.
    pub(crate) fn missed(&self, place: &str, why: &str) -> Option<Turn> {
        let mut ledger = self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.is_any.store(true, Ordering::Release);
        ledger.missed(place, why, Instant::now())
    }

    fn is_news(&self, kind: &'static str) -> bool {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_known = |it: &Instant| now.duration_since(*it) < NEWS_LAST;
        if told.get(kind).is_some_and(is_known) {
            return false;
        }
        told.insert(kind, now);
        true
    }

    /// A place answered, whatever it said.
    pub(crate) fn heard(&self, place: impl FnOnce() -> String) -> Option<Turn> {
        if !self.0.is_any.load(Ordering::Acquire) {
            return None;
        }
        let mut ledger = self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = ledger.heard(&place(), Instant::now());
        let is_any = !ledger.silent.is_empty() || ledger.told_since.is_some();
        self.0.is_any.store(is_any, Ordering::Release);
        turn
    }
}

impl Broker {
    /// Notes what came of a write.
    pub(crate) fn note_answer(&self, subject: &str, answer: &Answer) {
        match answer {
            Answer::Unknown(Unknown::NoLeader) => self.missed(&place(subject), "no leader"),
            Answer::Unknown(Unknown::Silence) => self.missed(&place(subject), "no answer in time"),
            // A leader says these.
            Answer::Unknown(Unknown::InFlight | Unknown::IdInFlight)
            | Answer::Stored { .. }
            | Answer::Exists { .. }
            | Answer::BatchOpen
            | Answer::Refused(_) => self.heard(|| place(subject)),
        }
    }

    /// Whether trouble of a kind was not told within the last minute, by any role of this process;
    /// it counts as told from now on. For what is tried again many times a second.
    pub fn is_news(&self, kind: &'static str) -> bool {
        self.readiness.outages.is_news(kind)
    }

    /// Something gave no answer; if that lasts, it is told once, and the process is not ready.
    pub(crate) fn missed(&self, place: &str, why: &str) {
        self.tell_outage(self.readiness.outages.missed(place, why));
    }

    /// The same gave an answer, whatever it was.
    pub(crate) fn heard(&self, place: impl FnOnce() -> String) {
        self.tell_outage(self.readiness.outages.heard(place));
    }

    fn tell_outage(&self, turn: Option<Turn>) {
        match turn {
            None => {}
            Some(Turn::Began(why)) => {
                tracing::warn!(why, "no answer from the broker: what needs it waits");
                self.metrics.outages.inc();
                self.metrics.answers.set(0);
                self.readiness.unmet(OUTAGE, why);
            }
            Some(Turn::GoesOn(why)) => self.readiness.unmet(OUTAGE, why),
            Some(Turn::Ended(lasted)) => {
                let seconds = lasted.as_secs_f64();
                tracing::info!(seconds, "the broker answers again: everything goes on");
                self.metrics.answers.set(1);
                self.readiness.met(OUTAGE);
            }
        }
    }
}

/// The stream or bucket behind a subject, by its first two words.
fn place(subject: &str) -> String {
    let mut words = subject.splitn(3, '.');
    match (words.next(), words.next()) {
        (Some(one), Some(two)) => format!("writes to {one}.{two}"),
        _ => format!("writes to {subject}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(base: Instant, ms: u64) -> Instant {
        base + Duration::from_millis(ms)
    }

    #[test]
    fn an_outage_is_told_once_when_it_lasts_and_once_when_it_ends() {
        let (mut ledger, base) = (Ledger::default(), Instant::now());
        assert_eq!(ledger.missed("a", "no leader", base), None);
        assert_eq!(ledger.missed("a", "no leader", after(base, 2900)), None);
        let text = "the broker does not answer: a (silence)".to_owned();
        let began = ledger.missed("a", "silence", after(base, 3000));
        assert_eq!(began, Some(Turn::Began(text.clone())));
        let more = ledger.missed("b", "no leader", after(base, 4000));
        assert_eq!(more, Some(Turn::GoesOn(text)));
        assert!(matches!(
            ledger.heard("c", after(base, 4500)),
            Some(Turn::GoesOn(_))
        ));
        let rest = "the broker does not answer: b (no leader)".to_owned();
        let goes_on = ledger.heard("a", after(base, 5000));
        assert_eq!(goes_on, Some(Turn::GoesOn(rest)));
        let ended = ledger.heard("b", after(base, 6000));
        assert_eq!(ended, Some(Turn::Ended(Duration::from_secs(6))));
        assert_eq!(ledger.heard("a", after(base, 6001)), None);
        // The next one is told as well, when it lasts.
        assert_eq!(ledger.missed("b", "no leader", after(base, 7000)), None);
        let began = ledger.missed("b", "no leader", after(base, 10_000));
        assert!(matches!(began, Some(Turn::Began(_))));
    }

    #[test]
    fn a_short_silence_is_not_told() {
        let (mut ledger, base) = (Ledger::default(), Instant::now());
        assert_eq!(ledger.missed("a", "x", base), None);
        assert_eq!(ledger.heard("a", after(base, 2000)), None);
        assert_eq!(ledger.missed("a", "x", after(base, 3500)), None);
    }

    #[test]
    fn a_place_that_nobody_asks_any_more_ends_no_less() {
        let (mut ledger, base) = (Ledger::default(), Instant::now());
        for ms in [0, 3000] {
            ledger.missed("asked once", "x", after(base, ms));
            ledger.missed("asked always", "x", after(base, ms));
        }
        assert!(matches!(
            ledger.heard("asked always", after(base, 9000)),
            Some(Turn::GoesOn(_))
        ));
        assert!(matches!(
            ledger.heard("asked always", after(base, 13_001)),
            Some(Turn::Ended(_))
        ));
    }

    #[test]
    fn a_place_is_a_stream_and_not_a_subject() {
        assert_eq!(place("fanfare.task.x.y"), "writes to fanfare.task");
        assert_eq!(
            place("$KV.fanfare_devices.d.phone"),
            "writes to $KV.fanfare_devices"
        );
        assert_eq!(place("x"), "writes to x");
    }
}
