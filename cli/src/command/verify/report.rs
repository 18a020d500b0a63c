//! What was found, before it is written down for people or programs.

use fanfare_nats::story::audit::Judged;
use fanfare_nats::story::sums::Sums;
use fanfare_nats::story::unplanned::Absence;
use fanfare_nats::{EventId, Level};
use jiff::Timestamp;

use super::ledger::Compared;

/// Everything that was judged.
pub(super) struct Report {
    /// The oldest first.
    pub(super) events: Vec<Row>,
    /// Messages in the stream of events that are none.
    pub(super) n_unreadable: u64,
    /// Device documents that were read.
    pub(super) n_devices: usize,
    /// `W` of the configuration.
    pub(super) window: u64,
    /// Against a provider's ledger.
    pub(super) ledger: Option<Compared>,
}

/// One event.
pub(super) struct Row {
    pub(super) id: EventId,
    pub(super) source: String,
    pub(super) item: String,
    pub(super) level: Level,
    pub(super) stored_at: Timestamp,
    pub(super) planned_at: Option<Timestamp>,
    pub(super) stage: Stage,
}

/// Whether there was something to judge.
pub(super) enum Stage {
    Judged(Box<Judged>),
    Unplanned(Absence),
}

impl Row {
    pub(super) fn adds_up(&self) -> bool {
        match &self.stage {
            Stage::Judged(judged) => judged.adds_up(),
            Stage::Unplanned(Absence::Lost) => false,
            Stage::Unplanned(
                Absence::Waiting | Absence::Expired | Absence::Superseded(_) | Absence::Forgotten,
            ) => true,
        }
    }
}

impl Report {
    pub(super) fn totals(&self) -> Sums {
        let mut totals = Sums::default();
        for judged in self.judged() {
            totals += judged.sums;
        }
        totals
    }

    /// Documents that changed since their event's plan, over all events.
    pub(super) fn n_changed(&self) -> u64 {
        self.judged().map(|it| it.n_changed).sum()
    }

    pub(super) fn n_unplanned(&self, is_it: impl Fn(&Absence) -> bool) -> usize {
        let is_it = |row: &&Row| matches!(&row.stage, Stage::Unplanned(it) if is_it(it));
        self.events.iter().filter(is_it).count()
    }

    pub(super) fn adds_up(&self) -> bool {
        let bound = self.totals().repeats_bound;
        let agrees = |it: &Compared| it.adds_up(bound);
        self.events.iter().all(Row::adds_up) && self.ledger.as_ref().is_none_or(agrees)
    }

    fn judged(&self) -> impl Iterator<Item = &Judged> {
        self.events.iter().filter_map(|it| match &it.stage {
            Stage::Judged(judged) => Some(&**judged),
            Stage::Unplanned(_) => None,
        })
    }
}
