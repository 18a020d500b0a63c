//! What happens, in which order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fanfare_sim::Emission;
use fanfare_sim::ledger::{self, Entry, Verdict};

use super::Demo;
use super::actor::Actor;
use super::cast::{self, Device};
use super::configuration::{ACK_WAIT, CONCURRENCY, END_S, LATENCY, RISEN_S, START_S, WINDOW};
use super::figures::Figures;
use super::outside::Shown;
use super::report::grouped;
use super::screen::Screen;
use super::stage::Stage;
use super::watch::Watch;
use crate::clock;

/// The part of the replay that shows one quake rising, slowly enough to be watched.
const OPENING: f64 = 0.25;
/// The kill must find so many sends of the victim in flight.
pub(super) const LEAST_IN_FLIGHT: u64 = 20;
/// More, because some are answered between the look and the kill.
const MARGIN: u64 = 8;
/// A better margin, waited for in the first half of the time.
const GOOD_MARGIN: u64 = 24;
/// How long a moment is waited for in which both notifiers are that busy.
const BUSY_WITHIN: Duration = Duration::from_secs(15);
/// The killed ones are missed for so long.
const MISSED: Duration = Duration::from_secs(2);
/// A killed nats-server stays away for so long: longer than most elections.
const BROKER_MISSED: Duration = Duration::from_secs(6);
/// After the last quake, or a request since, everything must be settled by then.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);
/// However slow the machine is.
const SETTLED_AT_LAST: Duration = Duration::from_mins(5);

/// What the story came to; the rest is in the ledger.
pub(super) struct Told {
    pub(super) devices: Vec<Device>,
    /// What the feed showed before it moved.
    pub(super) before: Vec<Shown>,
    /// What it showed then.
    pub(super) emissions: Vec<Emission>,
    /// Since the start of the program.
    pub(super) first_push: Duration,
    pub(super) kill: Option<Kill>,
    pub(super) broker_kill: Option<BrokerKill>,
    pub(super) figures: Figures,
    /// Whether everything was settled in time.
    pub(super) is_settled: bool,
}

/// The kill of a notifier and a fetcher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kill {
    /// Right before the signal, in microseconds since the Unix epoch.
    pub(super) at_us: i64,
    /// The least that the notifier had in flight when it was decided.
    pub(super) in_flight: u64,
}

/// The kill of a nats-server.
#[derive(Clone, Debug)]
pub(super) struct BrokerKill {
    /// Right before the signal, in microseconds since the Unix epoch.
    pub(super) at_us: i64,
    /// Its name.
    pub(super) name: String,
    /// Warnings of the roles while it was missed.
    pub(super) n_warnings: usize,
}

/// Tells it, with progress beside.
///
/// # Errors
/// Something could not be done, or a process ended by itself.
pub(super) async fn tell(demo: &Demo, stage: &Stage, screen: &Screen) -> anyhow::Result<Told> {
    let watch = Watch::new(stage, screen);
    let story = Story {
        demo,
        stage,
        screen,
        watch: &watch,
    };
    let devices = story.open().await?;
    tokio::select! {
        told = story.run(devices) => told,
        ended = watch.run() => {
            ended?;
            anyhow::bail!("the watch ended")
        }
    }
}

struct Story<'a> {
    demo: &'a Demo,
    stage: &'a Stage,
    screen: &'a Screen,
    watch: &'a Watch<'a>,
}

impl Story<'_> {
    /// Registers everyone while the other roles load, and waits for these.
    async fn open(&self) -> anyhow::Result<Vec<Device>> {
        let (stage, screen) = (self.stage, self.screen);
        screen.tell(if self.demo.cluster {
            "9 processes: 3 nats-servers, sim, api, 2 notifiers, 2 fetchers"
        } else {
            "7 processes: nats-server, sim, api, 2 notifiers, 2 fetchers"
        });
        let api = stage.role("api")?;
        api.ready(stage.client()).await?;
        let devices = cast::devices(self.demo.devices);
        let before = screen.elapsed();
        cast::register(
            stage.client(),
            api.address("the API listens").await?,
            &devices,
        )
        .await?;
        let took = screen.elapsed().saturating_sub(before);
        screen.tell(&format!(
            "{} devices registered through the API in {:.1} s, half iOS, half Android",
            grouped(devices.len() as u64),
            took.as_secs_f64()
        ));
        for role in stage.roles() {
            role.ready(stage.client()).await?;
        }
        // The feed must not move before both fetchers listen.
        while stage.outside().stats().await?.n_sockets() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(devices)
    }

    async fn run(&self, devices: Vec<Device>) -> anyhow::Result<Told> {
        let outside = self.stage.outside();
        let before = outside.shown().await?;
        self.screen.tell(&format!(
            "the feed moves: two days of real quakes in {} s, as GeoJSON and as frames, to both \
             fetchers; the doubles answer in {} ms",
            self.demo.seconds,
            LATENCY.as_millis()
        ));
        let replay = Duration::from_secs(self.demo.seconds.into());
        let opening = replay.mul_f64(OPENING);
        outside
            .set_speed((RISEN_S - START_S) / opening.as_secs_f64())
            .await?;
        let begun = tokio::time::Instant::now();
        let first_push = self.first_push().await?;
        tokio::time::sleep_until(begun + opening).await;
        let rest = replay.saturating_sub(opening);
        outside
            .set_speed((END_S - RISEN_S) / rest.as_secs_f64())
            .await?;
        self.screen
            .tell("that was one quake, rising; the others come faster");
        tokio::time::sleep_until(begun + replay / 2).await;
        let kill = if self.demo.no_kill {
            None
        } else {
            Some(self.kill().await?)
        };
        let mut broker_kill = match kill {
            Some(_) => self.kill_broker().await?,
            None => None,
        };
        while !outside.stats().await?.is_feed_over() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.screen
            .tell("the feed is over; waiting until every task is settled");
        let is_settled = self.settled().await?;
        if let Some(kill) = &mut broker_kill {
            self.stage.expect_warnings(false);
            kill.n_warnings = self.stage.n_expected_warnings();
        }
        Ok(Told {
            devices,
            before,
            emissions: outside.emissions().await?,
            first_push,
            kill,
            broker_kill,
            figures: self.watch.look().await,
            is_settled,
        })
    }

    /// Waits for the first push and shows it.
    async fn first_push(&self) -> anyhow::Result<Duration> {
        let outside = self.stage.outside();
        while outside.stats().await?.ledger.accepted == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let at = self.screen.elapsed();
        let path = outside
            .at()
            .ledger
            .as_deref()
            .context("there is no ledger")?;
        let first = ledger::read(path)?.find_map(|entry| match entry {
            Ok(Entry::Request(request)) if request.verdict == Verdict::Accepted => Some(request),
            Ok(_) | Err(_) => None,
        });
        let title = first.and_then(|it| it.title).unwrap_or_default();
        self.screen.tell(&format!("first push: {title}"));
        Ok(at)
    }

    /// Kills a notifier while it is busy, and a fetcher; brings both back.
    async fn kill(&self) -> anyhow::Result<Kill> {
        let notifier = self.stage.role("notifier-1")?;
        let fetcher = self.stage.role("fetcher-1")?;
        // Their figures would die with them.
        self.watch.look().await;
        let repeated = self.stage.outside().stats().await?.ledger.repeated;
        let in_flight = self.busy().await?;
        let at_us = clock::now().as_microsecond();
        self.stage.kill(&notifier)?;
        self.stage.kill(&fetcher)?;
        notifier.gone().await;
        fetcher.gone().await;
        self.screen.tell(&format!(
            "kill -9 of notifier-1 (process {}) with at least {in_flight} sends in flight, and of \
             fetcher-1 (process {}); its tasks come again after {} s (ack_wait), W is {WINDOW}",
            notifier.pid(),
            fetcher.pid(),
            ACK_WAIT.as_secs()
        ));
        tokio::time::sleep(MISSED).await;
        self.back("notifier", "notifier-1-again").await?;
        self.back("fetcher", "fetcher-1-again").await?;
        self.screen.tell("notifier-1 and fetcher-1 are back");
        self.taken_over(at_us, repeated).await?;
        Ok(Kill { at_us, in_flight })
    }

    /// Kills the nats-server that leads the stream of events, if there are others; brings it back.
    async fn kill_broker(&self) -> anyhow::Result<Option<BrokerKill>> {
        if !self.demo.cluster {
            return Ok(None);
        }
        // The other kill's tasks have come again by then: one story after the other.
        tokio::time::sleep(ACK_WAIT).await;
        self.stage.expect_warnings(true);
        let at_us = clock::now().as_microsecond();
        let killed = self.stage.broker().kill_leader(self.stage.client()).await?;
        let Some(killed) = killed else {
            self.stage.expect_warnings(false);
            return Ok(None);
        };
        let name = killed.name.clone();
        self.screen.tell(&format!(
            "kill -9 of nats-server {name} (process {}), which led the stream of events; the others \
             elect a new leader, which takes 4 to 11 s, and meanwhile nothing is stored or sent",
            killed.pid
        ));
        tokio::time::sleep(BROKER_MISSED).await;
        killed.back().await?;
        self.screen.tell(&format!("nats-server {name} is back"));
        Ok(Some(BrokerKill {
            at_us,
            name,
            n_warnings: 0,
        }))
    }

    /// Tells when the first send that was interrupted is made again. A send that is made again is
    /// the sign of it; if nothing was interrupted there is none.
    async fn taken_over(&self, killed_us: i64, repeated: u64) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + ACK_WAIT * 2;
        while tokio::time::Instant::now() < deadline {
            if self.stage.outside().stats().await?.ledger.repeated > repeated {
                let after_us = clock::now().as_microsecond() - killed_us;
                let after = Duration::from_micros(u64::try_from(after_us).unwrap_or_default());
                let after = after.as_secs_f64();
                let line = format!(
                    "the interrupted tasks were taken over within {after:.1} s of the kill"
                );
                self.screen.tell(&line);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits for a moment in which each notifier has enough in flight, and returns how much that is.
    ///
    /// Neither may have more than [`CONCURRENCY`] in flight, so what is beyond that is the other's.
    async fn busy(&self) -> anyhow::Result<u64> {
        let begun = tokio::time::Instant::now();
        let mut most = 0;
        loop {
            let in_flight = self.stage.outside().stats().await?.ledger.in_flight;
            let least = in_flight.saturating_sub(CONCURRENCY);
            most = most.max(least);
            let margin = if begun.elapsed() < BUSY_WITHIN / 2 {
                GOOD_MARGIN
            } else {
                MARGIN
            };
            if least >= LEAST_IN_FLIGHT + margin {
                return Ok(least);
            }
            if begun.elapsed() > BUSY_WITHIN {
                self.screen.tell(&format!(
                    "the notifiers are never busy enough (at most {most} sends each for certain): \
                     killing all the same"
                ));
                return Ok(least);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn back(&self, role: &str, name: &str) -> anyhow::Result<Arc<Actor>> {
        let actor = self.stage.start(role, name)?;
        actor.ready(self.stage.client()).await?;
        Ok(actor)
    }

    /// Waits until nothing is pending, unsettled or in flight, in three looks that agree.
    async fn settled(&self) -> anyhow::Result<bool> {
        let begun = tokio::time::Instant::now();
        let (mut moved, mut n_requests) = (begun, 0);
        let (mut n_calm, mut last) = (0, None);
        while n_calm < 3 {
            if moved.elapsed() > SETTLED_WITHIN || begun.elapsed() > SETTLED_AT_LAST {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            let counts = self.stage.outside().stats().await?.ledger;
            if counts.requests > n_requests {
                (moved, n_requests) = (tokio::time::Instant::now(), counts.requests);
            }
            let Some(work) = self.stage.broker().work(self.stage.client()).await? else {
                n_calm = 0;
                continue;
            };
            let seen = (work.last_event(), counts.requests);
            let is_calm = work.n_open() == 0 && counts.in_flight == 0 && last == Some(seen);
            n_calm = if is_calm { n_calm + 1 } else { 0 };
            last = Some(seen);
        }
        Ok(true)
    }
}
