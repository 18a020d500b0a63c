//! Reading everything that is judged, in the order that makes the judgement right.
//!
//! First where the planners stand, then the plans, then the devices, then the receipts: an event
//! that was acknowledged before its plan was looked for must have one, and no plan is younger than
//! the documents that it is judged by.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use fanfare_nats::story::audit::{Audit, Judged};
use fanfare_nats::story::census::Census;
use fanfare_nats::story::read::{Standings, StoredEvent, StoryError};
use fanfare_nats::story::unplanned::Unplanned;
use fanfare_nats::{Broker, Event, Level, Plan};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::Which;
use super::ledger::{Arrivals, Ledger};
use super::report::{Report, Row, Stage};
use crate::exit::Failure;

/// Plans asked for at once.
const AT_ONCE: usize = 16;
/// An event that is not planned is looked for among so many.
const NEWEST: u64 = 100_000;

/// The reading, with what it needs.
pub(super) struct Gather<'a> {
    broker: &'a Broker,
    window: u64,
    now: Timestamp,
    bar: ProgressBar,
}

/// An event with its plan and the levels of its item.
struct Planned {
    stored: StoredEvent,
    plan: Option<Plan>,
    levels: Vec<Level>,
}

impl<'a> Gather<'a> {
    pub(super) fn new(broker: &'a Broker, window: u64, now: Timestamp) -> Self {
        Self {
            broker,
            window,
            now,
            bar: bar(),
        }
    }

    /// Reads and judges.
    pub(super) async fn report(
        &self,
        which: &Which,
        ledger: Option<Ledger>,
    ) -> Result<Report, Failure> {
        let standings = self.broker.standings().await.map_err(unread)?;
        let (events, n_unreadable) = self.events(which, &standings).await?;
        let events = self.planned(events).await.map_err(unread)?;
        let census = self.broker.census(|n| self.tell(&format!("{n} devices")));
        let census = census.await.map_err(unread)?;
        let mut arrivals = ledger.map(|it| self.arrivals(it, &events)).transpose()?;
        let n_events = events.len();
        let mut rows = Vec::with_capacity(n_events);
        for (place, planned) in events.into_iter().enumerate() {
            self.tell(&format!("event {} of {n_events}", place + 1));
            let judged = self
                .judge(place, &planned, &census, arrivals.as_mut())
                .await
                .map_err(unread)?;
            rows.push(self.row(planned, judged, &standings));
        }
        self.bar.finish_and_clear();
        Ok(Report {
            events: rows,
            n_unreadable,
            n_devices: census.len(),
            window: self.window,
            ledger: arrivals.map(Arrivals::compared),
        })
    }

    fn tell(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn arrivals(&self, ledger: Ledger, events: &[Planned]) -> anyhow::Result<Arrivals> {
        self.tell("the ledger");
        let id = |(place, it): (usize, &Planned)| (it.stored.event.id().to_string(), place);
        ledger.read(&events.iter().enumerate().map(id).collect::<HashMap<_, _>>())
    }

    async fn events(
        &self,
        which: &Which,
        standings: &Standings,
    ) -> Result<(Vec<StoredEvent>, u64), Failure> {
        let since = match which {
            Which::Since(since) => *since,
            Which::One(id) => {
                let found = self.broker.event_by_id(id, NEWEST).await.map_err(unread)?;
                let (found, _) = found.ok_or_else(|| anyhow::anyhow!("there is no event {id}"))?;
                return Ok((vec![found], 0));
            }
        };
        let begin = self.broker.first_event_since(since, standings).await;
        let (mut next, mut events, mut n_unreadable) = (begin.map_err(unread)?, Vec::new(), 0);
        while next <= standings.events.1 {
            let found = self.broker.event_from(next).await.map_err(unread)?;
            let Some((seq, at, event)) = found.filter(|it| it.0 <= standings.events.1) else {
                break;
            };
            next = seq + 1;
            match event {
                Some(event) => events.push(StoredEvent {
                    seq,
                    at,
                    event: lean(event),
                }),
                None => n_unreadable += 1,
            }
            self.tell(&format!("{} events", events.len()));
        }
        Ok((events, n_unreadable))
    }

    async fn planned(&self, events: Vec<StoredEvent>) -> Result<Vec<Planned>, StoryError> {
        let look_up = |stored: StoredEvent| async move {
            let plan = self.broker.plan_of(&stored.event.id()).await?;
            let levels = self.broker.levels_of(&stored.event).await?;
            Ok(Planned {
                stored,
                plan,
                levels,
            })
        };
        self.tell("plans");
        stream::iter(events)
            .map(look_up)
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn judge(
        &self,
        place: usize,
        planned: &Planned,
        census: &Census,
        arrivals: Option<&mut Arrivals>,
    ) -> Result<Option<Judged>, StoryError> {
        let Some(plan) = &planned.plan else {
            return Ok(None);
        };
        let event = &planned.stored.event;
        let mut audit = Audit::new(census, event, plan, self.window);
        self.broker
            .each_receipt(plan, |lane, n, _, receipt| audit.receipt(lane, n, receipt))
            .await?;
        if let Some(arrivals) = arrivals {
            arrivals.compare(place, &audit, census);
        }
        Ok(Some(audit.finish(&event.level, &planned.levels, self.now)))
    }

    fn row(&self, planned: Planned, judged: Option<Judged>, standings: &Standings) -> Row {
        let StoredEvent { seq, at, event } = planned.stored;
        let unplanned = Unplanned {
            seq,
            stored_at: at,
            expires_at: event.expires_at,
            level: &event.level,
            levels: &planned.levels,
            settled_up_to: standings.settled_up_to,
            plans_kept: standings.plans_kept,
        };
        let stage = match judged {
            Some(judged) => Stage::Judged(Box::new(judged)),
            None => Stage::Unplanned(unplanned.absence(self.now)),
        };
        Row {
            id: event.id(),
            source: event.source.to_string(),
            item: event.item,
            level: event.level,
            stored_at: at,
            planned_at: planned.plan.map(|it| it.planned_at),
            stage,
        }
    }
}

/// Without what is shown on screens: only who is concerned is judged.
fn lean(mut event: Event) -> Event {
    let data = std::mem::take(&mut event.content.data);
    event.content = fanfare_nats::event::Content {
        data,
        ..Default::default()
    };
    event
}

/// What could not be read can be judged neither way.
fn unread(error: StoryError) -> Failure {
    Failure::NoServer(error.into())
}

/// A line on standard error that goes away; nothing where that is no terminal.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let bar = match ProgressStyle::with_template("reading {wide_msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
